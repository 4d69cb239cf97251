//! Where leases stand: a slab, found by name, by holder and by timer. Whatever has to stay in step
//! with another changes here and nowhere else.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::{Bound, Index, IndexMut};

use pulsegate_wire::LeaseGrant;
use pulsegate_wire::event::LeaseGranted;

use super::{Grant, Info, Key, WaiterId};
use crate::{Millis, TenantId};

/// One lease: who holds it, and who waits for it.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) tenant: TenantId,
    pub(super) name: Box<str>,
    pub(super) holder: Box<str>,
    pub(super) token: u64,
    /// TTL that the holder was told; 0 until it was told of the grant. Heartbeats renew by this.
    pub(super) told_ttl_ms: u32,
    /// TTL in the journal, or on its way there; never below the one told. A restart counts this.
    pub(super) asked_ttl_ms: u32,
    /// End of the lease; it only ever moves later, but for a grant that is undone.
    pub(super) expires: Millis,
    /// When its timer fires: never later than it expires.
    pub(super) timer: Millis,
    /// The grant was taken back before anybody was told.
    pub(super) undone: bool,
    /// Those who wait, the first first.
    pub(super) line: VecDeque<Waiter>,
}

/// A request in line.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) holder: Box<str>,
    pub(super) ttl_ms: u32,
    pub(super) since: Millis,
}

/// All leases.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Table {
    leases: Vec<Option<Lease>>,
    free: Vec<u32>,
    names: BTreeMap<TenantId, BTreeMap<Box<str>, u32>>,
    holders: BTreeMap<TenantId, BTreeMap<Box<str>, Vec<u32>>>,
    /// One for each lease, never later than its expiry.
    timers: BTreeSet<(Millis, u32)>,
    /// The lease that each place in line is for.
    places: BTreeMap<WaiterId, u32>,
}

impl Lease {
    /// Whether somebody holds it and knows.
    pub(super) fn is_held(&self, now: Millis) -> bool {
        self.told_ttl_ms > 0 && !self.is_over(now)
    }

