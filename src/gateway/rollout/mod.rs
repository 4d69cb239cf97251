//! Policies while the gateway runs: uploads, trials, swaps, and the way back.
//!
//! ```text
//! api ──► vet (compile, try; nobody waits) ──► track (what each revision is) ──► manifest, durable
//!                                                        │
//! watchdog: a breaker opened ──► take back ─────────────►│──► PolicySet ──► shards, all at once
//! ```
//! One `Track` a policy says which of its revisions is obeyed, which is on trial and which were
//! before. A change makes a new set of revisions that are loaded, writes down what it is, and
//! swaps: what cannot be loaded, or written down, never replaces what works. Heartbeats under way
//! end with the set that they began with.
//!
//! Work is done one change at a time, on threads that may block. This room may touch `policy`,
//! `config`, `durable`, `shard` and `telemetry`.

mod admission;
mod inner;
mod operate;
mod store;
mod track;
mod view;
mod watchdog;

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use pulsegate_policy::{self as policy, Engine, PolicySet};
use pulsegate_wire::EventKind;
use pulsegate_wire::event::PoliciesChanged;

use crate::config::Config;
use crate::durable::Durable;
use crate::shard::Shards;
use crate::telemetry::Telemetry;
use inner::{Inner, Warming};

pub use operate::{How, Which};
pub use watchdog::watch_over;

/// Most policies by name that have uploads. Source: as many as a set holds.
pub const NAMES: usize = 64;

/// The policies of a gateway; clones share them.
#[derive(Clone)]
pub struct Rollout {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    shards: Arc<Shards>,
    durable: Durable,
    telemetry: Telemetry,
    /// Threads that call policies: so many instances are made before a swap.
    threads: usize,
    inner: Mutex<Inner>,
}

/// Policies that are loaded before anything is served.
pub struct Prepared {
    inner: Inner,
    complaints: Vec<String>,
}

/// What a [`Rollout`] works on.
pub struct Parts {
    /// What compiles.
    pub engine: Engine,
    /// Whose policies they are.
    pub shards: Arc<Shards>,
    /// Where events are recorded.
    pub durable: Durable,
    /// Where happenings are counted.
    pub telemetry: Telemetry,
    /// Threads that call policies.
    pub threads: usize,
}

/// Why a policy cannot become what was asked for; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing of this name is configured or uploaded.
    #[error("no policy of this name is configured or uploaded")]
    Unknown,
    /// No revision of this policy is called so, or more than one.
    #[error("{0}")]
    Revision(String),
    /// It is not in a state for this.
    #[error("{0}")]
    Conflict(String),
    /// The component did not pass admission, or does not fit to the routes.
    #[error(transparent)]
    Policy(#[from] policy::Error),
    /// The component cannot be loaded again.
    #[error("the revision cannot be loaded: {0}")]
    Unloadable(String),
    /// It cannot be made durable.
    #[error("it cannot be written down: {0}")]
    Store(#[from] io::Error),
    /// There is no room for it.
    #[error("all uploaded components together would have {bytes} bytes")]
    Full {
        /// How many bytes they would have.
        bytes: u64,
        /// How many they may have.
        most: u64,
    },
    /// There are too many names.
    #[error("{NAMES} policies have uploads, and no more may")]
    Names,
}

impl Prepared {
    /// Loads the policies of a configuration, and what was uploaded before. What was uploaded and
    /// cannot be loaded gives way to what was enforced before it, and to the configuration.
    ///
    /// # Errors
    /// A policy of the configuration itself was refused.
    pub fn load(engine: &Engine, config: &Arc<Config>) -> Result<(Self, PolicySet), policy::Error> {
        let mut inner = Inner::configured(engine, config)?;
        let mut complaints = inner.restore(engine);
        let policies = inner.settle(engine, &mut complaints)?;
        Ok((Self { inner, complaints }, policies))
    }
}

impl Rollout {
    /// Takes over what was prepared; its set must be in use already.
    #[must_use]
    pub fn new(prepared: Prepared, parts: Parts) -> Self {
        let Prepared { inner, complaints } = prepared;
        for complaint in complaints {
            parts.telemetry.policies_damaged(&complaint);
        }
        let Parts { engine, shards, durable, telemetry, threads } = parts;
        let inner = Mutex::new(Inner { is_serving: true, ..inner });
        let shared = Shared { engine, shards, durable, telemetry, threads, inner };
        Self { shared: Arc::new(shared) }
    }

    /// Loads the policies of another configuration, to be put into force by [`Reload::apply`].
    /// Changes have to wait meanwhile.
    ///
    /// # Errors
    /// A policy was refused; nothing has changed.
    pub fn reload(&self, config: &Arc<Config>) -> Result<Reload<'_>, policy::Error> {
        let mut guard = self.shared.inner.lock();
        let next = guard.reconfigured(&self.shared.engine, config)?;
        let policies = next.assemble(&self.shared.engine, &next.tracks)?;
        let mut before = std::mem::replace(&mut *guard, next);
        guard.warming = std::mem::take(&mut before.warming);
        Ok(Reload { rollout: self, guard, before: Some(before), policies: Some(policies) })
    }
}

/// Policies of another configuration that are loaded. Dropped without [`Self::apply`], nothing has
/// changed.
pub struct Reload<'a> {
    rollout: &'a Rollout,
    guard: parking_lot::MutexGuard<'a, Inner>,
    before: Option<Inner>,
    policies: Option<PolicySet>,
}

impl Reload<'_> {
    /// Swaps to them.
    pub fn apply(mut self) {
        let before = self.before.take();
        let Some(policies) = self.policies.take() else { return };
        let was = before.map(|before| before.obeyed()).unwrap_or_default();
        self.rollout.shared.take_over(&mut self.guard, &was, policies);
    }
}

impl Drop for Reload<'_> {
    fn drop(&mut self) {
        if let Some(mut before) = self.before.take() {
            before.warming = std::mem::take(&mut self.guard.warming);
            *self.guard = before;
        }
    }
}

impl Shared {
    /// Swaps to a set, with instances of what is new in it made before.
    fn take_over(&self, inner: &mut Inner, was: &[policy::Revision], policies: PolicySet) {
        for revision in inner.obeyed() {
            if !was.iter().any(|known| known.is(&revision)) {
                revision.warm_up(self.threads);
                inner.warming.push(Warming::new(revision));
            }
        }
        inner.prune();
        let names = policies.revisions();
        self.telemetry.set_policies(policies.names(), |index| policies.role(index));
        self.shards.set_policies(Arc::new(policies));
        self.telemetry.policies_swapped(&names);
        let changed = PoliciesChanged { policies: names };
        self.durable.note("", EventKind::PoliciesChanged(changed));
    }
}

impl fmt::Debug for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollout").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}
