//! Taking in what was recorded: rows of a snapshot, then every event since it began.
//!
//! The last writer wins. Each event says how its agent stands after it, so a row that is newer
//! than an event is overwritten with what is older, and in the end with what is newest: rows may
//! be taken one by one while events go on. No rule of the machine is applied, nothing is told, and
//! no deadline is armed before `resume`.

use pulsegate_wire::event::{self, AgentRecord, EventKind as Kind};
use pulsegate_wire::{Command, Health, IncidentKind, Registration, State, Status};

use super::index::Index;
use super::record::{Case, Cold, Flags, OpenAction, Record};
use super::{Machine, Refusal};
use crate::cadence::Guard;
use crate::{ActionId, AgentKey, ClassId, Millis, Slot};

impl Machine {
    /// Takes a row of a snapshot in, for an agent of this key, in the class that its class is
    /// called now. An agent that is there already is replaced. More agents than the configuration
    /// allows are taken: they were admitted.
    ///
    /// # Errors
    /// [`Refusal::Full`] at 16,777,214 agents; state has not changed.
    pub fn restore(
        &mut self,
        row: &AgentRecord,
        key: AgentKey<'_>,
        class: ClassId,
    ) -> Result<Slot, Refusal> {
        let standing = row.standing.unwrap_or_default();
        // The row is at least as new as what it tells.
        let at = self.advance(Millis(standing.since_ms));
        let slot = self.recorded(at, key, class)?;
        self.stand(slot, &standing, (class, &row.class));
        let record = &mut self.agents[slot];
        record.guard = Guard::recorded(standing.interval_ms, row.guard.as_ref(), at);
        record.flags.set(Flags::UNTREATED, false);
        let is_plain = row.registration.is_none()
            && row.commands.is_empty()
            && row.incidents == 0
            && row.incident.is_none()
            && row.action.is_none();
        if !is_plain || self.agents.cold(slot).is_some() {
            let cold = Cold {
                // The table of leases tells it anew.
                smallest_lease_ms: None,
                registration: row.registration.clone(),
                commands: row.commands.clone(),
                incidents: row.incidents,
                incident: row.incident.as_ref().map(case),
                action: row.action.as_ref().and_then(open_action),
            };
            self.agents.with_cold(slot, |place| *place = cold);
        }
        Ok(slot)
    }

    /// Takes an event in, in the order of the journal, for the agent of this key, in the class
    /// that the event's class is called now. An agent that is not there is made; an event without
    /// an agent, such as `gateway_started`, only moves time.
    ///
    /// Among a million agents it waits for memory. [`Machine::find_all`] with the keys of the next
    /// 64 events makes them wait together, and this three times faster.
    ///
    /// # Errors
    /// [`Refusal::Full`] at 16,777,214 agents; state has not changed.
    pub fn apply(
        &mut self,
        event: &event::Event,
        key: AgentKey<'_>,
        class: ClassId,
    ) -> Result<(), Refusal> {
        // Rows may be newer than it; what it tells of happened then.
        let at = Millis(event.at_ms);
        self.advance(at);
        if event.agent_id.is_empty() {
            return Ok(());
        }
        if let Some(Kind::Forgotten(_)) = event.kind {
            if let Some(slot) = self.agents.find_record(key) {
                self.agents.remove(slot);
            }
            return Ok(());
        }
        let Some(standing) = &event.standing else { return Ok(()) };
        let slot = self.recorded(at, key, class)?;
        self.stand(slot, standing, (class, &event.class));
        match &event.kind {
            None => {}
            Some(kind) => self.fold(at, slot, kind),
        }
        Ok(())
    }

    /// The agent of a record, made if it is not there.
    fn recorded(&mut self, at: Millis, key: AgentKey<'_>, class: ClassId) -> Result<Slot, Refusal> {
        if let Some(slot) = self.agents.find_record(key) {
            return Ok(slot);
        }
        if self.agents.len() >= Index::MAX as usize {
            return Err(Refusal::Full);
        }
        let class = self.known_class(class);
        let interval_ms = self.default_interval_ms(&self.config.classes[class]);
        let record = Record::new(at, key, class, State::New, interval_ms);
        Ok(self.agents.insert(record))
    }