    /// Whether its time is up: nothing brings this grant back.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        now >= self.expires
    }

    /// Lets it hold for this long from now on; never shortens.
    pub(super) fn extend(&mut self, now: Millis, ttl_ms: u32) {
        self.expires = self.expires.max(now.plus(ttl_ms.into()));
    }

    /// The TTL that the holder's cadence follows.
    pub(super) fn cap_ttl_ms(&self) -> u32 {
        if self.told_ttl_ms > 0 { self.told_ttl_ms } else { self.asked_ttl_ms }
    }

    pub(super) fn info(&self, now: Millis) -> Info<'_> {
        Info {
            name: &self.name,
            holder: &self.holder,
            token: self.token,
            ttl_ms: self.told_ttl_ms,
            remaining_ms: self.expires.since(now),
            waiting: self.line.len(),
        }
    }

    pub(super) fn to_wire(&self) -> LeaseGrant {
        LeaseGrant {
            name: self.name.as_ref().into(),
            token: self.token,
            ttl_ms: self.told_ttl_ms.into(),
        }
    }

    /// What the journal keeps of it.
    pub(super) fn to_record(&self) -> LeaseGranted {
        LeaseGranted {
            name: self.name.as_ref().into(),
            holder: self.holder.as_ref().into(),
            token: self.token,
            ttl_ms: self.asked_ttl_ms.into(),
        }
    }

    /// What its holder is told.
    pub(super) fn to_grant(&self, ttl_ms: u32, waited_ms: u64, waits: bool) -> Grant {
        Grant {
            tenant: self.tenant,
            name: self.name.as_ref().into(),
            holder: self.holder.as_ref().into(),
            token: self.token,
            ttl_ms,
            waited_ms,
            waits,
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.leases.len() - self.free.len()
    }

    /// Slots that are given out next, the last first.
    #[cfg(test)]
    pub(super) fn free(&self) -> &[u32] {
        &self.free
    }

    pub(super) fn waiting(&self) -> usize {
        self.places.len()
    }

    pub(super) fn find(&self, key: Key<'_>) -> Option<u32> {
        self.names.get(&key.tenant)?.get(key.name).copied()
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.names.keys().copied()
    }

    /// Leases of a tenant by name, after this one.
    pub(super) fn names<'a>(
        &'a self,
        tenant: TenantId,
        after: &'a str,
    ) -> impl Iterator<Item = u32> + 'a {
        let names = self.names.get(&tenant).into_iter();
        let from = (Bound::Excluded(after), Bound::Unbounded);
        names.flat_map(move |names| names.range::<str, _>(from).map(|(_, &slot)| slot))
    }

    /// Every lease, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().flatten()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        let used = self.leases.iter().enumerate().filter(|(_, lease)| lease.is_some());
        used.map(|(slot, _)| slot as u32)
    }

    /// Leases of a holder.
    pub(super) fn held_by(&self, tenant: TenantId, holder: &str) -> &[u32] {
        let slots = self.holders.get(&tenant).and_then(|holders| holders.get(holder));
        slots.map_or(&[], Vec::as_slice)
    }

    /// Takes a lease in, and sets its timer.
    pub(super) fn insert(&mut self, lease: Lease) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.leases.push(None);
            (self.leases.len() - 1) as u32
        });
        self.names.entry(lease.tenant).or_default().insert(lease.name.clone(), slot);
        self.enter(slot, &lease);
        self.leases[slot as usize] = Some(lease);
        slot
    }

    /// Gives a lease to another: everything but its name changes.
    pub(super) fn replace(&mut self, slot: u32, change: impl FnOnce(&mut Lease)) {
        if let Some(mut lease) = self.leases[slot as usize].take() {
            self.leave(slot, &lease);
            change(&mut lease);
            self.enter(slot, &lease);
            self.leases[slot as usize] = Some(lease);
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let Some(lease) = self.leases[slot as usize].take() else { return };
        self.leave(slot, &lease);
        for waiter in &lease.line {
            self.places.remove(&waiter.id);
        }
        if let Some(names) = self.names.get_mut(&lease.tenant) {
            names.remove(&lease.name);
            if names.is_empty() {
                self.names.remove(&lease.tenant);
            }
        }
        self.free.push(slot);
    }

    fn enter(&mut self, slot: u32, lease: &Lease) {
        let holders = self.holders.entry(lease.tenant).or_default();
        holders.entry(lease.holder.clone()).or_default().push(slot);
        self.timers.insert((lease.timer, slot));
    }

    fn leave(&mut self, slot: u32, lease: &Lease) {
        if let Some(holders) = self.holders.get_mut(&lease.tenant) {
            if let Some(slots) = holders.get_mut(&lease.holder) {
                slots.retain(|&other| other != slot);
                if slots.is_empty() {
                    holders.remove(&lease.holder);
                }
            }
            if holders.is_empty() {
                self.holders.remove(&lease.tenant);
            }
        }
        self.timers.remove(&(lease.timer, slot));
    }

    /// The lease of a place in line.
    pub(super) fn place(&self, waiter: WaiterId) -> Option<u32> {
        self.places.get(&waiter).copied()
    }

    pub(super) fn join(&mut self, slot: u32, waiter: Waiter) {
        self.places.insert(waiter.id, slot);
        self[slot].line.push_back(waiter);
    }

    /// Takes those out of a line who are meant, in order.
    pub(super) fn take(
        &mut self,
        slot: u32,
        is_meant: impl Fn(&Waiter) -> bool,
    ) -> VecDeque<Waiter> {
        let line = core::mem::take(&mut self[slot].line);
        let (taken, rest): (VecDeque<_>, VecDeque<_>) = line.into_iter().partition(is_meant);
        self[slot].line = rest;
        for waiter in &taken {
            self.places.remove(&waiter.id);
        }
        taken
    }

    pub(super) fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// The first lease whose timer has come.
    pub(super) fn due(&self, now: Millis) -> Option<u32> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|&(_, slot)| slot)
    }

    /// Sets a timer to when its lease expires now.
    pub(super) fn rearm(&mut self, slot: u32) {
        let lease = &mut self[slot];
        let before = core::mem::replace(&mut lease.timer, lease.expires);
        let after = lease.timer;
        self.timers.remove(&(before, slot));
        self.timers.insert((after, slot));
    }
}

/// For slots that are known to be in use.
impl Index<u32> for Table {
    type Output = Lease;
    fn index(&self, slot: u32) -> &Lease {
        self.leases[slot as usize].as_ref().expect("the slot is in use")
    }
}

impl IndexMut<u32> for Table {
    fn index_mut(&mut self, slot: u32) -> &mut Lease {
        self.leases[slot as usize].as_mut().expect("the slot is in use")
    }
}
