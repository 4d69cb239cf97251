//! The machine of one shard: inputs `handle_*`, the question `next_deadline`, effects out.
//!
//! The way of a heartbeat:
//!
//! ```text
//! find            registry    the slot of the agent
//! handle_heartbeat heartbeat  incarnation and sequence: refused, repeated or accepted
//!                             accepted: echo → interval in force, statistics, deadline renewed
//!                 stats       what the policy sees beside the heartbeat itself
//! (a policy)                  … elsewhere, without the lock
//! decide          decide      health judged, cadence guarded, the longer interval in force
//!                 recovery    ill for long: an incident; well for long: its end
//! ```
//!
//! and of its absence: `deadlines` passes the edges alive → suspect → failed → forgotten,
//! `recovery` plans and acts one rung at a time.
//!
//! and of a restart: `replay` takes in what was recorded (`durable` is what is recorded), `resume`
//! goes on from there. While nothing can be recorded, the machine is `frozen`.
//!
//! Invariants: time never goes back in here; from `resume` on each known agent has exactly one
//! armed deadline, also between a heartbeat and its verdict; the census equals a recount; an agent
//! has at most one open action; a refused, repeated or stale heartbeat changes nothing that is
//! durable; the last event of a call says how the agent stands after it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use pulsegate_wire::{Command, Health};

use crate::{AgentKey, Effects, Event, EventKind, Millis, Slot};

mod answer;
mod census;
mod commands;
mod config;
mod deadlines;
mod decide;
mod digest;
mod durable;
mod frozen;
mod heartbeat;
mod index;
mod operator;
mod record;
mod recovery;
mod registry;
mod replay;
mod resume;
mod stats;
#[cfg(test)]
mod tests;

pub use answer::{AgentInfo, Decision, Handled, Refusal, Stamp, Ticket};
pub use census::Census;
pub use config::Config;
pub use digest::agent_digest;
pub use resume::restart_spread_ms;

use heartbeat::Starts;
use record::{Cold, Flags, Record};
use registry::Registry;

/// The agents of one shard.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub struct Machine {
    config: Config,
    agents: Registry,
    /// The newest time seen: an earlier one counts as this.
    now: Millis,
    starts: Starts,
    /// When this process took the journal over.
    resumed_at: Millis,
    floor_ms: u32,
    fleet_load: f64,
    /// Nothing can be recorded: see [`Machine::set_frozen`].
    frozen: bool,
}

impl Machine {
    /// An empty machine.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let agents = Registry::new(config.classes.iter().count());
        Self {
            config,
            agents,
            now: Millis::default(),
            starts: Starts::default(),
            resumed_at: Millis::default(),
            floor_ms: 0,
            fleet_load: 0.0,
            frozen: false,
        }
    }

    /// Takes a new configuration. Agents keep their class by name (`normal` if it is gone);
    /// intervals and deadlines move with the next heartbeat. Who gets a class of another name is
    /// told of as `Updated`.
    pub fn reconfigure(&mut self, now: Millis, config: Config, effects: &mut Effects) {
        let now = self.advance(now);
        let moved = self.agents.reclassify(&self.config.classes, &config.classes);
        self.config = config;
        for slot in moved {
            self.emit_updated(now, slot, effects);
        }
    }

    /// The fleet-wide floor base, in milliseconds for a class of weight 1 (0: no floor), computed
    /// by the shell over all shards with [`cadence::Floor`](crate::cadence::Floor), and the
    /// fleet's load, 0 to 1.
    pub fn set_floor(&mut self, base_ms: u32, fleet_load: f64) {
        self.floor_ms = base_ms;
        self.fleet_load = if fleet_load.is_nan() { 0.0 } else { fleet_load.clamp(0.0, 1.0) };
    }

    /// The slot of an agent.
    #[must_use]
    pub fn find(&self, key: AgentKey<'_>) -> Option<Slot> {
        self.agents.find(key)
    }

    /// The slots of many agents, in the order of the keys: for batches, under the same lock as
    /// their heartbeats. Among a million agents a lookup waits for memory, and many lookups wait
    /// together: several times faster than one by one (bench `core`).
    pub fn find_all(&self, keys: &[AgentKey<'_>], slots: &mut Vec<Option<Slot>>) {
        self.agents.find_all(keys, slots);
    }

    /// No deadline passes before this instant; `None` when no agent is known.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.agents.wheel.next_deadline()
    }

    /// What a later answer about the agent as it is now must still match.
    #[must_use]
    pub fn stamp(&self, slot: Slot) -> Option<Stamp> {
        self.agents.get(slot).map(|record| stamp_of(slot, record, record.sequence))
    }

    /// Commands that wait for an agent's acknowledgement, the oldest first.
    #[must_use]
    pub fn commands(&self, slot: Slot) -> &[Command] {
        self.agents.cold(slot).map_or(&[], |cold| &cold.commands)
    }

    /// One agent.
    #[must_use]
    pub fn info(&self, now: Millis, slot: Slot) -> Option<AgentInfo<'_>> {
        let record = self.agents.get(slot)?;
        let heard = record.flags.has(Flags::HEARD);
        let cold = record.cold.as_deref();
        Some(AgentInfo {
            slot,
            tenant: record.tenant,
            id: record.name.as_str(),
            state: record.state(),
            health: record.health(),
            status: record.status(),
            class: record.class,
            incarnation: record.incarnation,
            sequence: record.sequence,
            interval_ms: record.guard.stored_ms(),
            in_force_ms: record.in_force_ms,
            last_receipt: heard.then_some(record.receipt.min(self.now.max(now))),
            missed: record.missed_at(self.now.max(now)),
            paused: record.flags.has(Flags::PAUSED),
            witnessed: record.flags.has(Flags::WITNESSED),
            undurable: record.flags.has(Flags::UNDURABLE),
            registration: cold.and_then(|cold| cold.registration.as_ref()),
            recovery: cold.and_then(recovery::shown),
        })
    }

    /// Slots in use, from `from` on, in order.
    pub fn slots(&self, from: Slot) -> impl Iterator<Item = Slot> + '_ {
        self.agents.slots(from)
    }

    /// How many agents there are.
    #[must_use]
    pub fn census(&self) -> &Census {
        self.agents.census()
    }

    /// Bytes in use by the hot state (records, ids, map, wheel) and by cold data.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        self.agents.bytes()
    }

    /// Time as the machine takes it: never back.
    fn advance(&mut self, now: Millis) -> Millis {
        self.now = self.now.max(now);
        self.now
    }

    /// Tells of an agent's registration or class.
    fn emit_updated(&self, now: Millis, slot: Slot, effects: &mut Effects) {
        let registration = self.agents.cold(slot).and_then(Cold::known).map(Box::new);
        let kind = EventKind::Updated { registration };
        self.emit(now, slot, kind, effects);
    }

    fn emit(&self, now: Millis, slot: Slot, kind: EventKind, effects: &mut Effects) {
        if let Some(record) = self.agents.get(slot) {
            effects.events.push(Event {
                at: now,
                slot,
                tenant: record.tenant,
                agent_id: record.name.as_str().into(),
                class: record.class,
                standing: record.durable(),
                undurable: self.frozen,
                kind,
            });
        }
    }
}

const fn stamp_of(slot: Slot, record: &Record, sequence: u64) -> Stamp {
    Stamp { slot, generation: record.generation, incarnation: record.incarnation, sequence }
}

/// Unhealthy or stalled: what recovery is for. Degraded agents do their work.
const fn is_bad(health: Health) -> bool {
    matches!(health, Health::Unhealthy | Health::Stalled)
}