    /// Takes what a record says of an agent in numbers. Its class may have another name by now.
    fn stand(&mut self, slot: Slot, standing: &event::Standing, class: (ClassId, &str)) {
        let (class, name) = (self.known_class(class.0), class.1);
        let is_moved = self.config.classes[class].name != name;
        let (state, health) =
            (State::from_number(standing.state), Health::from_number(standing.health));
        let status = if standing.leaving { Status::Stopping } else { Status::Healthy };
        self.agents.set_all(slot, class, state, health);
        let record = &mut self.agents[slot];
        record.set_status(status);
        record.incarnation = standing.incarnation;
        record.receipt = Millis(standing.since_ms);
        record.guard.set_stored(standing.interval_ms);
        record.in_force_ms = standing.in_force_ms;
        record.effective_ms = standing.in_force_ms;
        record.flags.set(Flags::HEARD, standing.heard);
        record.flags.set(Flags::FRESH, !standing.heard);
        record.flags.set(Flags::PAUSED, standing.paused);
        record.flags.set(Flags::MOVED, is_moved);
    }

    /// Takes what an event says beside the numbers; most say nothing, and nothing is allocated.
    fn fold(&mut self, at: Millis, slot: Slot, kind: &Kind) {
        match kind {
            Kind::Registered(event) => {
                self.agents[slot].guard.recall(None, at);
                self.agents[slot].flags.set(Flags::UNTREATED, false);
                let has_cold = self.agents.cold(slot).is_some();
                let known = told(event.registration.as_ref());
                if has_cold || known.is_some() {
                    let cold = Cold { registration: known, ..Cold::default() };
                    self.agents.with_cold(slot, |place| *place = cold);
                }
            }
            Kind::Updated(event) => {
                let known = told(event.registration.as_ref());
                if known.is_some() || self.agents.cold(slot).is_some() {
                    self.agents.with_cold(slot, |cold| cold.registration = known);
                }
            }
            Kind::CadenceMoved(event) => {
                self.agents[slot].guard.recall(event.guard.as_ref(), at);
            }
            Kind::Failed(_) => self.agents[slot].flags.set(Flags::UNTREATED, true),
            Kind::CommandQueued(event) => {
                if let Some(command) = &event.command {
                    self.agents.with_cold(slot, |cold| queue(cold, command));
                }
            }
            Kind::CommandEnded(event) => {
                self.with_known_cold(slot, |cold| cold.commands.retain(|one| one.id != event.id));
            }
            Kind::IncidentOpened(event) => {
                self.agents[slot].flags.set(Flags::UNTREATED, false);
                let opened = event::IncidentRecord {
                    reason: event.reason,
                    number: event.number,
                    opened_ms: at.0,
                    rungs: 0,
                };
                self.agents.with_cold(slot, |cold| {
                    cold.incidents = event.number.saturating_add(1);
                    cold.incident = Some(case(&opened));
                });
            }
            Kind::ActionStarted(event) => {
                self.agents.with_cold(slot, |cold| start(cold, event));
            }
            Kind::ActionEnded(event) => self.with_known_cold(slot, |cold| {
                let ended = ActionId::parse(&event.action);
                cold.action.take_if(|open| ended == Some(open.id));
            }),
            Kind::IncidentClosed(_) => self.with_known_cold(slot, |cold| cold.incident = None),
            // Their standing has said it all; so has that of kinds that are not known here.
            _ => {}
        }
    }

    fn with_known_cold(&mut self, slot: Slot, change: impl FnOnce(&mut Cold)) {
        if self.agents.cold(slot).is_some() {
            self.agents.with_cold(slot, change);
        }
    }
}

/// A registration that tells something.
fn told(registration: Option<&Registration>) -> Option<Registration> {
    registration.filter(|known| **known != Registration::default()).cloned()
}

/// Queues a command behind the others, also when a newer row holds it already: so their order is
/// that of the newest events.
fn queue(cold: &mut Cold, command: &Command) {
    cold.commands.retain(|one| one.id != command.id);
    cold.commands.push(command.clone());
}

/// Takes an action as started. The rung says how far its incident has come, whatever a newer row
/// says.
fn start(cold: &mut Cold, event: &event::ActionStarted) {
    cold.action = open_action(event);
    if let Some(case) = cold.incident.as_mut().filter(|case| case.number == event.incident) {
        case.rungs = u8::try_from(event.rung.saturating_add(1)).unwrap_or(u8::MAX);
    }
}

fn case(recorded: &event::IncidentRecord) -> Case {
    Case {
        kind: IncidentKind::from_number(recorded.reason),
        number: recorded.number,
        opened: Millis(recorded.opened_ms),
        plan: None,
        rungs: u8::try_from(recorded.rungs).unwrap_or(u8::MAX),
        act_at: None,
    }
}

/// An open action; `None` when its id is no id, which no machine ever recorded.
fn open_action(recorded: &event::ActionStarted) -> Option<OpenAction> {
    Some(OpenAction {
        id: ActionId::parse(&recorded.action)?,
        executor: recorded.executor.clone(),
        incident: recorded.incident,
        rung: u8::try_from(recorded.rung).unwrap_or(u8::MAX),
        wait_ms: recorded.wait_ms,
    })
}
