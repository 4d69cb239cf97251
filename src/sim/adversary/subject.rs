//! Whom the adversary plays against: the guard itself, or a whole machine around it.

use pulsegate_core::cadence::{Config, Guard, early};
use pulsegate_core::{
    AgentKey, Beat, Class, Classes, Effects, Event, Handled, Machine, Millis, PartitionHasher,
    Slot, TenantId, Verdict, VerdictSource,
};
use pulsegate_wire::Health;
use pulsegate_wire::event::{self, AgentRecord};

/// Tenant of the one agent.
const TENANT: &str = "default";

/// What an agent is told, and how it came about. All in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Stored interval.
    pub stored_ms: u32,
    /// With the fleet's floor, before jitter.
    pub effective_ms: u32,
    /// As it is sent.
    pub sent_ms: u32,
}

/// What an interval is kept within. Both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// The fleet's floor.
    pub floor_ms: u32,
    /// The cap of class and leases.
    pub cap_ms: u32,
}

/// Whom the adversary plays against.
pub trait Subject {
    /// Its name in reports.
    const NAME: &'static str;

    /// One that starts at an interval.
    fn begin(config: &Config, now: Millis, start_ms: u32) -> Self;

    /// A heartbeat, the hint for it and what bounds it.
    fn step(&mut self, now: Millis, hint_ms: f64, within: Within, config: &Config) -> Reading;

    /// The gateway ends and starts again, with what it had made durable.
    fn restart(&mut self, _now: Millis, _config: &Config) {}
}

/// The guard with what follows it: floor and jitter.
#[derive(Debug)]
pub struct Bare {
    guard: Guard,
    sequence: u64,
}

impl Subject for Bare {
    const NAME: &'static str = "guard";

    fn begin(_config: &Config, _now: Millis, start_ms: u32) -> Self {
        Self { guard: Guard::new(start_ms), sequence: 0 }
    }

    fn step(&mut self, now: Millis, hint_ms: f64, within: Within, config: &Config) -> Reading {
        let stored_ms = self.guard.step(now, hint_ms, within.cap_ms, config).stored_ms;
        self.sequence += 1;
        told(stored_ms, within, config, self.sequence)
    }
}

/// What becomes of a stored interval. Source: DESIGN §5, steps 7 and 8.
pub(super) fn told(stored_ms: u32, within: Within, config: &Config, sequence: u64) -> Reading {
    let effective_ms = stored_ms.max(within.floor_ms).min(within.cap_ms);
    Reading { stored_ms, effective_ms, sent_ms: early(effective_ms, config.min_ms, 1, sequence, 1) }
}

/// A machine with one agent. Caps come as leases, the floor from outside, and a restart is another
/// machine that begins with what was recorded: by turns a row of a snapshot taken just before, and
/// the events since the row before that.
#[derive(Debug)]
pub struct Whole {
    machine: Machine,
    config: pulsegate_core::Config,
    effects: Effects,
    sequence: u64,
    capped_ms: u32,
    row: Option<AgentRecord>,
    events: Vec<event::Event>,
    /// How many of them were durable before the last heartbeat was answered, and whether those
    /// after them need not have been when it was.
    committed: usize,
    is_hasty: bool,
    restarts: u32,
}

impl Whole {
    fn key() -> AgentKey<'static> {
        PartitionHasher::new([1, 2]).key(TenantId(0), "agent")
    }

    /// The gateway is killed right after its last answer: what did not have to be durable before
    /// that is lost.
    pub fn crash(&mut self, now: Millis, config: &Config) {
        if self.is_hasty {
            self.events.truncate(self.committed);
        }
        self.begin_again(now, config);
    }

    fn begin_again(&mut self, now: Millis, config: &Config) {
        let mut machine = Machine::new(self.config.clone());
        let class = self.config.classes.normal();
        // Refused is only what there is no room for.
        if let Some(row) = &self.row {
            machine.restore(row, Self::key(), class).unwrap_or(Slot(0));
        }
        for event in &self.events {
            machine.apply(event, Self::key(), class).unwrap_or_default();
        }
        machine.resume(now, &mut self.effects);
        self.machine = machine;
        self.record();
        if let Some(slot) = self.machine.find(Self::key()) {
            self.tell_lease(slot, config);
        }
    }

    /// Keeps what was told, as a journal would.
    fn record(&mut self) {
        let told = self.effects.events.drain(..);
        self.events.extend(told.map(|event| event.to_wire(TENANT, "normal")));
        self.effects.incidents.clear();
        self.effects.actions.clear();
        self.effects.suspicions.clear();
    }

    fn tell_lease(&mut self, slot: Slot, config: &Config) {
        let is_capped = self.capped_ms < config.max_ms;
        let ttl_ms = is_capped.then(|| self.capped_ms.saturating_mul(3));
        self.machine.set_smallest_lease(slot, ttl_ms);
    }
}

impl Subject for Whole {
    const NAME: &'static str = "machine";

    fn begin(cadence: &Config, now: Millis, start_ms: u32) -> Self {
        let class = Class {
            name: "normal".into(),
            interval_ms: start_ms,
            detect_within_ms: cadence.max_ms.saturating_add(20_000),
            suspect_grace_ms: 20_000,
            fail_grace_ms: 61_000,
            act_grace_ms: 61_000,
            floor_weight: 1,
        };
        let classes = Classes::new(vec![class]).unwrap_or_default();
        let cadence = cadence.clone();
        let config = pulsegate_core::Config { classes, cadence, ..Default::default() };
        let mut machine = Machine::new(config.clone());
        let mut effects = Effects::default();
        machine.resume(now, &mut effects);
        Self {
            machine,
            capped_ms: config.cadence.max_ms,
            config,
            effects,
            sequence: 0,
            row: None,
            events: Vec::new(),
            committed: 0,
            is_hasty: false,
            restarts: 0,
        }
    }

    fn step(&mut self, now: Millis, hint_ms: f64, within: Within, config: &Config) -> Reading {
        while self.machine.handle_deadlines(now, usize::MAX, &mut self.effects) {}
        self.capped_ms = within.cap_ms;
        self.machine.set_floor(within.floor_ms, 0.0);
        self.sequence += 1;
        let beat = Beat { incarnation: 1, sequence: self.sequence, ..Beat::default() };
        let slot = self.machine.find(Self::key());
        let handled =
            self.machine.handle_heartbeat(now, Self::key(), slot, &beat, &mut self.effects);
        let Ok(Handled::Observe(ticket)) = handled else { return Reading::default() };
        self.tell_lease(ticket.stamp.slot, config);
        let source = VerdictSource::default();
        let verdict =
            Verdict { health: Health::Healthy, score: 50.0, interval_ms: hint_ms, source };
        let decision = self.machine.decide(now, &ticket, &verdict, &mut self.effects);
        self.committed = self.events.len();
        self.is_hasty = !self.effects.events.iter().any(Event::must_be_durable);
        self.record();
        Reading {
            stored_ms: decision.trace.stored_ms,
            effective_ms: decision.trace.effective_ms,
            sent_ms: decision.next_interval_ms,
        }
    }

    fn restart(&mut self, now: Millis, config: &Config) {
        self.record();
        self.restarts += 1;
        if self.restarts % 2 == 1 {
            let slot = self.machine.find(Self::key());
            self.row = slot.and_then(|slot| self.machine.export(now, slot, TENANT));
            self.events.clear();
        }
        self.begin_again(now, config);
    }
}
