//! The agents, spread over shards: which shard an agent belongs to, what the shell keeps beside
//! the machine, and where effects go.
//!
//! A shard is a group of partitions behind one mutex: lock, handle, unlock; a policy on the
//! thread's own store; lock, decide. **No lock is held across Wasm or I/O**, and no two shards
//! are ever locked at once. Events are recorded under the lock, in the order of the machine; all
//! other effects are delivered after unlocking.
//!
//! This room may touch `policy`, `core`, `wire`, `clock`, `config`, `durable` and `telemetry`.

mod batch;
mod cold;
mod driver;
mod early;
mod heartbeat;
mod json;
mod keeper;
mod late;
mod leases;
mod limiter;
mod operate;
pub(crate) mod protobuf;
mod recording;
mod reply;
mod restore;
mod shadow;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use pulsegate_core::{
    Action, AgentKey, Decision, Effects, Event, EventKind, Machine, Millis, PartitionHasher,
    Refusal, Slot, Stamp, Suspicion, TenantId,
};
use pulsegate_policy::{Agent, Assignment, PolicySet};
use tokio::sync::broadcast;

pub use batch::Item;
pub use cold::{Explained, Shadowed};
pub use driver::drive;
pub use heartbeat::{Gate, Origin, Refused};
pub use keeper::keep;
pub use leases::{Holdings, Renewal};
pub use limiter::{Charged, Limiter, Quota};
pub use operate::{BadCursor, Cursor, Found};
pub use reply::Reply;
pub use shadow::watch_shadows;

use crate::clock::Clock;
use crate::config::Config;
use crate::durable::{Durable, Mark};
use crate::telemetry::{LimitedSource, ShedReason, Telemetry};
use cold::Cold;
use heartbeat::Bench;

/// Events that a slow subscriber may lag behind before it loses the oldest ones.
///
/// Source: chosen; a mass failure of a thousand agents fits with what belongs to it.
const EVENT_BUFFER: usize = 8_192;

/// Starts an action once its intent, which the mark stands for, is durable; the outcome comes back
/// through [`Shards::handle_outcome`].
pub type StartAction = Box<dyn Fn(Action, Mark) + Send + Sync>;

/// Asks a silent agent for a sign of life at the address that it was observed at; a witness that
/// it is gone comes back through [`Shards::handle_witness`].
pub type AskWitness = Box<dyn Fn(Suspicion, IpAddr) + Send + Sync>;

/// All agents of a gateway.
pub struct Shards {
    shards: Box<[Mutex<Shard>]>,
    hasher: PartitionHasher,
    clock: Arc<Clock>,
    durable: Durable,
    policies: ArcSwap<PolicySet>,
    config: ArcSwap<Config>,
    telemetry: Telemetry,
    events: broadcast::Sender<Arc<Event>>,
    start_action: StartAction,
    ask_witness: AskWitness,
    leases: Arc<dyn Holdings>,
    /// Agents known, over all shards.
    known: Arc<AtomicU32>,
    /// Load of the fleet, 0 to 1, as the bits of an `f64`.
    load: AtomicU64,
    /// The fleet's floor, in milliseconds for a class of weight 1.
    floor_base_ms: AtomicU32,
    /// The machines are frozen, because nothing can be recorded.
    frozen: AtomicBool,
    /// What waits for policies in shadow.
    shadows: shadow::Queue,
}

/// What [`Shards::new`] puts together.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The policies to begin with.
    pub policies: Arc<PolicySet>,
    /// Core time.
    pub clock: Arc<Clock>,
    /// Where events are recorded.
    pub durable: Durable,
    /// Where happenings are counted.
    pub telemetry: Telemetry,
    /// What starts an action of recovery.
    pub start_action: StartAction,
    /// What asks a silent agent for a sign of life.
    pub ask_witness: AskWitness,
    /// What agents hold.
    pub leases: Arc<dyn Holdings>,
}

/// The agents of some partitions, and what the shell keeps beside them.
pub(crate) struct Shard {
    machine: Machine,
    limiter: Limiter,
    cold: Vec<Cold>,
    durable: Durable,
    /// Events of the present lock that are settled.
    settled: usize,
    /// Agents known, over all shards.
    known: Arc<AtomicU32>,
    hasher: PartitionHasher,
}

