//! Leases: named rights with a holder, a TTL and a fencing token.
//!
//! One table for a whole gateway; the shell keeps it behind one mutex. Time comes in as an
//! argument; events, answers to those who waited and changes of a holder's smallest TTL go out
//! through [`Effects`].
//!
//! ```text
//! acquire ─ free ──────────────→ grant, not confirmed ─ durable: confirm ─→ held ─→ renew …
//!         ├ held by the same ──→ renewed, the same token       └ too slow: undo ─→ over
//!         └ held by another ───→ refused, or in line
//! release, revoke, expiry ─────→ free: the first in line gets it
//! ```
//!
//! What waits for the disk. A grant, a longer TTL and the end of a lease are told only once they
//! are durable: where an outcome says `waits`, the shell waits for *everything* appended to the
//! journal so far, and then tells what [`Leases::confirm`] returns. Events of one table are
//! appended in order under its mutex, so whoever is told of a grant follows on an end that is
//! durable. A plain renewal waits for nothing: a restart counts the whole TTL anew.
//!
//! Invariants, checked over random histories by [`history`]: validity of two holders is disjoint in
//! real time; tokens rise over grants and restarts; a lease is granted to another only after
//! its expiry or release; a renewal never shortens; release can be repeated; release and renewal
//! need the token of the grant; a stale token passes no check; a restart gives every lease its
//! whole TTL; whoever waits is served in order. An operator's [`Leases::revoke`] takes the first
//! and the third upon itself: only the token protects then.

use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::{Code, EventKind, LeaseGrant, event, limits};

use crate::{Millis, TenantId};

pub mod history;
mod hold;
mod line;
mod restart;
mod table;
#[cfg(test)]
mod tests;

use table::{Lease, Table};

/// Name of a lease within its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Tenant of the credential.
    pub tenant: TenantId,
    /// A checked name.
    pub name: &'a str,
}

/// What a holder asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The lease.
    pub key: Key<'a>,
    /// A checked agent id: who shall hold it. Who asks twice by one id is one holder, and gets the
    /// same token: so a holder that restarts has its lease at once.
    pub holder: &'a str,
    /// TTL, in milliseconds: within [`limits::LEASE_TTL_MIN_MS`] and [`limits::LEASE_TTL_MAX_MS`],
    /// and clamped to them.
    pub ttl_ms: u32,
    /// Whether to wait in line if another holds it.
    pub wait: bool,
}

/// A lease that is the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Tenant of the lease.
    pub tenant: TenantId,
    /// Name of the lease.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Fencing token.
    pub token: u64,
    /// TTL, in milliseconds.
    pub ttl_ms: u32,
    /// How long the request stood in line, in milliseconds.
    pub waited_ms: u64,
    /// The answer must wait for the journal, and then be what [`Leases::confirm`] makes of it.
    pub waits: bool,
}

/// A place in line; never given twice by one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterId(pub u64);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The lease is the holder's.
    Granted(Grant),
    /// It stands in line: an [`Answer`] comes through [`Effects`], unless the place is given up
    /// with [`Leases::cancel`].
    Waiting(WaiterId),
}

/// Why a request was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another holds it.
    #[error("the lease is held by {holder}")]
    Held {
        /// Who.
        holder: String,
        /// How long it holds from now without renewal, in milliseconds.
        remaining_ms: u64,
        /// The holder itself is not told yet: the refusal waits for the journal as well.
        waits: bool,
    },
    /// Nobody holds it, by any token: it has expired, or was released.
    #[error("nobody holds the lease")]
    Unknown,
    /// It is held with another token.
    #[error("the lease is held with another token")]
    TokenStale,
    /// Nothing can be made durable now.
    #[error("nothing can be made durable now")]
    ReadOnly,
    /// There is no room: for another lease, another place in line, or (after 2³² grants in one run
    /// of the gateway) another token.
    #[error("there is no room for another {0}")]
    Full(&'static str),
    /// The holder has [`limits::LEASES_PER_HOLDER`] leases.
    #[error("the holder has {} leases, the most there may be", limits::LEASES_PER_HOLDER)]
    TooMany,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The lease is held with it.
    Valid {
        /// How long it holds from now without renewal, in milliseconds.
        remaining_ms: u64,
    },
    /// The lease is held with a newer one.
    Superseded,
    /// Nobody holds the lease.
    Free,
    /// No grant had it.
    Unknown,
}

