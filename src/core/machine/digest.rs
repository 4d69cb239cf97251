//! A number for the whole durable state: equal states, equal numbers, on every machine.

use core::hash::Hasher;

use pulsegate_wire::event::AgentRecord;
use pulsegate_wire::{Registration, State};
use siphasher::sip::SipHasher13;

use super::Machine;
use crate::{Slot, TenantId};

/// Key of the hash: the digest is a check, and no secret. Source: chosen.
const KEY: [u64; 2] = [0, 0];

/// Digest of one agent's durable state. It counts, in this order:
///
/// 1. tenant, name and class, as texts
/// 2. state, health, incarnation, stored interval, interval in force, paused, heard, leaving
/// 3. of a failed or stopped agent, since when
/// 4. whether the cadence guard has moved, and whether that was a relaxing
/// 5. registration: class, labels, endpoint, capabilities, probe
/// 6. commands that wait: id, kind and name of each, in order
/// 7. incidents so far; the one under way: reason, number, since when, rungs started
/// 8. the open action: id, executor, incident, wait and rung
///
/// It does not count since when a new, alive or suspect agent is silent, because heartbeats are
/// not recorded; nor the instants that the guard waits for, which pass by themselves.
#[must_use]
pub fn agent_digest(record: &AgentRecord) -> u64 {
    let mut digest = Digest(SipHasher13::new_with_keys(KEY[0], KEY[1]));
    digest.text(&record.tenant);
    digest.text(&record.agent_id);
    digest.text(&record.class);
    let standing = record.standing.unwrap_or_default();
    digest.number(standing.state as u64);
    digest.number(standing.health as u64);
    digest.number(standing.incarnation);
    digest.number(standing.interval_ms.into());
    digest.number(standing.in_force_ms.into());
    digest.number(standing.paused.into());
    digest.number(standing.heard.into());
    digest.number(standing.leaving.into());
    let is_gone = [State::Failed as i32, State::Stopped as i32].contains(&standing.state);
    digest.number(if is_gone { standing.since_ms } else { 0 });
    digest.number(record.guard.as_ref().map_or(0, |guard| 1 + u64::from(guard.relaxed)));
    digest.registration(record.registration.as_ref());
    digest.number(record.commands.len() as u64);
    for command in &record.commands {
        digest.text(&command.id);
        digest.number(command.kind as u64);
        digest.text(&command.name);
    }
    digest.number(record.incidents.into());
    digest.number(record.incident.is_some().into());
    if let Some(incident) = &record.incident {
        digest.number(incident.reason as u64);
        digest.number(incident.number.into());
        digest.number(incident.opened_ms);
        digest.number(incident.rungs.into());
    }
    digest.number(record.action.is_some().into());
    if let Some(action) = &record.action {
        digest.text(&action.action);
        digest.text(&action.executor);
        digest.number(action.incident.into());
        digest.number(action.wait_ms.into());
        digest.number(action.rung.into());
    }
    digest.0.finish()
}

impl Machine {
    /// Digest of the durable state of all agents: the wrapping sum of [`agent_digest`] over them,
    /// so that the sum over all machines of a gateway does not depend on how agents are spread
    /// over them. `tenant` gives the name of each.
    pub fn digest<'a>(&self, tenant: impl Fn(TenantId) -> &'a str) -> u64 {
        self.slots(Slot(0))
            .filter_map(|slot| self.export(self.now, slot, tenant(self.agents[slot].tenant)))
            .fold(0, |sum, record| sum.wrapping_add(agent_digest(&record)))
    }
}

/// Every part with its length or at a fixed one, so that no two states look alike.
struct Digest(SipHasher13);

