//! What operators do: register, change, pause, and let go.

use pulsegate_wire::{Registration, State};

use super::record::Flags;
use super::{Machine, Refusal};
use crate::cadence::Guard;
use crate::{AgentKey, ClassId, Effects, EventKind, Millis, Slot};

impl Machine {
    /// Registers an agent that was not heard yet (`PUT`), or updates one that is known.
    ///
    /// # Errors
    /// [`Refusal::Full`]; state has not changed.
    pub fn handle_put(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        registration: Registration,
        effects: &mut Effects,
    ) -> Result<Slot, Refusal> {
        if let Some(slot) = self.find(key) {
            self.handle_registration(now, slot, registration, effects);
            return Ok(slot);
        }
        let class = self.class_named(registration.class.as_deref());
        let slot = self.admit(now, key, class, State::New)?;
        if registration != Registration::default() {
            self.agents.with_cold(slot, |cold| cold.registration = Some(registration));
        }
        let now = self.advance(now);
        self.emit(now, slot, EventKind::Registered { state: State::New }, effects);
        Ok(slot)
    }

    /// Takes registration fields of a known agent; says whether anything changed. A class moves
    /// its deadlines at once and its interval with the next heartbeat.
    pub fn handle_registration(
        &mut self,
        now: Millis,
        slot: Slot,
        registration: Registration,
        effects: &mut Effects,
    ) -> bool {
        let Some(record) = self.agents.get(slot) else { return false };
        if record.cold.is_none() && registration == Registration::default() {
            return false;
        }
        let class = registration.class.as_deref().map(|name| self.class_named(Some(name)));
        let changed = self
            .agents
            .with_cold(slot, |cold| cold.registration.get_or_insert_default().merge(registration));
        let now = self.advance(now);
        if let Some(class) = class {
            self.assign_class(slot, class);
        }
        if changed {
            self.emit(now, slot, EventKind::Updated, effects);
        }
        changed
    }

    /// Lets an agent leave gracefully (`DELETE`). An action under way runs to its outcome.
    pub fn handle_stop(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let now = self.advance(now);
        if self.agents.get(slot).is_some_and(|record| record.state() != State::Stopped) {
            self.stop(now, slot, effects);
        }
    }

    /// Pauses or resumes an agent: a paused one is watched, but nothing is done about it. What
    /// recovery would have done meanwhile, it does when the agent is resumed, if it is still ill.
    pub fn handle_pause(&mut self, now: Millis, slot: Slot, paused: bool, effects: &mut Effects) {
        let now = self.advance(now);
        let Some(record) = self.agents.get_mut(slot) else { return };
        if record.flags.has(Flags::PAUSED) == paused {
            return;
        }
        record.flags.set(Flags::PAUSED, paused);
        self.emit(now, slot, EventKind::Paused(paused), effects);
        if !paused {
            self.catch_up(now, slot, effects);
        }
        self.rearm(slot);
    }

    fn class_named(&self, name: Option<&str>) -> ClassId {
        let classes = &self.config.classes;
        name.and_then(|name| classes.find(name)).unwrap_or_else(|| classes.normal())
    }

    /// This class, or `normal` when the configuration has none of this id.
    pub(super) fn known_class(&self, class: ClassId) -> ClassId {
        let is_known = self.config.classes.iter().any(|(id, _)| id == class);
        if is_known { class } else { self.config.classes.normal() }
    }

    /// Moves an agent to another class. One that was told nothing yet starts at its interval.
    pub(super) fn assign_class(&mut self, slot: Slot, class: ClassId) {
        let class = self.known_class(class);
        if self.agents[slot].class == class {
            return;
        }
        self.agents.set_class(slot, class);
        let interval_ms = self.default_interval_ms(&self.config.classes[class]);
        let record = &mut self.agents[slot];
        if record.flags.has(Flags::FRESH) {
            record.guard = Guard::new(interval_ms);
            record.in_force_ms = interval_ms;
            record.effective_ms = interval_ms;
        }
        self.rearm(slot);
    }
}
