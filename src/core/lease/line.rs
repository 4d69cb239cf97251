//! Those who wait for a lease, in the order in which they came.

use alloc::collections::VecDeque;

use pulsegate_wire::limits;

use super::table::Waiter;
use super::{Answer, Effects, Leases, Millis, Refusal, WaiterId};

impl Leases {
    /// Gives up a place in line, as when the request's time is up or its connection is gone. Says
    /// whether it was there: otherwise it has its answer already, and a grant that nobody can be
    /// told of any more is to be undone ([`Leases::undo`]; a release would take it from another
    /// request of the same holder that was told).
    pub fn cancel(&mut self, waiter: WaiterId) -> bool {
        let Some(slot) = self.table.place(waiter) else { return false };
        !self.table.take(slot, |other| other.id == waiter).is_empty()
    }

    pub(super) fn join(
        &mut self,
        now: Millis,
        slot: u32,
        holder: &str,
        ttl_ms: u32,
    ) -> Result<WaiterId, Refusal> {
        if self.frozen {
            return Err(Refusal::ReadOnly);
        }
        let is_full = self.table[slot].line.len() >= limits::LEASE_LINE;
        if is_full || self.table.waiting() >= limits::LEASE_WAITERS {
            return Err(Refusal::Full("place in line"));
        }
        self.last_waiter += 1;
        let id = WaiterId(self.last_waiter);
        self.table.join(slot, Waiter { id, holder: holder.into(), ttl_ms, since: now });
        Ok(id)
    }

    /// Gives a lease that has just ended to the first in line who may have it; says whether there
    /// was one. Other requests of the same holder, as of a client that came back after its
    /// connection broke, are answered with the same grant. Who may not have it is told why.
    pub(super) fn serve(&mut self, now: Millis, slot: u32, effects: &mut Effects) -> bool {
        while let Some((tenant, first)) = {
            let lease = &self.table[slot];
            lease.line.front().map(|first| (lease.tenant, first.holder.clone()))
        } {
            // Its place in the table is the next holder's already: it counts for nobody here.
            let token = self.next_token(tenant, &first);
            let waiters = self.table.take(slot, |waiter| waiter.holder == first);
            match token {
                Ok(token) => {
                    self.grant_to(now, slot, token, &waiters, effects);
                    return true;
                }
                Err(refusal) => effects.answers.extend(
                    waiters
                        .iter()
                        .map(|waiter| Answer { waiter: waiter.id, result: Err(refusal.clone()) }),
                ),
            }
        }
        false
    }

    /// A new grant to the holder of these requests, for the longest TTL among them.
    fn grant_to(
        &mut self,
        now: Millis,
        slot: u32,
        token: u64,
        waiters: &VecDeque<Waiter>,
        effects: &mut Effects,
    ) {
        let Some(first) = waiters.front() else { return };
        let longest_ms = waiters.iter().map(|waiter| waiter.ttl_ms).max();
        let ttl_ms = longest_ms.unwrap_or(first.ttl_ms);
        self.table.replace(slot, |lease| {
            lease.holder.clone_from(&first.holder);
            lease.token = token;
            lease.told_ttl_ms = 0;
            lease.asked_ttl_ms = ttl_ms;
            lease.expires = now.plus(ttl_ms.into());
            lease.timer = lease.expires;
            lease.undone = false;
        });
        self.last_token = token;
        self.record(now, slot, effects);
        let lease = &self.table[slot];
        effects.answers.extend(waiters.iter().map(|waiter| Answer {
            waiter: waiter.id,
            result: Ok(lease.to_grant(ttl_ms, now.since(waiter.since), true)),
        }));
    }
}
