//! Leases: the table of `core` behind one mutex, with a clock, the journal and those who wait.
//!
//! ```text
//! a request ─→ table, under its lock ─→ events to the journal ─→ wait for the disk ─→ confirm
//!                     │                                             └ too slow: undo
//!                     └→ holders' cadence (their shard, under the table's lock)
//! a heartbeat ─→ shard ─→ unlock ─→ renewal in the table ─→ directive
//! the driver's tick ─→ expiry ─→ the next in line
//! ```
//! Locks go one way: the table's, then a shard's. Events of the table are appended under its lock,
//! so whoever is told of a grant follows on an end that is durable. Everything that is granted and
//! cannot be told any more, because the journal is slow or the client has gone, is undone.
//!
//! This room may touch `clock`, `durable`, `telemetry` and `shard`.

mod line;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pulsegate_core::lease::{self as table, Acquired, Check, Effects, Grant, Key, WaiterId};
use pulsegate_core::{Millis, TenantId};
use pulsegate_wire::event::{Event, LeaseGranted};
use pulsegate_wire::{EventKind, LeaseGrant};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::durable::{Durable, Mark, Unavailable};
use crate::shard::{Holdings, Renewal, Shards};
use crate::telemetry::{Gauge, Telemetry};

use line::{Place, Served, Untold};
pub use table::{Info, Refusal};

/// Expiries that one look at the table handles at most, so that heartbeats of holders do not wait
/// for a mass expiry; the rest follows at the next tick. Source: chosen; some 100 µs.
const EXPIRIES: usize = 256;

/// Leases that one lock of a listing covers at most, as of agents. Source: chosen; some 50 µs.
const LISTED_A_LOCK: usize = 256;

/// The leases of a gateway; clones share them.
#[derive(Clone)]
pub struct Leases {
    inner: Arc<Inner>,
}

struct Inner {
    desk: Mutex<Desk>,
    /// Leases in the table; for those who need not lock it when there are none.
    count: AtomicUsize,
    clock: Arc<Clock>,
    durable: Durable,
    telemetry: Telemetry,
    shards: OnceLock<Weak<Shards>>,
}

/// What the lock holds together.
struct Desk {
    table: table::Leases,
    effects: Effects,
    /// Requests in line, by their place.
    line: BTreeMap<WaiterId, oneshot::Sender<Served>>,
    /// Newest token that was counted as a grant.
    newest_token: u64,
    /// The gateway ends: nobody waits any more.
    is_closed: bool,
}

/// A lease that is asked for; what it says has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Tenant of the credential.
    pub tenant: TenantId,
    /// Name of the lease.
    pub name: &'a str,
    /// Who shall hold it.
    pub holder: &'a str,
    /// TTL, in milliseconds.
    pub ttl_ms: u32,
    /// How long to wait in line; zero: not at all.
    pub wait: Duration,
}

/// Why a lease was not acquired; the caller holds nothing by this request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAcquired {
    /// The table refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It stood in line, and the gateway ends.
    #[error("the gateway ends")]
    Ending,
}

/// A lease that the caller holds from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What was granted.
    pub grant: Grant,
    /// The holder is an agent that keeps an interval too long for it.
    pub beat_now: bool,
}