/// One lease, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info<'a> {
    /// Name of the lease.
    pub name: &'a str,
    /// Who holds it.
    pub holder: &'a str,
    /// Fencing token.
    pub token: u64,
    /// TTL, in milliseconds.
    pub ttl_ms: u32,
    /// How long it holds from now without renewal, in milliseconds.
    pub remaining_ms: u64,
    /// Requests in line.
    pub waiting: usize,
}

/// A fact about one lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, in core time.
    pub at: Millis,
    /// Tenant of the lease.
    pub tenant: TenantId,
    /// [`EventKind::LeaseGranted`] or [`EventKind::LeaseEnded`].
    pub kind: EventKind,
}

/// The answer to a request that stood in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its place.
    pub waiter: WaiterId,
    /// What became of it. If nobody is there any more to be told of a grant, undo it.
    pub result: Result<Grant, Refusal>,
}

/// A holder whose smallest TTL may have changed: the cap of its cadence follows, see
/// [`Machine::set_smallest_lease`](crate::Machine::set_smallest_lease).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderChange {
    /// Tenant of the holder.
    pub tenant: TenantId,
    /// The holder; it need not be a known agent.
    pub holder: String,
    /// Smallest TTL of its leases, in milliseconds; `None` when it holds none.
    pub smallest_ttl_ms: Option<u32>,
}

/// Everything that one call caused; reused from call to call.
#[derive(Debug, Default)]
pub struct Effects {
    /// What happened, in order; to be appended to the journal under the mutex of the table.
    pub events: Vec<Event>,
    /// Answers to those in line.
    pub answers: Vec<Answer>,
    /// Holders whose cadence follows.
    pub holders: Vec<HolderChange>,
}

/// All leases of a gateway.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub struct Leases {
    table: Table,
    /// The newest time seen: an earlier one counts as this.
    now: Millis,
    /// The newest token granted, or all that this run's tokens are above.
    last_token: u64,
    last_waiter: u64,
    frozen: bool,
}

impl Leases {
    /// Bits of a token that count the grants of one run; the epoch stands above them.
    const COUNTER_BITS: u32 = 32;
    /// Largest epoch: with it tokens stay within [`limits::INTEGER`].
    pub const EPOCH_MAX: u32 = (1 << (53 - Self::COUNTER_BITS)) - 1;