impl Digest {
    fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(text.is_some().into());
        self.text(text.unwrap_or_default());
    }

    fn registration(&mut self, registration: Option<&Registration>) {
        self.number(registration.is_some().into());
        let Some(known) = registration else { return };
        self.optional(known.class.as_deref());
        self.number(known.labels.len() as u64);
        for (name, value) in &known.labels {
            self.text(name);
            self.text(value);
        }
        self.optional(known.endpoint.as_deref());
        self.number(known.capabilities.len() as u64);
        for capability in &known.capabilities {
            self.text(capability);
        }
        self.number(known.probe.is_some().into());
        if let Some(probe) = &known.probe {
            self.number(probe.kind as u64);
            self.number(probe.port.into());
            self.text(&probe.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use pulsegate_wire::event::{ActionStarted, GuardMemory, IncidentRecord, Standing};
    use pulsegate_wire::{Command, Probe};

    use super::*;

    fn full() -> AgentRecord {
        AgentRecord {
            tenant: "t".into(),
            agent_id: "a".into(),
            class: "normal".into(),
            standing: Some(Standing {
                state: State::Failed as i32,
                incarnation: 7,
                interval_ms: 30_000,
                in_force_ms: 45_000,
                since_ms: 99,
                heard: true,
                ..Standing::default()
            }),
            guard: Some(GuardMemory { dwell_until_ms: 5, ..GuardMemory::default() }),
            registration: Some(Registration {
                class: Some("normal".into()),
                labels: [("region".into(), "eu".into())].into(),
                endpoint: Some("e".into()),
                capabilities: ["c".into()].into(),
                probe: Some(Probe { kind: 1, port: 80, path: "/".into() }),
            }),
            commands: [Command { id: "1".into(), kind: 4, name: "n".into() }].into(),
            incidents: 2,
            incident: Some(IncidentRecord { reason: 0, number: 1, opened_ms: 50, rungs: 1 }),
            action: Some(ActionStarted {
                action: "00000000000000ff".into(),
                executor: "restart".into(),
                incident: 1,
                wait_ms: 10,
                rung: 0,
            }),
        }
    }

    fn with(change: impl FnOnce(&mut AgentRecord)) -> u64 {
        let mut record = full();
        change(&mut record);
        agent_digest(&record)
    }

    fn standing(change: impl FnOnce(&mut Standing)) -> u64 {
        with(|record| change(record.standing.get_or_insert_default()))
    }

    fn registration(change: impl FnOnce(&mut Registration)) -> u64 {
        with(|record| change(record.registration.get_or_insert_default()))
    }

    /// These numbers stand in journals: they must be the same in every version.
    #[test]
    fn a_digest_is_the_same_in_every_version() {
        assert_eq!(agent_digest(&AgentRecord::default()), 4_343_676_830_154_373_197);
        assert_eq!(agent_digest(&full()), 5_362_540_505_739_629_216);
    }

    #[test]
    fn every_durable_field_counts() {
        let mut digests: Vec<u64> = [
            with(|_| {}),
            with(|record| record.tenant = "u".into()),
            with(|record| record.agent_id = "b".into()),
            with(|record| (record.tenant, record.agent_id) = ("ta".into(), "".into())),
            with(|record| record.class = "critical".into()),
            standing(|standing| standing.state = State::Stopped as i32),
            standing(|standing| standing.health = 1),
            standing(|standing| standing.incarnation = 8),
            standing(|standing| standing.interval_ms += 1),
            standing(|standing| standing.in_force_ms += 1),
            standing(|standing| standing.paused = true),
            standing(|standing| standing.heard = false),
            standing(|standing| standing.leaving = true),
            standing(|standing| standing.since_ms += 1),
            with(|record| record.guard = None),
            with(|record| record.guard.get_or_insert_default().relaxed = true),
            with(|record| record.registration = None),
            registration(|known| known.class = None),
            registration(|known| known.class = Some("".into())),
            registration(|known| known.labels.clear()),
            registration(|known| known.endpoint = None),
            registration(|known| known.capabilities.clear()),
            registration(|known| known.probe = None),
            registration(|known| known.probe.get_or_insert_default().port = 81),
            with(|record| record.commands.clear()),
            with(|record| record.commands[0].name.clear()),
            with(|record| record.incidents = 3),
            with(|record| record.incident = None),
            with(|record| record.incident.get_or_insert_default().rungs = 2),
            with(|record| record.action = None),
            with(|record| record.action.get_or_insert_default().rung = 1),
        ]
        .into();
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }

    #[test]
    fn what_is_not_recorded_does_not_count() {
        assert_eq!(
            with(|record| record.guard.get_or_insert_default().dwell_until_ms = 6),
            with(|_| {})
        );
        for state in [State::New, State::Alive, State::Suspect] {
            let at = |since_ms| {
                standing(|standing| (standing.state, standing.since_ms) = (state as i32, since_ms))
            };
            assert_eq!(at(1), at(2), "{state:?}");
        }
    }
}
