//! What operators do: register, change, pause, and let go.

use alloc::boxed::Box;

use pulsegate_wire::{Registration, State};

use super::record::Flags;
use super::{Machine, Refusal};
use crate::cadence::Guard;
use crate::{AgentKey, ClassId, Effects, EventKind, Millis, Slot};

impl Machine {
    /// Registers an agent that was not heard yet (`PUT`), or updates one that is known.
    ///
    /// # Errors
    /// [`Refusal::Full`] or [`Refusal::ReadOnly`]; state has not changed.
    pub fn handle_put(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        registration: Registration,
        effects: &mut Effects,
    ) -> Result<Slot, Refusal> {
        self.check_writable()?;
        if let Some(slot) = self.find(key) {
            self.handle_registration(now, slot, registration, effects)?;
            return Ok(slot);
        }
        let class = self.class_named(registration.class.as_deref());
        let slot = self.admit(now, key, class, State::New)?;
        let known = (registration != Registration::default()).then_some(registration);
        if known.is_some() {
            self.agents.with_cold(slot, |cold| cold.registration.clone_from(&known));
        }
        let now = self.advance(now);
        let registration = known.map(Box::new);
        self.emit(now, slot, EventKind::Registered { state: State::New, registration }, effects);
        Ok(slot)
    }

    /// Takes registration fields of a known agent; says whether anything changed. A class moves
    /// its deadlines at once and its interval with the next heartbeat.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`] if something would have changed; nothing has.
    pub fn handle_registration(
        &mut self,
        now: Millis,
        slot: Slot,
        registration: Registration,
        effects: &mut Effects,
    ) -> Result<bool, Refusal> {
        let Some(record) = self.agents.get(slot) else { return Ok(false) };
        if record.cold.is_none() && registration == Registration::default() {
            return Ok(false);
        }
        if self.frozen {
            let known = self.agents.cold(slot).and_then(|cold| cold.registration.clone());
            let would_change = known.unwrap_or_default().merge(registration);
            return if would_change { Err(Refusal::ReadOnly) } else { Ok(false) };
        }
        let class = registration.class.as_deref().map(|name| self.class_named(Some(name)));
        let changed = self
            .agents
            .with_cold(slot, |cold| cold.registration.get_or_insert_default().merge(registration));
        let now = self.advance(now);
        let moved = class.is_some_and(|class| self.assign_class(slot, class));
        if changed || moved {
            self.emit_updated(now, slot, effects);
        }
        Ok(changed || moved)
    }

    /// Lets an agent leave gracefully (`DELETE`). An action under way runs to its outcome.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; state has not changed.
    pub fn handle_stop(
        &mut self,
        now: Millis,
        slot: Slot,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_writable()?;
        let now = self.advance(now);
        if self.agents.get(slot).is_some_and(|record| record.state() != State::Stopped) {
            self.stop(now, slot, effects);
        }
        Ok(())
    }

    /// Pauses or resumes an agent: a paused one is watched, but nothing is done about it. What
    /// recovery would have done meanwhile, it does when the agent is resumed, if it is still ill.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; state has not changed.
    pub fn handle_pause(
        &mut self,
        now: Millis,
        slot: Slot,
        paused: bool,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_writable()?;
        let now = self.advance(now);
        let Some(record) = self.agents.get_mut(slot) else { return Ok(()) };
        if record.flags.has(Flags::PAUSED) == paused {
            return Ok(());
        }
        record.flags.set(Flags::PAUSED, paused);
        self.emit(now, slot, EventKind::Paused(paused), effects);
        if !paused {
            self.catch_up(now, slot, effects);
        }
        self.rearm(slot);
        Ok(())
    }

    /// Takes the smallest TTL of the leases that an agent holds (`None`: it holds none), and says
    /// whether the agent should beat now: it keeps an interval longer than a third of that.
    ///
    /// The cap of its cadence follows with its next heartbeat, not before: until then it keeps the
    /// interval that it was told, and a lease shorter than that interval can expire unless its
    /// holder beats now or renews by itself. A longer TTL than before relaxes the cadence by the
    /// rules of the guard. Call it after every change of the holder's leases, under the same lock
    /// as the change, so that two changes cannot overtake each other; and when an agent is
    /// registered that holds leases already. It is no event: it follows from those of leases.
    pub fn set_smallest_lease(&mut self, slot: Slot, smallest_ttl_ms: Option<u32>) -> bool {
        let Some(record) = self.agents.get(slot) else { return false };
        if record.smallest_lease_ms() != smallest_ttl_ms {
            self.agents.with_cold(slot, |cold| cold.smallest_lease_ms = smallest_ttl_ms);
        }
        let Some(record) = self.agents.get(slot) else { return false };
        let class_cap_ms = self.config.classes[record.class].cap_ms();
        let cap_ms = self.config.cadence.cap_ms(class_cap_ms, smallest_ttl_ms);
        smallest_ttl_ms.is_some() && record.effective_ms > cap_ms
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

    /// Moves an agent to another class; says whether it was in another. One that was told nothing
    /// yet starts at its interval.
    pub(super) fn assign_class(&mut self, slot: Slot, class: ClassId) -> bool {
        let class = self.known_class(class);
        if self.agents[slot].class == class {
            return false;
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
        true
    }
}
