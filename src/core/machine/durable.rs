//! What is durable of an agent: the row of a snapshot, and what its events add up to.

use alloc::string::ToString;

use pulsegate_wire::event::{ActionStarted, AgentRecord, IncidentRecord};

use super::Machine;
use super::record::{Case, Cold, OpenAction};
use crate::{Millis, Slot};

impl Machine {
    /// What is durable of an agent, under the name of its tenant; `None` when the slot is free.
    /// Instants that the cadence guard waits for are those that still lie ahead of `now`.
    #[must_use]
    pub fn export(&self, now: Millis, slot: Slot, tenant: &str) -> Option<AgentRecord> {
        let record = self.agents.get(slot)?;
        let cold = record.cold.as_deref();
        let now = self.now.max(now);
        let mut standing = record.durable();
        // Soon after a restart it may lie ahead. A row says what was up to now.
        standing.since_ms = standing.since_ms.min(now.0);
        Some(AgentRecord {
            tenant: tenant.into(),
            agent_id: record.name.as_str().into(),
            class: self.config.classes[record.class].name.clone(),
            standing: Some(standing),
            guard: record.guard.memory(now),
            registration: cold.and_then(Cold::known),
            commands: cold.map(|cold| cold.commands.clone()).unwrap_or_default(),
            incidents: cold.map_or(0, |cold| cold.incidents),
            incident: cold.and_then(|cold| cold.incident.as_ref()).map(incident_record),
            action: cold.and_then(|cold| cold.action.as_ref()).map(action_record),
        })
    }
}

fn incident_record(case: &Case) -> IncidentRecord {
    IncidentRecord {
        reason: case.kind as i32,
        number: case.number,
        opened_ms: case.opened.0,
        rungs: case.rungs.into(),
    }
}

fn action_record(open: &OpenAction) -> ActionStarted {
    ActionStarted {
        action: open.id.to_string(),
        executor: open.executor.clone(),
        incident: open.incident,
        wait_ms: open.wait_ms,
        rung: open.rung.into(),
    }
}
