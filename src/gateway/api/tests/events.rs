//! One event of each kind, with every field set.

use std::collections::BTreeSet;

use prost::Message as _;
use pulsegate_wire::event::*;
use pulsegate_wire::view::WatchPage;
use pulsegate_wire::{
    AckOutcome, ActionOutcome, Command, CommandKind, Event, EventKind, Health, IncidentKind, State,
};

use super::registration;

pub(super) fn page() -> WatchPage {
    WatchPage { events: vec![event(EventKind::Heard(Heard {}))], next: "1-1".to_owned() }
}

pub(super) fn one_of_each() -> Vec<Event> {
    of_agents().into_iter().chain(of_recovery()).chain(of_the_gateway()).map(event).collect()
}

fn event(kind: EventKind) -> Event {
    Event {
        epoch: 1,
        seq: 1,
        at_ms: 1,
        wall_ms: 1,
        tenant: "default".to_owned(),
        agent_id: "a".to_owned(),
        class: "normal".to_owned(),
        standing: Some(Standing {
            state: State::Alive as i32,
            health: Health::Healthy as i32,
            incarnation: 1,
            interval_ms: 1,
            in_force_ms: 1,
            paused: true,
            since_ms: 1,
            heard: true,
            leaving: true,
        }),
        kind: Some(kind),
    }
}

fn of_agents() -> Vec<EventKind> {
    let (state, health) = (State::Suspect as i32, Health::Stalled as i32);
    let silent =
        Silent { last_receipt_ms: 1, in_force_ms: 1, grace_ms: 1, missed: 1, undurable: true };
    let guard = GuardMemory { dwell_until_ms: 1, step_at_ms: 1, turn_at_ms: 1, relaxed: true };
    let command =
        Command { id: "c".to_owned(), kind: CommandKind::Custom as i32, name: "n".to_owned() };
    vec![
        EventKind::Registered(Registered { registration: Some(registration()) }),
        EventKind::Heard(Heard {}),
        EventKind::Updated(Updated { registration: Some(registration()) }),
        EventKind::Restarted(Restarted {}),
        EventKind::Suspected(silent.clone()),
        EventKind::Failed(silent),
        EventKind::Recovered(Recovered { from: state, silent_ms: 1, missed: 1 }),
        EventKind::Stopped(Stopped {}),
        EventKind::Forgotten(Forgotten { from: state }),
        EventKind::HealthChanged(HealthChanged { from: health, to: health }),
        EventKind::CadenceMoved(CadenceMoved {
            from_ms: 1,
            to_ms: 1,
            turned: true,
            guard: Some(guard),
        }),
        EventKind::InForce(InForce { from_ms: 1 }),
        EventKind::Paused(Paused {}),
        EventKind::CommandQueued(CommandQueued { command: Some(command) }),
        EventKind::CommandEnded(CommandEnded {
            id: "c".to_owned(),
            outcome: Some(AckOutcome::Done as i32),
        }),
        EventKind::Leaving(Leaving {}),
    ]
}

fn of_recovery() -> Vec<EventKind> {
    let (action, executor) = ("1f".to_owned(), "e".to_owned());
    let outcome = ActionOutcome::TimedOut as i32;
    vec![
        EventKind::IncidentOpened(IncidentOpened {
            reason: IncidentKind::Silence as i32,
            number: 1,
        }),
        EventKind::ActionStarted(ActionStarted {
            action: action.clone(),
            executor: executor.clone(),
            incident: 1,
            wait_ms: 1,
            rung: 1,
        }),
        EventKind::ActionEnded(ActionEnded { action, executor, outcome }),
        EventKind::IncidentClosed(IncidentClosed { recovered: true, actions: 1, lasted_ms: 1 }),
    ]
}

fn of_the_gateway() -> Vec<EventKind> {
    let text = || "x".to_owned();
    let (name, holder, token) = (text(), text(), 1);
    vec![
        EventKind::GatewayStarted(GatewayStarted { version: text(), agents: 1, down_ms: 1 }),
        EventKind::GatewayEnded(GatewayEnded { agents: 1, digest: text() }),
        EventKind::PoliciesChanged(PoliciesChanged { policies: vec![text()] }),
        EventKind::PolicyTripped(PolicyTripped {
            policy: text(),
            open: true,
            revision: text(),
            returned_to: text(),
        }),
        EventKind::ReadOnly(ReadOnly { reason: text(), lasted_ms: 1 }),
        EventKind::FloorMoved(FloorMoved { base_ms: 1 }),
        EventKind::TimeHeld(TimeHeld { lasted_ms: 1 }),
        EventKind::LeaseGranted(LeaseGranted {
            name: name.clone(),
            holder: holder.clone(),
            token,
            ttl_ms: 1,
        }),
        EventKind::LeaseEnded(LeaseEnded { name, holder, token, reason: text() }),
        EventKind::Reconfigured(Reconfigured { kept: vec![text()] }),
        EventKind::Truncated(Truncated { from_seq: 1, to_seq: 1, reason: text() }),
    ]
}

/// The words of all kinds that there are: an empty message with the tag of each.
fn all_kinds() -> BTreeSet<&'static str> {
    const MESSAGE: u32 = 2;
    let kinds = (9..2_048).filter_map(|tag: u32| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(u64::from(tag << 3 | MESSAGE), &mut bytes);
        bytes.push(0);
        Event::decode(&bytes[..]).ok()?.kind.map(|kind| kind.as_str())
    });
    kinds.collect()
}

#[test]
fn every_kind_of_event_is_sampled() {
    let events = one_of_each();
    let sampled: BTreeSet<&str> =
        events.iter().filter_map(|event| event.kind.as_ref()).map(EventKind::as_str).collect();
    assert_eq!(sampled, all_kinds());
    assert_eq!(sampled.len(), events.len());
}
