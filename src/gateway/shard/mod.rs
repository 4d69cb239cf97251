//! The agents, spread over shards: which shard an agent belongs to, what the shell keeps beside
//! the machine, and where effects go.
//!
//! A shard is a group of partitions behind one mutex: lock, handle, unlock; a policy on the
//! thread's own store; lock, decide. **No lock is held across Wasm or I/O**, and no two shards
//! are ever locked at once. Effects are delivered after unlocking.
//!
//! This room may touch `policy`, `core`, `wire`, `clock` and `telemetry`.

mod cold;
mod limiter;
mod operate;

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use pulsegate_core::{
    Action, AgentKey, Effects, Event, EventKind, Machine, Millis, PartitionHasher, Slot, TenantId,
};
use pulsegate_policy::PolicySet;
use tokio::sync::broadcast;

pub use cold::Explained;
pub use limiter::Quota;
pub use operate::{BadCursor, Cursor, Found};

use crate::clock::Clock;
use cold::Cold;
use limiter::Limiter;

/// Events that a slow subscriber may lag behind before it loses the oldest ones.
///
/// Source: chosen; a mass failure of a thousand agents fits with what belongs to it.
const EVENT_BUFFER: usize = 8_192;

/// What this room takes from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How each machine works.
    pub machine: pulsegate_core::Config,
    /// What one agent may send.
    pub agent_quota: Quota,
    /// Shortest distance between two early heartbeats, in milliseconds.
    pub early_min_gap_ms: u64,
    /// Delay that spreads early heartbeats of a fleet, in milliseconds.
    pub early_spread_ms: u64,
    /// Delays after which an unanswered heartbeat is repeated, in milliseconds.
    pub retry_ms: Vec<u64>,
}

/// Starts an action; the outcome comes back through [`Shards::handle_outcome`].
pub type StartAction = Box<dyn Fn(Action) + Send + Sync>;

/// All agents of a gateway.
pub struct Shards {
    shards: Box<[Mutex<Shard>]>,
    hasher: PartitionHasher,
    clock: Arc<Clock>,
    policies: ArcSwap<PolicySet>,
    settings: ArcSwap<Settings>,
    events: broadcast::Sender<Arc<Event>>,
    start_action: StartAction,
}

/// The agents of some partitions, and what the shell keeps beside them.
pub(crate) struct Shard {
    machine: Machine,
    limiter: Limiter,
    cold: Vec<Cold>,
}

impl Shards {
    /// Empty shards, at least one and at most one a partition.
    #[must_use]
    pub fn new(
        count: usize,
        hash_key: [u64; 2],
        settings: Settings,
        policies: Arc<PolicySet>,
        clock: Arc<Clock>,
        start_action: StartAction,
    ) -> Self {
        let shard = || {
            Mutex::new(Shard {
                machine: Machine::new(settings.machine.clone()),
                limiter: Limiter::new(settings.agent_quota),
                cold: Vec::new(),
            })
        };
        let count = count.clamp(1, PartitionHasher::PARTITIONS);
        Self {
            shards: (0..count).map(|_| shard()).collect(),
            hasher: PartitionHasher::new(hash_key),
            clock,
            policies: ArcSwap::new(policies),
            settings: ArcSwap::from_pointee(settings),
            events: broadcast::channel(EVENT_BUFFER).0,
            start_action,
        }
    }

    /// What happens from now on; a subscriber that lags far behind loses the oldest events.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// The policies in use.
    #[must_use]
    pub fn policies(&self) -> Arc<PolicySet> {
        self.policies.load_full()
    }

    /// Swaps the policies; heartbeats under way finish with the old ones.
    pub fn set_policies(&self, policies: Arc<PolicySet>) {
        self.policies.store(policies);
    }

    /// Takes new settings; intervals above a lowered cap move with the next heartbeat.
    pub fn reconfigure(&self, settings: Settings) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.machine.reconfigure(settings.machine.clone());
            shard.limiter.set_quota(settings.agent_quota);
        }
        self.settings.store(Arc::new(settings));
    }

    /// The key of an agent.
    fn key<'a>(&self, tenant: TenantId, id: &'a str) -> AgentKey<'a> {
        self.hasher.key(tenant, id)
    }

    /// Index of the shard of an agent: shards hold neighbouring partitions.
    fn index(&self, key: &AgentKey<'_>) -> usize {
        usize::from(key.partition()) * self.shards.len() / PartitionHasher::PARTITIONS
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock()
    }

    /// Hands effects to whom they concern; the shard is not locked.
    fn deliver(&self, index: usize, effects: &mut Effects) {
        let _ = index;
        for event in effects.events.drain(..) {
            let _ = self.events.send(Arc::new(event));
        }
        for action in effects.actions.drain(..) {
            (self.start_action)(action);
        }
    }
}

impl Shard {
    /// One agent with what is kept beside it.
    fn found(&self, now: Millis, slot: Slot) -> Option<Found<'_>> {
        let info = self.machine.info(now, slot)?;
        let cold = self.cold.get(slot.0 as usize);
        let explained = cold.and_then(|cold| cold.last.as_deref());
        Some(Found { now, info, explained })
    }

    /// Cold data of a slot, made where there is none yet.
    fn cold(&mut self, slot: Slot) -> &mut Cold {
        let index = slot.0 as usize;
        if index >= self.cold.len() {
            self.cold.resize_with(index + 1, Cold::default);
        }
        &mut self.cold[index]
    }

    /// Drops what belonged to agents that are no longer known, before their slots are reused.
    fn settle(&mut self, effects: &Effects) {
        for event in &effects.events {
            if matches!(event.kind, EventKind::Forgotten { .. }) {
                *self.cold(event.slot) = Cold::default();
            }
        }
    }

    fn memory(&self) -> (usize, usize) {
        let (hot, cold) = self.machine.memory();
        let boxed: usize = self.cold.iter().map(Cold::boxed_bytes).sum();
        (hot, cold + boxed + self.cold.capacity() * (size_of::<Cold>() + size_of::<u64>()))
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").field("count", &self.shards.len()).finish_non_exhaustive()
    }
}
