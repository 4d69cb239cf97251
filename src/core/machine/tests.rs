//! The machine on virtual time.

mod frozen;
mod journal;
mod lease;
mod model;
mod promises;
mod random;
mod recovery;
mod restart;
mod scenarios;
mod witness;

use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::{Health, State};

use super::*;
use crate::{
    AgentKey, Beat, ClassId, Effects, EventKind, Millis, PartitionHasher, Slot, TenantId, Verdict,
    VerdictSource,
};

pub(super) const CRITICAL: ClassId = ClassId(0);
pub(super) const NORMAL: ClassId = ClassId(1);

/// A machine with its clock and all that it has told.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: u64,
    pub(super) effects: Effects,
}

pub(super) fn key(id: &str) -> AgentKey<'_> {
    PartitionHasher::new([1, 2]).key(TenantId(0), id)
}

pub(super) fn verdict(health: Health, interval_ms: f64) -> Verdict {
    Verdict { health, score: 50.0, interval_ms, source: VerdictSource { policy: 1, reason: 2 } }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        Self { machine: Machine::new(config), now: 0, effects: Effects::default() }
    }

    pub(super) fn now(&self) -> Millis {
        Millis(self.now)
    }

    /// Moves time, a deadline at a time.
    pub(super) fn advance(&mut self, ms: u64) {
        let target = self.now + ms;
        while let Some(next) = self.machine.next_deadline().filter(|next| next.0 <= target) {
            self.now = self.now.max(next.0);
            while self.machine.handle_deadlines(self.now(), 8, &mut self.effects) {}
        }
        self.now = target;
    }

    /// Moves time in one step, as after a long stall.
    pub(super) fn jump(&mut self, ms: u64) {
        self.now += ms;
        while self.machine.handle_deadlines(self.now(), usize::MAX, &mut self.effects) {}
    }

    pub(super) fn handle(&mut self, id: &str, beat: &Beat) -> Result<Handled, Refusal> {
        let key = key(id);
        let slot = self.machine.find(key);
        self.machine.handle_heartbeat(Millis(self.now), key, slot, beat, &mut self.effects)
    }

    /// A heartbeat that is accepted, judged and decided.
    pub(super) fn beat(&mut self, id: &str, beat: &Beat, verdict: Verdict) -> Decision {
        match self.handle(id, beat) {
            Ok(Handled::Observe(ticket)) => {
                self.machine.decide(Millis(self.now), &ticket, &verdict, &mut self.effects)
            }
            other => panic!("{beat:?} was {other:?}"),
        }
    }

    /// The next heartbeat of an agent, judged so, with the interval of its class.
    pub(super) fn live(&mut self, id: &str, health: Health) -> Decision {
        let seen = self.slot(id).map_or(0, |slot| self.info(slot).sequence);
        let beat = Beat { directive_seen: seen, ..Beat::default() };
        self.beat(id, &beat, verdict(health, 30_000.0))
    }

    pub(super) fn slot(&self, id: &str) -> Option<Slot> {
        self.machine.find(key(id))
    }

    pub(super) fn known(&self, id: &str) -> Slot {
        self.slot(id).expect("the agent is known")
    }

    pub(super) fn info(&self, slot: Slot) -> AgentInfo<'_> {
        self.machine.info(Millis(self.now), slot).expect("the slot is in use")
    }

    pub(super) fn state(&self, id: &str) -> State {
        self.info(self.known(id)).state
    }

    /// Takes what was told since the last time.
    pub(super) fn events(&mut self) -> Vec<EventKind> {
        self.effects.events.drain(..).map(|event| event.kind).collect()
    }

    /// The words of what was told, without particulars.
    pub(super) fn told(&mut self) -> Vec<String> {
        let word = |kind: EventKind| {
            let text = alloc::format!("{kind:?}");
            text.split([' ', '(']).next().unwrap_or_default().into()
        };
        self.events().into_iter().map(word).collect()
    }
}
