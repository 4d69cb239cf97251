//! A journal in memory: what a machine told, as bytes, and machines made of it.

use prost::Message;
use pulsegate_wire::State;
use pulsegate_wire::event::{self, AgentRecord};

use super::*;
use crate::{Event, TenantId};

/// Tenant of every agent of these tests.
pub(super) const TENANT: &str = "default";

/// Rows of a snapshot, and the events since it began.
#[derive(Clone, Default)]
pub(super) struct Journal {
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) events: Vec<Vec<u8>>,
}

impl Journal {
    /// Records events, as a machine with these classes told them.
    pub(super) fn record(&mut self, config: &Config, events: &[Event]) {
        let recorded = events.iter().map(|event| {
            let class = &config.classes[event.class].name;
            event.to_wire(TENANT, class).encode_to_vec()
        });
        self.events.extend(recorded);
    }

    /// Takes the rows of these agents.
    pub(super) fn take_rows(&mut self, now: Millis, machine: &Machine, slots: &[Slot]) {
        let rows = slots.iter().filter_map(|&slot| machine.export(now, slot, TENANT));
        self.rows.extend(rows.map(|row| row.encode_to_vec()));
    }

    /// The machine that it adds up to, before it resumes.
    pub(super) fn fold(&self, config: &Config) -> Machine {
        let mut machine = Machine::new(config.clone());
        for row in &self.rows {
            let row = AgentRecord::decode(&row[..]).expect("a row decodes");
            let class = config.classes.find(&row.class).unwrap_or(config.classes.normal());
            machine.restore(&row, key(&row.agent_id), class).expect("there is room");
        }
        for event in &self.events {
            apply(&mut machine, event);
        }
        machine
    }

    /// A machine that has gone on from it at `now`, with what it told at once.
    pub(super) fn restart(&self, config: &Config, now: Millis) -> (Machine, Effects) {
        let (mut machine, mut effects) = (self.fold(config), Effects::default());
        assert_eq!(machine.next_deadline(), None, "no deadline passes before the restart is done");
        machine.resume(now, &mut effects);
        (machine, effects)
    }
}

/// Applies one recorded event.
pub(super) fn apply(machine: &mut Machine, event: &[u8]) {
    let event = event::Event::decode(event).expect("an event decodes");
    let classes = &machine.config.classes;
    let class = classes.find(&event.class).unwrap_or(classes.normal());
    machine.apply(&event, key(&event.agent_id), class).expect("there is room");
}

/// All agents by name, without what is not recorded: when those that may beat were heard last.
pub(super) fn rows(now: Millis, machine: &Machine) -> Vec<AgentRecord> {
    let mut rows: Vec<_> =
        machine.slots(Slot(0)).filter_map(|slot| machine.export(now, slot, TENANT)).collect();
    for standing in rows.iter_mut().filter_map(|row| row.standing.as_mut()) {
        if ![State::Failed as i32, State::Stopped as i32].contains(&standing.state) {
            standing.since_ms = 0;
        }
    }
    rows.sort_by(|one, other| one.agent_id.cmp(&other.agent_id));
    rows
}

/// Digest of all agents.
pub(super) fn digest(machine: &Machine) -> u64 {
    machine.digest(|tenant| {
        assert_eq!(tenant, TenantId(0));
        TENANT
    })
}