    /// An empty table for a run of the gateway. The epoch must be durable, and must be larger than
    /// that of every run before: its tokens are larger because of that.
    ///
    /// # Panics
    /// If the epoch is above [`Leases::EPOCH_MAX`]: its tokens could not be told from older ones.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        assert!(epoch <= Self::EPOCH_MAX, "epoch {epoch} does not fit into fencing tokens");
        Self {
            table: Table::default(),
            now: Millis::default(),
            last_token: u64::from(epoch) << Self::COUNTER_BITS,
            last_waiter: 0,
            frozen: false,
        }
    }

    /// Whether this token may act now, for whatever a lease protects.
    #[must_use]
    pub fn check(&self, now: Millis, key: Key<'_>, token: u64) -> Check {
        let now = self.now.max(now);
        if token > self.last_token {
            return Check::Unknown;
        }
        let Some(lease) = self.table.find(key).map(|slot| &self.table[slot]) else {
            return Check::Free;
        };
        match token.cmp(&lease.token) {
            _ if !lease.is_held(now) => Check::Free,
            core::cmp::Ordering::Less => Check::Superseded,
            core::cmp::Ordering::Equal => Check::Valid { remaining_ms: lease.expires.since(now) },
            core::cmp::Ordering::Greater => Check::Unknown,
        }
    }

    /// One lease; `None` while nobody holds it.
    #[must_use]
    pub fn info(&self, now: Millis, key: Key<'_>) -> Option<Info<'_>> {
        let now = self.now.max(now);
        let lease = &self.table[self.table.find(key)?];
        lease.is_held(now).then(|| lease.info(now))
    }

    /// The leases of a tenant that are held, in the order of their names, from after this name on
    /// (from the first on, after `""`).
    pub fn list<'a>(
        &'a self,
        now: Millis,
        tenant: TenantId,
        after: &'a str,
    ) -> impl Iterator<Item = Info<'a>> {
        let now = self.now.max(now);
        let leases = self.table.names(tenant, after).map(|slot| &self.table[slot]);
        leases.filter(move |lease| lease.is_held(now)).map(move |lease| lease.info(now))
    }

    /// Tenants that have leases, in order.
    pub fn tenants(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.table.tenants()
    }

    /// How many leases there are, those not confirmed yet included, and requests in line.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.table.len(), self.table.waiting())
    }

    /// Smallest TTL of a holder's leases, in milliseconds; `None` when it holds none. For an agent
    /// that is registered while it holds leases already.
    #[must_use]
    pub fn smallest_ttl_ms(&self, tenant: TenantId, holder: &str) -> Option<u32> {
        let leases = self.table.held_by(tenant, holder).iter().map(|&slot| &self.table[slot]);
        leases.map(Lease::cap_ttl_ms).min()
    }

    /// Renews everything that a holder holds, by an accepted heartbeat, and adds it to the
    /// directive. An agent that is stopping, stalled or unhealthy is not fit: nothing is renewed
    /// then, and nothing added. Not for rate-limited heartbeats, which get no directive.
    pub fn renew_held(
        &mut self,
        now: Millis,
        tenant: TenantId,
        holder: &str,
        is_fit: bool,
        directive: &mut Vec<LeaseGrant>,
    ) {
        let now = self.advance(now);
        if !is_fit {
            return;
        }
        for index in 0..self.table.held_by(tenant, holder).len() {
            let slot = self.table.held_by(tenant, holder)[index];
            let lease = &mut self.table[slot];
            if lease.is_held(now) {
                lease.extend(now, lease.told_ttl_ms);
                directive.push(lease.to_wire());
            }
        }
    }

    /// What the directive to a *repeated* heartbeat may name: leases that hold for their whole TTL
    /// from `since` on, the receipt of that heartbeat's first attempt. The agent counts from the
    /// sending of the first attempt, as ever.
    pub fn renewed_since(
        &self,
        now: Millis,
        tenant: TenantId,
        holder: &str,
        since: Millis,
        directive: &mut Vec<LeaseGrant>,
    ) {
        let now = self.now.max(now);
        let leases = self.table.held_by(tenant, holder).iter().map(|&slot| &self.table[slot]);
        let whole = leases.filter(|lease| {
            lease.is_held(now) && lease.expires >= since.plus(lease.told_ttl_ms.into())
        });
        directive.extend(whole.map(Lease::to_wire));
    }

    /// No lease expires before this instant. It may be early: a renewal leaves the timer alone, and
    /// the timer finds the new expiry when it fires. `None` in read-only mode: an end could not be
    /// recorded, so nobody may follow on it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.frozen { None } else { self.table.next_timer() }
    }

    /// Ends what has expired, and serves those in line; looks at `limit` timers at most. Says
    /// whether more are due.
    pub fn handle_deadlines(&mut self, now: Millis, limit: usize, effects: &mut Effects) -> bool {
        let now = self.advance(now);
        for _ in 0..limit {
            let Some(slot) = self.due(now) else { return false };
            if self.table[slot].is_over(now) {
                self.end_over(now, slot, effects);
            } else {
                self.table.rearm(slot);
            }
        }
        self.due(now).is_some()
    }

    /// Read-only mode, while nothing can be made durable: grants, releases and longer TTLs are
    /// refused, renewals go on. Who loses a lease by its expiry has lost it, but nobody follows
    /// before the end of the mode: then call [`Leases::handle_deadlines`].
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// The first lease whose timer has come.
    fn due(&self, now: Millis) -> Option<u32> {
        if self.frozen { None } else { self.table.due(now) }
    }

    /// Time as the table takes it: never back.
    fn advance(&mut self, now: Millis) -> Millis {
        self.now = self.now.max(now);
        self.now
    }
}

impl Refusal {
    /// The code of the wire.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Held { .. } => Code::LeaseHeld,
            Self::Unknown => Code::LeaseUnknown,
            Self::TokenStale => Code::TokenStale,
            Self::ReadOnly => Code::JournalUnavailable,
            Self::Full(_) | Self::TooMany => Code::Overloaded,
        }
    }
}

impl Event {
    /// The form of journal and watch; its place there is for the journal to fill in. The holder
    /// stands in the body only, as the event is about no agent's state.
    #[must_use]
    pub fn to_wire(&self, tenant: &str) -> event::Event {
        event::Event {
            at_ms: self.at.0,
            tenant: tenant.into(),
            kind: Some(self.kind.clone()),
            ..event::Event::default()
        }
    }
}

impl Effects {
    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.answers.is_empty() && self.holders.is_empty()
    }

    /// Forgets everything; keeps the room.
    pub fn clear(&mut self) {
        self.events.clear();
        self.answers.clear();
        self.holders.clear();
    }
}
