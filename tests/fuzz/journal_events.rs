//! Events and rows of agents as a journal of another version, or of a gateway with a bug, may hold
//! them: sound records that say anything at all.

use prost::Message;
use pulsegate_core::lease::{self, Leases};
use pulsegate_core::{
    ClassId, Config, Effects, Machine, Millis, PartitionHasher, Slot, TenantId, agent_digest,
};
use pulsegate_journal::fuzzing::verify;
use pulsegate_wire::{AgentRecord, Event};

/// Most events of one input.
const MOST: usize = 64;
/// How often deadlines are passed after the restart, and how many of them at once.
const ROUNDS: usize = 4;
const BUDGET: usize = 256;

/// A restart from these events, each behind its length.
pub fn journal_events(mut bytes: &[u8]) {
    let mut events = Vec::new();
    while !bytes.is_empty() && events.len() < MOST {
        let Ok(event) = Event::decode_length_delimited(&mut bytes) else { break };
        // Watchers and exports show it.
        serde_json::to_string(&event).expect("every event has a JSON form");
        events.push(event);
    }
    let verdict = verify(&events);
    assert_eq!(verdict.events, events.len() as u64);
    assert!(verdict.findings.len() as u64 <= verdict.count);
    restart(&events);
}

fn restart(events: &[Event]) {
    let config = Config::default();
    let hasher = PartitionHasher::new([1, 2]);
    let mut machine = Machine::new(config.clone());
    let mut leases = Leases::new(1);
    for event in events {
        let class = config.classes.find(&event.class).unwrap_or(config.classes.normal());
        let key = hasher.key(TenantId(0), &event.agent_id);
        machine.apply(event, key, class).expect("there is room");
        leases.apply(TenantId(0), event);
    }
    assert_counted(&machine);
    assert_copied(&machine, &hasher);
    let mut effects = Effects::default();
    let mut now = Millis(1);
    machine.resume(now, &mut effects);
    let mut told = lease::Effects::default();
    leases.resume(now, &mut told);
    for _ in 0..ROUNDS {
        assert_counted(&machine);
        let Some(next) = machine.next_deadline() else { break };
        now = now.max(next);
        machine.handle_deadlines(now, BUDGET, &mut effects);
        leases.handle_deadlines(now, BUDGET, &mut told);
    }
    assert_counted(&machine);
}

/// The census equals a recount.
fn assert_counted(machine: &Machine) {
    assert_eq!(machine.slots(Slot(0)).count(), machine.census().total() as usize);
}

/// A snapshot of it brings the same back.
fn assert_copied(machine: &Machine, hasher: &PartitionHasher) {
    let rows: Vec<AgentRecord> = machine
        .slots(Slot(0))
        .filter_map(|slot| machine.export(Millis(0), slot, "default"))
        .collect();
    let config = Config::default();
    let mut copy = Machine::new(config.clone());
    for row in &rows {
        let class: ClassId = config.classes.find(&row.class).unwrap_or(config.classes.normal());
        let read = AgentRecord::decode(row.encode_to_vec().as_slice()).expect("it can be read");
        let key = hasher.key(TenantId(0), &read.agent_id);
        copy.restore(&read, key, class).expect("there is room");
    }
    let sum = rows.iter().fold(0_u64, |sum, row| sum.wrapping_add(agent_digest(row)));
    assert_eq!(machine.digest(|_| "default"), sum);
    assert_eq!(copy.digest(|_| "default"), sum, "a snapshot is the same state");
}
