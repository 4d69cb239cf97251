//! From the journal back into the table.

use alloc::collections::VecDeque;

use pulsegate_wire::event::{self, EventKind, LeaseGranted};
use pulsegate_wire::limits;

use super::table::Lease;
use super::{Effects, Key, Leases, Millis, TenantId};

impl Leases {
    /// What a snapshot holds: every lease with its tenant, grants on their way to the disk
    /// included, as a snapshot is durable after them.
    pub fn export(&self) -> impl Iterator<Item = (TenantId, LeaseGranted)> + '_ {
        self.table.iter().map(|lease| (lease.tenant, lease.to_record()))
    }

    /// Takes a lease from a snapshot or an event. It is nobody else's until [`Leases::resume`]
    /// says from when its TTL counts. An older grant than the one known changes nothing: a
    /// snapshot may be newer than the first events after its begin.
    pub fn restore(&mut self, tenant: TenantId, lease: &LeaseGranted) {
        self.last_token = self.last_token.max(lease.token);
        let longest = u64::from(limits::LEASE_TTL_MAX_MS);
        let ttl_ms = lease.ttl_ms.min(longest) as u32;
        if let Some(slot) = self.table.find(Key { tenant, name: &lease.name }) {
            if self.table[slot].token > lease.token {
                return;
            }
            self.table.remove(slot);
        }
        self.table.insert(Lease {
            tenant,
            name: lease.name.as_str().into(),
            holder: lease.holder.as_str().into(),
            token: lease.token,
            told_ttl_ms: ttl_ms,
            asked_ttl_ms: ttl_ms,
            expires: Millis(u64::MAX),
            timer: Millis(u64::MAX),
            undone: false,
            line: VecDeque::new(),
        });
    }

    /// Folds an event in; one that is about no lease changes nothing.
    pub fn apply(&mut self, tenant: TenantId, event: &event::Event) {
        match &event.kind {
            Some(EventKind::LeaseGranted(lease)) => self.restore(tenant, lease),
            Some(EventKind::LeaseEnded(ended)) => {
                self.last_token = self.last_token.max(ended.token);
                let slot = self.table.find(Key { tenant, name: &ended.name });
                let slot = slot.filter(|&slot| self.table[slot].token == ended.token);
                slot.into_iter().for_each(|slot| self.table.remove(slot));
            }
            _ => {}
        }
    }

    /// The gateway serves from now on: every lease holds for its whole TTL. Nobody could renew
    /// while there was no gateway, and until when a holder had renewed is not recorded; it counts
    /// from an earlier instant than this one in any case.
    pub fn resume(&mut self, now: Millis, effects: &mut Effects) {
        let now = self.advance(now);
        let slots: alloc::vec::Vec<u32> = self.table.slots().collect();
        for slot in slots {
            let lease = &mut self.table[slot];
            lease.expires = now.plus(lease.asked_ttl_ms.into());
            self.table.rearm(slot);
            let lease = &self.table[slot];
            self.note_holder(lease.tenant, &lease.holder, effects);
        }
    }
}