impl Leases {
    /// An empty table for this start of the gateway, which the epoch counts.
    ///
    /// # Panics
    /// If the epoch is above [`table::Leases::EPOCH_MAX`].
    #[must_use]
    pub fn new(epoch: u32, clock: Arc<Clock>, durable: Durable, telemetry: Telemetry) -> Self {
        let desk = Desk {
            table: table::Leases::new(epoch),
            effects: Effects::default(),
            line: BTreeMap::new(),
            newest_token: 0,
            is_closed: false,
        };
        let inner = Inner {
            desk: Mutex::new(desk),
            count: AtomicUsize::new(0),
            clock,
            durable,
            telemetry,
            shards: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whose cadence follows. To be called once, before [`Leases::resume`].
    pub fn connect(&self, shards: Weak<Shards>) {
        let is_first = self.inner.shards.set(shards).is_ok();
        debug_assert!(is_first, "leases are connected once");
    }

    /// The gateway serves from now on: what was restored holds for its whole TTL.
    pub fn resume(&self) {
        let (mut desk, now) = self.lock();
        let Desk { table, effects, .. } = &mut *desk;
        table.resume(now, effects);
        // Nothing has happened that could fail to be recorded.
        let _ = self.settle(&mut desk);
    }

    /// Lets time pass: what has expired ends, and the first in line follows.
    pub fn handle_time(&self) {
        if self.inner.count.load(SeqCst) == 0 {
            return;
        }
        let (mut desk, now) = self.lock();
        if desk.table.next_deadline().is_some_and(|next| next <= now) {
            let Desk { table, effects, .. } = &mut *desk;
            table.handle_deadlines(now, EXPIRIES, effects);
            // What could not be recorded is in the snapshot that makes up for it; those in line
            // are told by their own marks.
            let _ = self.settle(&mut desk);
        }
    }

    /// The gateway ends: whoever waits in line is answered, and nobody begins to.
    pub fn close(&self) {
        let (mut desk, _) = self.lock();
        desk.is_closed = true;
        desk.line.clear();
    }

    /// Asks for a lease, and waits in line if the request wants to. Dropping this gives up the
    /// place, and takes back a grant that was not told yet.
    ///
    /// # Errors
    /// [`NotAcquired`]; the caller holds nothing by this request.
    pub async fn acquire(&self, ask: Ask<'_>) -> Result<Held, NotAcquired> {
        let place = match self.ask(ask)? {
            Asked::Untold(untold) => return Ok(self.tell(untold).await.map_err(gone)?),
            Asked::Told(held) => return Ok(held),
            Asked::Refused(refusal, mark) => {
                // Its holder is not told yet; so nobody else is, before the disk knows.
                self.durable(mark).await?;
                return Err(refusal.into());
            }
            Asked::Waiting(place) => place,
        };
        match place.served(ask.wait).await? {
            Some(untold) => Ok(self.tell(untold).await.map_err(gone)?),
            None => Err(self.held_by_other(ask).into()),
        }
    }

    /// Renews a lease by the token of its grant, for its TTL or for a longer one.
    ///
    /// # Errors
    /// [`Refusal`]; the lease is as it was.
    pub async fn renew(
        &self,
        tenant: TenantId,
        name: &str,
        token: u64,
        ttl_ms: Option<u32>,
    ) -> Result<Held, Refusal> {
        let asked = {
            let (mut desk, now) = self.lock();
            let Desk { table, effects, .. } = &mut *desk;
            let renewed = table.renew(now, Key { tenant, name }, token, ttl_ms, effects);
            let mark = self.settle(&mut desk);
            self.granted(desk, now, renewed?, mark)?
        };
        match asked {
            Ok(held) => Ok(held),
            Err(untold) => self.tell(untold).await,
        }
    }

    /// Gives a lease back by the token of its grant. Says whether this ended it; it can be
    /// repeated.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]: the end is not durable, or not yet; it may be repeated.
    pub async fn release(&self, tenant: TenantId, name: &str, token: u64) -> Result<bool, Refusal> {
        let (released, mark) = {
            let (mut desk, now) = self.lock();
            let Desk { table, effects, .. } = &mut *desk;
            let released = table.release(now, Key { tenant, name }, token, effects);
            let mark = self.settle(&mut desk);
            (released?, mark)
        };
        self.durable(mark).await?;
        Ok(released)
    }

    /// Takes a lease back on behalf of an operator; the first in line gets it at once.
    ///
    /// # Errors
    /// [`Refusal`]; after [`Refusal::ReadOnly`] the lease may have ended, and the end may yet
    /// become durable.
    pub async fn revoke(&self, tenant: TenantId, name: &str) -> Result<(), Refusal> {
        let mark = {
            let (mut desk, now) = self.lock();
            let Desk { table, effects, .. } = &mut *desk;
            let revoked = table.revoke(now, Key { tenant, name }, effects);
            let mark = self.settle(&mut desk);
            self.inner.telemetry.lease_revoked(name, revoked?);
            mark
        };
        self.durable(mark).await
    }

    /// What a token is worth now.
    #[must_use]
    pub fn check(&self, tenant: TenantId, name: &str, token: u64) -> Check {
        let (desk, now) = self.lock();
        desk.table.check(now, Key { tenant, name }, token)
    }

    /// The leases of a tenant after this name, at most so many, as `show` copies them. Says
    /// whether there are more. Leases that come or go meanwhile may be there or not.
    pub fn list<T>(
        &self,
        tenant: TenantId,
        after: &str,
        limit: usize,
        show: impl Fn(Info<'_>) -> T,
    ) -> (Vec<T>, bool) {
        let mut shown = Vec::new();
        let mut after = after.to_owned();
        loop {
            let (desk, now) = self.lock();
            let most = (limit - shown.len()).min(LISTED_A_LOCK);
            let before = shown.len();
            let mut last = String::new();
            let mut leases = desk.table.list(now, tenant, &after);
            for info in leases.by_ref().take(most) {
                last.replace_range(.., info.name);
                shown.push(show(info));
            }
            let more = shown.len() - before == most && leases.next().is_some();
            if !more || shown.len() == limit {
                return (shown, more);
            }
            drop(leases);
            after = last;
        }
    }

    /// The table, in the mode that the journal is in, and core time.
    fn lock(&self) -> (MutexGuard<'_, Desk>, Millis) {
        let mut desk = self.inner.desk.lock();
        desk.table.set_frozen(self.inner.durable.is_read_only());
        // Read under the lock: time never goes back from one holder of it to the next.
        (desk, self.inner.clock.now())
    }

    /// Brings out what a call has caused: events to the journal, holders' cadence to their shards,
    /// answers to those in line. What is answered waits for the mark; an error says that the
    /// journal took nothing of it.
    fn settle(&self, desk: &mut Desk) -> Result<Mark, Unavailable> {
        let Desk { table, effects, line, newest_token, .. } = desk;
        let recorded = if effects.events.is_empty() {
            Ok(self.inner.durable.newest())
        } else {
            self.inner.durable.record_leases(&effects.events)
        };
        for event in effects.events.drain(..) {
            match &event.kind {
                EventKind::LeaseGranted(lease) if lease.token > *newest_token => {
                    *newest_token = lease.token;
                    self.inner.telemetry.lease_granted(lease);
                }
                EventKind::LeaseEnded(lease) => self.inner.telemetry.lease_ended(lease),
                _ => {}
            }
        }
        // All that was appended before, too: the end that a grant follows on.
        let mark = recorded.map(|mark| mark.max(self.inner.durable.newest()));
        if let Some(shards) = self.shards() {
            for change in effects.holders.drain(..) {
                shards.set_smallest_lease(change.tenant, &change.holder, change.smallest_ttl_ms);
            }
        }
        effects.holders.clear();
        for answer in effects.answers.drain(..) {
            if let Some(place) = line.remove(&answer.waiter) {
                // Who has left has given up its place first.
                let _ = place.send(Served { result: answer.result, mark });
            }
        }
        let (leases, waiters) = table.counts();
        self.inner.count.store(leases, SeqCst);
        self.inner.telemetry.set(Gauge::Leases, leases as f64);
        self.inner.telemetry.set(Gauge::LeaseWaiters, waiters as f64);
        mark
    }

    fn shards(&self) -> Option<Arc<Shards>> {
        self.inner.shards.get().and_then(Weak::upgrade)
    }

    /// What becomes of a request at once.
    fn ask(&self, ask: Ask<'_>) -> Result<Asked<'_>, Refusal> {
        let (mut desk, now) = self.lock();
        let Ask { tenant, name, holder, ttl_ms, wait } = ask;
        let wait = !wait.is_zero() && !desk.is_closed;
        let request = table::Request { key: Key { tenant, name }, holder, ttl_ms, wait };
        let Desk { table, effects, line, .. } = &mut *desk;
        let acquired = table.acquire(now, &request, effects);
        if let Ok(Acquired::Waiting(waiter)) = acquired {
            let (sender, receiver) = oneshot::channel();
            line.insert(waiter, sender);
            // Only expired leases can have ended, and this request came after.
            let _ = self.settle(&mut desk);
            return Ok(Asked::Waiting(Place::new(self, waiter, receiver)));
        }
        let mark = self.settle(&mut desk);
        match acquired {
            Ok(Acquired::Granted(grant)) => {
                let granted = self.granted(desk, now, grant, mark)?;
                Ok(granted.map_or_else(Asked::Untold, Asked::Told))
            }
            Ok(Acquired::Waiting(_)) => Err(Refusal::ReadOnly),
            Err(refusal @ Refusal::Held { waits: true, .. }) => Ok(Asked::Refused(refusal, mark)),
            Err(refusal) => Err(refusal),
        }
    }

    /// A grant that can be told now, or one that has to wait for the disk. One that the journal
    /// did not take is undone under the same lock, so that nobody builds upon it.
    fn granted<'a>(
        &'a self,
        mut desk: MutexGuard<'_, Desk>,
        now: Millis,
        grant: Grant,
        mark: Result<Mark, Unavailable>,
    ) -> Result<Result<Held, Untold<'a>>, Refusal> {
        if !grant.waits {
            let beat_now = self.beat_now(&desk, &grant);
            return Ok(Ok(Held { grant, beat_now }));
        }
        if let Ok(mark) = mark {
            return Ok(Err(Untold::new(self, grant, mark)));
        }
        let Desk { table, effects, .. } = &mut *desk;
        table.undo(now, &grant, effects);
        // It fails as the grant did: then the snapshot that makes up for both has neither.
        let _ = self.settle(&mut desk);
        Err(Refusal::ReadOnly)
    }

    /// Tells of a grant once it is durable, and takes it back if it is not in time.
    async fn tell(&self, untold: Untold<'_>) -> Result<Held, Refusal> {
        if self.inner.durable.wait(untold.mark()).await.is_err() {
            return Err(Refusal::ReadOnly);
        }
        let (mut desk, now) = self.lock();
        let grant = untold.told();
        let Desk { table, effects, .. } = &mut *desk;
        let told = table.confirm(now, &grant, effects);
        // Nothing of it is to be recorded.
        let _ = self.settle(&mut desk);
        // It was revoked, has expired, or was undone together with a request of the same holder.
        let grant = told.ok_or(Refusal::Unknown)?;
        let beat_now = self.beat_now(&desk, &grant);
        Ok(Held { grant, beat_now })
    }

    async fn durable(&self, mark: Result<Mark, Unavailable>) -> Result<(), Refusal> {
        let read_only = |Unavailable| Refusal::ReadOnly;
        self.inner.durable.wait(mark.map_err(read_only)?).await.map_err(read_only)
    }

    /// Takes a grant back that nobody can be told of any more.
    fn undo(&self, grant: &Grant) {
        let (mut desk, now) = self.lock();
        let Desk { table, effects, .. } = &mut *desk;
        table.undo(now, grant, effects);
        // Where it cannot be recorded, a restart brings the lease back for one TTL, for nobody.
        let _ = self.settle(&mut desk);
    }

    /// Gives up a place in line; `false` when it has its answer already.
    fn leave(&self, waiter: WaiterId) -> bool {
        let (mut desk, _) = self.lock();
        let was_waiting = desk.table.cancel(waiter);
        desk.line.remove(&waiter);
        let _ = self.settle(&mut desk);
        was_waiting
    }

    /// Whether the holder is an agent that should beat at once, to be told a shorter interval.
    fn beat_now(&self, desk: &Desk, grant: &Grant) -> bool {
        let smallest_ms = desk.table.smallest_ttl_ms(grant.tenant, &grant.holder);
        let shards = self.shards();
        shards.is_some_and(|s| s.set_smallest_lease(grant.tenant, &grant.holder, smallest_ms))
    }

    /// Why the time in line has passed in vain.
    fn held_by_other(&self, ask: Ask<'_>) -> Refusal {
        let (desk, now) = self.lock();
        let info = desk.table.info(now, Key { tenant: ask.tenant, name: ask.name });
        Refusal::Held {
            // One whose grant is on its way to the disk is not told of.
            holder: info.map(|info| info.holder.to_owned()).unwrap_or_default(),
            remaining_ms: info.map_or(0, |info| info.remaining_ms),
            waits: false,
        }
    }
}

/// A new grant that ended before it could be told: whoever asked shall ask again.
fn gone(refusal: Refusal) -> Refusal {
    if refusal == Refusal::Unknown { Refusal::ReadOnly } else { refusal }
}

/// What became of a request at once.
enum Asked<'a> {
    Told(Held),
    Untold(Untold<'a>),
    Waiting(Place<'a>),
    Refused(Refusal, Result<Mark, Unavailable>),
}

impl Holdings for Leases {
    fn renew(
        &self,
        tenant: TenantId,
        holder: &str,
        renewal: Renewal,
        directive: &mut Vec<LeaseGrant>,
    ) {
        let (mut desk, now) = self.lock();
        match renewal {
            Renewal::Accepted { is_fit } => {
                desk.table.renew_held(now, tenant, holder, is_fit, directive);
            }
            Renewal::Repeated { since } => {
                desk.table.renewed_since(now, tenant, holder, since, directive);
            }
        }
    }

    fn meet(&self, tenant: TenantId, holder: &str) {
        if self.inner.count.load(SeqCst) == 0 {
            return;
        }
        let (desk, _) = self.lock();
        let smallest_ms = desk.table.smallest_ttl_ms(tenant, holder);
        if let (Some(_), Some(shards)) = (smallest_ms, self.shards()) {
            shards.set_smallest_lease(tenant, holder, smallest_ms);
        }
    }

    fn restore(&self, tenant: TenantId, lease: &LeaseGranted) {
        self.inner.desk.lock().table.restore(tenant, lease);
    }

    fn apply(&self, tenant: TenantId, event: &Event) {
        self.inner.desk.lock().table.apply(tenant, event);
    }

    fn export(&self) -> Vec<(TenantId, LeaseGranted)> {
        self.inner.desk.lock().table.export().collect()
    }
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.inner.count.load(SeqCst);
        f.debug_struct("Leases").field("count", &count).finish_non_exhaustive()
    }
}
