//! To acquire, renew, release and revoke; and what becomes of a grant that waits for the disk.

use alloc::collections::VecDeque;

use pulsegate_wire::event::LeaseEnded;
use pulsegate_wire::{EventKind, limits};

use super::table::Lease;
use super::{
    Acquired, Effects, Event, Grant, HolderChange, Key, Leases, Millis, Refusal, Request, TenantId,
};

/// Why a lease is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Released,
    Expired,
    Revoked,
    Undone,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Undone => "undone",
        }
    }
}

impl Leases {
    /// Asks for a lease. A free one is granted with a new token; one that the same holder has is
    /// renewed, and keeps its token; for one that another has the request waits in line, if it
    /// wants to. A longer TTL than before takes its place; a shorter one changes nothing, as the
    /// holder may count on the longer one already.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed, but for leases found to have expired.
    pub fn acquire(
        &mut self,
        now: Millis,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Acquired, Refusal> {
        let now = self.advance(now);
        let ttl_ms = request.ttl_ms.clamp(limits::LEASE_TTL_MIN_MS, limits::LEASE_TTL_MAX_MS);
        let Some(slot) = self.find_not_over(now, request.key, effects) else {
            return self.acquire_free(now, request, ttl_ms, effects).map(Acquired::Granted);
        };
        let lease = &self.table[slot];
        if lease.is_over(now) {
            return Err(Refusal::ReadOnly);
        }
        if lease.holder.as_ref() == request.holder {
            return self.hold_on(now, slot, ttl_ms, effects).map(Acquired::Granted);
        }
        if request.wait {
            return self.join(now, slot, request.holder, ttl_ms).map(Acquired::Waiting);
        }
        Err(Refusal::Held {
            holder: lease.holder.as_ref().into(),
            remaining_ms: lease.expires.since(now),
            waits: lease.told_ttl_ms == 0,
        })
    }

    /// Renews a lease by the token of its grant: from now on for its TTL, or for a longer one that
    /// is asked for here. In read-only mode its TTL stays.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] or [`Refusal::TokenStale`]; nothing has changed.
    pub fn renew(
        &mut self,
        now: Millis,
        key: Key<'_>,
        token: u64,
        ttl_ms: Option<u32>,
        effects: &mut Effects,
    ) -> Result<Grant, Refusal> {
        let now = self.advance(now);
        let slot = self.find_not_over(now, key, effects).ok_or(Refusal::Unknown)?;
        let lease = &self.table[slot];
        if !lease.is_held(now) {
            return Err(Refusal::Unknown);
        }
        if lease.token != token {
            return Err(Refusal::TokenStale);
        }
        let told_ms = lease.told_ttl_ms;
        let asked_ms = ttl_ms.unwrap_or(told_ms).min(limits::LEASE_TTL_MAX_MS);
        self.hold_on(now, slot, if self.frozen { told_ms } else { asked_ms }, effects)
    }

    /// Gives a lease back by the token of its grant; the first in line gets it. Says whether this
    /// ended it. Any other token, or none that holds it, changes nothing: so a release can be
    /// repeated. Either answer waits for the journal: the lease may have ended a moment ago.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; nothing has changed.
    pub fn release(
        &mut self,
        now: Millis,
        key: Key<'_>,
        token: u64,
        effects: &mut Effects,
    ) -> Result<bool, Refusal> {
        let now = self.advance(now);
        let Some(slot) = self.find_not_over(now, key, effects) else { return Ok(false) };
        if self.table[slot].token != token {
            return Ok(false);
        }
        // Also of one that is over: its end is not recorded, so a restart would bring it back.
        if self.frozen {
            return Err(Refusal::ReadOnly);
        }
        self.end(now, slot, End::Released, effects);
        Ok(true)
    }

    /// Takes a lease back, as an operator who answers for it that the holder does not act any
    /// more, or that its token keeps it out: the first in line gets the lease at once, while the
    /// holder may still count on it. Returns the token that ended. The answer waits for the
    /// journal.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] or [`Refusal::ReadOnly`]; nothing has changed.
    pub fn revoke(
        &mut self,
        now: Millis,
        key: Key<'_>,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        let now = self.advance(now);
        let slot = self.find_not_over(now, key, effects).ok_or(Refusal::Unknown)?;
        let lease = &self.table[slot];
        if lease.is_over(now) {
            return Err(Refusal::Unknown);
        }
        if self.frozen {
            return Err(Refusal::ReadOnly);
        }
        let token = lease.token;
        self.end(now, slot, End::Revoked, effects);
        Ok(token)
    }

    /// What may be told of a grant that has become durable; `None` if it is gone: it was undone,
    /// has expired meanwhile, or was revoked. Only by this call does the holder hold the lease.
    pub fn confirm(&mut self, now: Millis, grant: &Grant, effects: &mut Effects) -> Option<Grant> {
        let now = self.advance(now);
        let slot = self.table.find(Key { tenant: grant.tenant, name: &grant.name })?;
        let lease = &mut self.table[slot];
        if lease.token != grant.token || lease.is_over(now) {
            return None;
        }
        let ttl_ms = grant.ttl_ms.min(lease.asked_ttl_ms);
        if ttl_ms > lease.told_ttl_ms {
            lease.told_ttl_ms = ttl_ms;
        }
        let told = Grant { ttl_ms: lease.told_ttl_ms, waits: false, ..grant.clone() };
        self.note_holder(told.tenant, &told.holder, effects);
        Some(told)
    }

    /// Takes back a grant, or a longer TTL, that was too slow to become durable, or did not: its
    /// holder is told of the failure instead. What has been told already, through another request
    /// of the same holder, stays. The journal may still hold the grant; so its end is recorded too,
    /// now or at the end of read-only mode.
    pub fn undo(&mut self, now: Millis, grant: &Grant, effects: &mut Effects) {
        let now = self.advance(now);
        let key = Key { tenant: grant.tenant, name: &grant.name };
        let Some(slot) = self.table.find(key) else { return };
        let lease = &mut self.table[slot];
        if lease.token != grant.token {
            return;
        }
        if lease.told_ttl_ms > 0 {
            // Who knows the shorter one may count on it; the end that was set stays.
            lease.asked_ttl_ms = lease.told_ttl_ms;
            return;
        }
        lease.undone = true;
        lease.expires = lease.expires.min(now);
        self.table.rearm(slot);
        if !self.frozen {
            self.end_over(now, slot, effects);
        }
    }

    /// The lease of this name, if it is held by anybody: one whose time is up is ended first,
    /// unless that could not be recorded now.
    fn find_not_over(&mut self, now: Millis, key: Key<'_>, effects: &mut Effects) -> Option<u32> {
        let slot = self.table.find(key)?;
        if self.table[slot].is_over(now) && !self.frozen {
            self.end_over(now, slot, effects);
        }
        self.table.find(key)
    }

    fn acquire_free(
        &mut self,
        now: Millis,
        request: &Request<'_>,
        ttl_ms: u32,
        effects: &mut Effects,
    ) -> Result<Grant, Refusal> {
        if self.table.len() >= limits::LEASES {
            return Err(Refusal::Full("lease"));
        }
        let token = self.next_token(request.key.tenant, request.holder)?;
        let expires = now.plus(ttl_ms.into());
        let slot = self.table.insert(Lease {
            tenant: request.key.tenant,
            name: request.key.name.into(),
            holder: request.holder.into(),
            token,
            told_ttl_ms: 0,
            asked_ttl_ms: ttl_ms,
            expires,
            timer: expires,
            undone: false,
            line: VecDeque::new(),
        });
        self.last_token = token;
        self.record(now, slot, effects);
        Ok(self.table[slot].to_grant(ttl_ms, 0, true))
    }

    /// The token of the next grant to this holder, if it may have one.
    pub(super) fn next_token(&self, tenant: TenantId, holder: &str) -> Result<u64, Refusal> {
        if self.frozen {
            return Err(Refusal::ReadOnly);
        }
        if self.table.held_by(tenant, holder).len() >= limits::LEASES_PER_HOLDER {
            return Err(Refusal::TooMany);
        }
        let token = self.last_token + 1;
        // The first token that would look like one of the next epoch.
        if token.trailing_zeros() >= Self::COUNTER_BITS {
            return Err(Refusal::Full("token"));
        }
        Ok(token)
    }

    /// Its holder asks again: the same grant, for at least as long as before.
    fn hold_on(
        &mut self,
        now: Millis,
        slot: u32,
        ttl_ms: u32,
        effects: &mut Effects,
    ) -> Result<Grant, Refusal> {
        let frozen = self.frozen;
        let lease = &mut self.table[slot];
        let ttl_ms = ttl_ms.max(lease.told_ttl_ms);
        let waits = ttl_ms > lease.told_ttl_ms;
        if waits && frozen {
            return Err(Refusal::ReadOnly);
        }
        lease.extend(now, ttl_ms);
        if ttl_ms > lease.asked_ttl_ms {
            lease.asked_ttl_ms = ttl_ms;
            self.record(now, slot, effects);
        }
        Ok(self.table[slot].to_grant(ttl_ms, 0, waits))
    }

    /// Tells of a grant, or of its longer TTL.
    pub(super) fn record(&self, now: Millis, slot: u32, effects: &mut Effects) {
        let lease = &self.table[slot];
        let kind = EventKind::LeaseGranted(lease.to_record());
        effects.events.push(Event { at: now, tenant: lease.tenant, kind });
        self.note_holder(lease.tenant, &lease.holder, effects);
    }

    pub(super) fn end_over(&mut self, now: Millis, slot: u32, effects: &mut Effects) {
        let reason = if self.table[slot].undone { End::Undone } else { End::Expired };
        self.end(now, slot, reason, effects);
    }

    /// Ends a lease, and serves those in line.
    fn end(&mut self, now: Millis, slot: u32, reason: End, effects: &mut Effects) {
        let lease = &self.table[slot];
        let (tenant, holder) = (lease.tenant, lease.holder.clone());
        let kind = EventKind::LeaseEnded(LeaseEnded {
            name: lease.name.as_ref().into(),
            holder: holder.as_ref().into(),
            token: lease.token,
            reason: reason.as_str().into(),
        });
        effects.events.push(Event { at: now, tenant, kind });
        if !self.serve(now, slot, effects) {
            self.table.remove(slot);
        }
        self.note_holder(tenant, &holder, effects);
    }

    pub(super) fn note_holder(&self, tenant: TenantId, holder: &str, effects: &mut Effects) {
        effects.holders.push(HolderChange {
            tenant,
            holder: holder.into(),
            smallest_ttl_ms: self.smallest_ttl_ms(tenant, holder),
        });
    }
}