impl Shards {
    /// Empty shards, at least one and at most one a partition.
    #[must_use]
    pub fn new(count: usize, hash_key: [u64; 2], parts: Parts) -> Self {
        let count = count.clamp(1, PartitionHasher::PARTITIONS);
        let known = Arc::new(AtomicU32::new(0));
        let hasher = PartitionHasher::new(hash_key);
        let shard = || {
            Mutex::new(Shard {
                machine: Machine::new(parts.config.core(count as u32)),
                limiter: Limiter::new(agent_quota(&parts.config)),
                cold: Vec::new(),
                durable: parts.durable.clone(),
                settled: 0,
                known: known.clone(),
                hasher,
            })
        };
        Self {
            shards: (0..count).map(|_| shard()).collect(),
            hasher,
            clock: parts.clock,
            durable: parts.durable,
            policies: ArcSwap::new(parts.policies),
            config: ArcSwap::new(parts.config),
            telemetry: parts.telemetry,
            events: broadcast::channel(EVENT_BUFFER).0,
            start_action: parts.start_action,
            ask_witness: parts.ask_witness,
            leases: parts.leases,
            known,
            load: AtomicU64::new(0),
            floor_base_ms: AtomicU32::new(0),
            frozen: AtomicBool::new(false),
            shadows: shadow::Queue::default(),
        }
    }

    /// What happens from now on; a subscriber that lags far behind loses the oldest events.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Events that the slowest subscriber has yet to read.
    #[must_use]
    pub fn events_queued(&self) -> usize {
        self.events.len()
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

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The same, without a claim of its own: not to be kept for long.
    pub fn config_guard(&self) -> arc_swap::Guard<Arc<Config>> {
        self.config.load()
    }

    /// What one agent may send.
    #[must_use]
    pub fn agent_quota(&self) -> Quota {
        agent_quota(&self.config.load())
    }

    /// Takes a new configuration; intervals above a lowered cap move with the next heartbeat.
    pub fn reconfigure(&self, config: &Arc<Config>) {
        let quota = agent_quota(config);
        let moved = quota != agent_quota(&self.config.load());
        for index in 0..self.shards.len() {
            let now = self.clock.now();
            let core = config.core(self.shards.len() as u32);
            heartbeat::with_bench(|bench| {
                self.under_lock(index, &mut bench.effects, |shard, effects| {
                    shard.machine.reconfigure(now, core, effects);
                    if moved {
                        shard.limiter = Limiter::new(quota);
                        shard.cold.iter_mut().for_each(|cold| cold.charged = Charged::default());
                    }
                });
                self.deliver(index, bench);
            });
        }
        self.config.store(config.clone());
    }

    /// Load of the fleet, 0 to 1 of the budget.
    #[must_use]
    pub fn load(&self) -> f64 {
        f64::from_bits(self.load.load(Relaxed))
    }

    /// Whether there is no room for another agent.
    fn is_full(&self) -> bool {
        self.known.load(Relaxed) >= self.config.load().limits.max_agents
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

    /// Acts on one shard and settles what came of it, under one lock.
    fn under_lock<R>(
        &self,
        index: usize,
        effects: &mut Effects,
        act: impl FnOnce(&mut Shard, &mut Effects) -> R,
    ) -> R {
        let mut shard = self.lock(index);
        shard.settled = effects.events.len();
        let result = act(&mut shard, effects);
        shard.settle(effects);
        result
    }

    /// Hands effects to whom they concern; no shard is locked.
    fn deliver(&self, index: usize, bench: &mut Bench) {
        if bench.effects.is_empty() {
            return;
        }
        self.plan(index, bench);
        let effects = &mut bench.effects;
        self.telemetry.events(&effects.events);
        self.meet(&effects.events);
        for event in effects.events.drain(..) {
            // Nobody may be listening.
            let _ = self.events.send(Arc::new(event));
        }
        for action in effects.actions.drain(..) {
            // Its intent was recorded before: what is recorded up to now covers it.
            (self.start_action)(action, self.durable.newest());
        }
        for suspicion in effects.suspicions.drain(..) {
            let address = self.lock(index).address(&suspicion);
            if let Some(address) = address {
                (self.ask_witness)(suspicion, address);
            }
        }
    }

    /// Gets a plan for every incident. A plan opens no further incident, so one pass is enough;
    /// should a machine ever disagree, what is left waits for the next delivery.
    fn plan(&self, index: usize, bench: &mut Bench) {
        let policies = self.policies.load();
        let mut incidents = std::mem::take(&mut bench.effects.incidents);
        for (stamp, incident) in incidents.drain(..) {
            let Some(assignment) = self.assignment_of(index, stamp, &policies) else {
                continue;
            };
            let (plan, call) = bench.worker.propose(&policies, assignment, &incident);
            if let Some(call) = call {
                self.telemetry.policy_call(&call);
            }
            if assignment.has_shadow() {
                let (shard, class) = (index, incident.class);
                let policies = &policies;
                let subject = shadow::Subject { policies, shard, stamp, assignment, class };
                self.watch_plan(subject, &incident, &plan);
            }
            let now = self.clock.now();
            self.under_lock(index, &mut bench.effects, |shard, effects| {
                shard.machine.handle_plan(now, stamp, plan, effects);
            });
        }
        if bench.effects.incidents.is_empty() {
            bench.effects.incidents = incidents;
        }
    }

    /// The policies of the agent of an incident; `None` when it is no longer known.
    fn assignment_of(
        &self,
        index: usize,
        stamp: Stamp,
        policies: &PolicySet,
    ) -> Option<Assignment> {
        let now = self.clock.now();
        let mut shard = self.lock(index);
        let tenant = shard.machine.info(now, stamp.slot)?.tenant;
        Some(shard.assignment(stamp.slot, policies, tenant, now))
    }

    fn count(&self, agent_id: &str, decision: &Decision) {
        let Decision { number, outcome, next_interval_ms, .. } = *decision;
        let bound = decision.trace.bound.as_str();
        tracing::trace!(agent_id, number, outcome = outcome.as_str(), next_interval_ms, bound);
        self.telemetry.directive(decision.trace.bound, decision.next_interval_ms);
    }

    fn count_refusal(&self, refused: &Refused) {
        match refused {
            Refused::Limited { unknown: true, .. } => {
                self.telemetry.limited(LimitedSource::Unknown);
            }
            Refused::Limited { unknown: false, .. } => {
                self.telemetry.limited(LimitedSource::Agent);
            }
            Refused::Machine(Refusal::Full) => self.telemetry.shed(ShedReason::Agents),
            Refused::Machine(_) | Refused::TooEarly => {}
        }
    }
}

fn agent_quota(config: &Config) -> Quota {
    Quota { rate_per_second: config.limits.agent_rate_per_second, burst: config.limits.agent_burst }
}

impl Shard {
    /// One agent with what is kept beside it.
    fn found(&self, now: Millis, slot: Slot) -> Option<Found<'_>> {
        let info = self.machine.info(now, slot)?;
        let cold = self.cold.get(slot.0 as usize);
        let explained = cold.and_then(|cold| cold.last.as_deref());
        let beside = cold.and_then(|cold| cold.beside.as_deref());
        let shadow = beside.and_then(|beside| beside.shadow.as_ref());
        Some(Found { now, info, explained, shadow })
    }

    /// Where a silent agent was observed at last; `None` when it is not silent any more, or was
    /// never decided upon.
    fn address(&self, suspicion: &Suspicion) -> Option<IpAddr> {
        let cold = self.cold.get(suspicion.stamp.slot.0 as usize)?;
        let is_silent = self.machine.is_silent(suspicion);
        cold.last.as_deref().filter(|_| is_silent).map(|last| last.peer)
    }

    /// Cold data of a slot, made where there is none yet.
    fn cold(&mut self, slot: Slot) -> &mut Cold {
        let index = slot.0 as usize;
        if index >= self.cold.len() {
            self.cold.resize_with(index + 1, Cold::default);
        }
        &mut self.cold[index]
    }

    /// Records what has happened since the last call under this lock, says whose answers wait for
    /// it, and drops what belonged to agents that are no longer known, before their slots are
    /// reused.
    fn settle(&mut self, effects: &Effects) {
        let events = &effects.events[self.settled..];
        if events.is_empty() {
            return;
        }
        self.settled = effects.events.len();
        let mark = self.durable.record(events);
        for event in events {
            match event.kind {
                EventKind::Registered { .. } => {
                    self.known.fetch_add(1, Relaxed);
                }
                EventKind::Forgotten { .. } => {
                    self.known.fetch_sub(1, Relaxed);
                    *self.cold(event.slot) = Cold::default();
                }
                _ => {}
            }
            if event.must_be_durable() {
                self.cold(event.slot).awaits = Some(mark);
            }
        }
    }

    /// What an answer to the agent in this slot has to wait for: whatever of it is not durable
    /// yet. So its answers keep their order, and a repeated heartbeat is not answered before the
    /// first one could have been.
    fn awaited(&self, slot: Slot) -> Option<Mark> {
        let mark = self.cold.get(slot.0 as usize)?.awaits?;
        self.durable.is_awaited(mark).then_some(mark)
    }

    /// The policies of an agent: chosen anew when its registration or the set has changed.
    fn assignment(
        &mut self,
        slot: Slot,
        policies: &PolicySet,
        tenant: TenantId,
        now: Millis,
    ) -> Assignment {
        let generation = policies.generation();
        match self.cold(slot).assigned {
            Some((known, assignment)) if known == generation => return assignment,
            _ => {}
        }
        let assignment = self.machine.info(now, slot).map_or_else(Assignment::default, |info| {
            let none = std::collections::BTreeMap::new();
            let labels = info.registration.map_or(&none, |registration| &registration.labels);
            let hash = self.hasher.key(tenant, info.id).hash;
            policies.assign_agent(&Agent { tenant, class: info.class, labels, hash })
        });
        self.cold(slot).assigned = Some((generation, assignment));
        assignment
    }

    fn memory(&self) -> (usize, usize) {
        let (hot, cold) = self.machine.memory();
        let boxed: usize = self.cold.iter().map(Cold::boxed_bytes).sum();
        (hot, cold + boxed + self.cold.capacity() * size_of::<Cold>())
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").field("count", &self.shards.len()).finish_non_exhaustive()
    }
}
