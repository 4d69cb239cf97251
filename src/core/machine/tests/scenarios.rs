//! Every edge, every refusal, one scenario each.

use pulsegate_wire::{
    AckOutcome, Command, CommandKind, Health, Outcome, Registration, State, Status, limits,
};

use super::*;
use crate::{Class, Classes, Signals};

fn first() -> Beat {
    Beat { incarnation: 5, sequence: 1, ..Beat::default() }
}

#[test]
fn silence_passes_every_edge_at_its_time() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.events();
    world.advance(49_999);
    assert_eq!(world.state("a"), State::Alive);
    world.advance(11);
    assert_eq!(world.state("a"), State::Suspect);
    world.advance(40_979);
    assert_eq!(world.state("a"), State::Suspect);
    world.advance(21);
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(
        world.events()[..2],
        [
            EventKind::Suspected {
                last_receipt: Millis(0),
                in_force_ms: 30_000,
                grace_ms: 20_000,
                missed: 1
            },
            EventKind::Failed {
                last_receipt: Millis(0),
                in_force_ms: 30_000,
                grace_ms: 61_000,
                missed: 2
            },
        ]
    );
    world.advance(86_400_000);
    assert_eq!(world.slot("a"), None);
    assert_eq!(world.machine.census().total(), 0);
    assert_eq!(world.machine.next_deadline(), None);
}

#[test]
fn a_late_timer_passes_every_edge_in_order() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.jump(100_000_000);
    let expected =
        ["Registered", "Suspected", "Failed", "IncidentOpened", "IncidentClosed", "Forgotten"];
    assert_eq!(world.told(), expected);
}

#[test]
fn a_budget_bounds_one_call_and_says_whether_more_remains() {
    let mut world = World::new();
    for id in ["a", "b", "c"] {
        world.live(id, Health::Healthy);
    }
    let now = Millis(60_000);
    assert!(world.machine.handle_deadlines(now, 1, &mut world.effects));
    assert_eq!(world.machine.census().in_state(State::Suspect), 1);
    assert!(!world.machine.handle_deadlines(now, 2, &mut world.effects));
    assert_eq!(world.machine.census().in_state(State::Suspect), 3);
}

#[test]
fn a_return_counts_only_what_was_not_counted() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.advance(60_000);
    assert_eq!(world.info(world.known("a")).missed, 1);
    world.advance(5_000);
    world.events();
    world.live("a", Health::Healthy);
    let from = State::Suspect;
    assert_eq!(world.events(), [EventKind::Recovered { from, silent_ms: 65_000, missed: 1 }]);
    world.advance(121_001);
    world.events();
    world.live("a", Health::Healthy);
    let from = State::Failed;
    assert_eq!(world.events()[0], EventKind::Recovered { from, silent_ms: 121_001, missed: 1 });
    assert_eq!(world.info(world.known("a")).missed, 0);
}

#[test]
fn a_registered_agent_is_new_until_heard() {
    let mut world = World::new();
    let registration = Registration { class: Some("critical".into()), ..Registration::default() };
    let put = world.machine.handle_put(Millis(0), key("a"), registration, &mut world.effects);
    let info = world.info(put.expect("there is room"));
    assert_eq!((info.state, info.class, info.last_receipt), (State::New, CRITICAL, None));
    let decision = world.beat("a", &first(), verdict(Health::Healthy, 10_000.0));
    assert_eq!(decision.class, CRITICAL);
    assert_eq!(world.state("a"), State::Alive);
    assert_eq!(world.told(), ["Registered", "Heard"]);
}

#[test]
fn a_registered_agent_that_never_comes_fails_after_its_startup_grace() {
    let mut world = World::new();
    let registration = Registration::default();
    let _ = world.machine.handle_put(Millis(0), key("a"), registration, &mut world.effects);
    world.advance(119_999);
    assert_eq!(world.state("a"), State::New);
    world.advance(1);
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.told(), ["Registered", "Failed", "IncidentOpened"]);
    let info = world.info(world.known("a"));
    assert_eq!((info.missed, info.last_receipt), (0, None));
    world.live("a", Health::Healthy);
    assert_eq!(world.told(), ["Recovered", "Restarted"]);
}

#[test]
fn silence_after_stopping_ends_in_stopped() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    let leaving = Beat { status: Status::Stopping, ..Beat::default() };
    world.beat("a", &leaving, verdict(Health::Healthy, 30_000.0));
    world.events();
    world.advance(200_000);
    assert_eq!(world.state("a"), State::Stopped);
    assert_eq!(world.told(), ["Stopped"]);
    world.advance(3_600_000);
    assert_eq!(world.told(), ["Forgotten"]);
}

#[test]
fn an_agent_that_left_comes_back_only_as_a_newer_incarnation() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    let slot = world.known("a");
    world.machine.handle_stop(Millis(0), slot, &mut world.effects).expect("it can be recorded");
    world.events();
    let again = Beat { sequence: 2, ..first() };
    assert_eq!(world.handle("a", &again), Err(Refusal::Stopped));
    assert_eq!(world.handle("a", &Beat::default()), Err(Refusal::Stopped));
    assert!(world.events().is_empty());
    let newer = Beat { incarnation: 6, ..first() };
    world.beat("a", &newer, verdict(Health::Healthy, 30_000.0));
    assert_eq!(world.state("a"), State::Alive);
    assert_eq!(world.events(), [EventKind::Restarted { incarnation: 6 }]);
}

#[test]
fn an_older_incarnation_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    world.now = 40_000;
    let older = Beat { incarnation: 4, sequence: 9, ..Beat::default() };
    assert_eq!(world.handle("a", &older), Err(Refusal::IncarnationStale { known: 5 }));
    assert_eq!(world.info(world.known("a")).last_receipt, Some(Millis(0)));
}

#[test]
fn a_full_machine_refuses_newcomers_and_serves_the_known() {
    let mut world = World::with(Config { max_agents: 1, ..Config::default() });
    world.live("a", Health::Healthy);
    assert_eq!(world.handle("b", &first()), Err(Refusal::Full));
    let registration = Registration::default();
    let put = world.machine.handle_put(Millis(0), key("b"), registration, &mut world.effects);
    assert_eq!(put, Err(Refusal::Full));
    world.live("a", Health::Healthy);
    assert_eq!(world.machine.census().total(), 1);
}

#[test]
fn a_duplicate_gets_the_same_directive_and_moves_no_deadline() {
    let mut world = World::new();
    let sent = world.beat("a", &first(), verdict(Health::Healthy, 12_345.0));
    world.advance(20_000);
    let again = match world.handle("a", &first()) {
        Ok(Handled::Repeat(again)) => again,
        other => panic!("{other:?}"),
    };
    assert_eq!(again.outcome, Outcome::Duplicate);
    assert_eq!(
        (again.number, again.next_interval_ms, again.suspect_after_ms, again.fail_after_ms),
        (sent.number, sent.next_interval_ms, sent.suspect_after_ms, sent.fail_after_ms)
    );
    assert_eq!((again.source, again.trace.bound), (sent.source, sent.trace.bound));
    assert_eq!(world.info(world.known("a")).last_receipt, Some(Millis(0)));
}

#[test]
fn an_older_sequence_gets_the_current_directive() {
    let mut world = World::new();
    world.beat("a", &Beat { sequence: 7, ..first() }, verdict(Health::Healthy, 30_000.0));
    match world.handle("a", &Beat { sequence: 3, ..first() }) {
        Ok(Handled::Repeat(stale)) => {
            assert_eq!((stale.outcome, stale.number), (Outcome::Stale, 7));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_verdict_is_ignored() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    let Ok(Handled::Observe(late)) = world.handle("a", &Beat { sequence: 2, ..first() }) else {
        panic!("a heartbeat in order is observed")
    };
    let newest =
        world.beat("a", &Beat { sequence: 3, ..first() }, verdict(Health::Healthy, 30_000.0));
    let ill = verdict(Health::Unhealthy, 1_000.0);
    let answer = world.machine.decide(Millis(0), &late, &ill, &mut world.effects);
    assert_eq!((answer.number, answer.health), (newest.number, Health::Healthy));
}

#[test]
fn a_verdict_does_not_reach_the_next_agent_of_a_slot() {
    let mut world = World::new();
    let Ok(Handled::Observe(late)) = world.handle("a", &first()) else { panic!("observed") };
    world.jump(200_000_000);
    world.beat("b", &first(), verdict(Health::Healthy, 30_000.0));
    assert_eq!(world.known("b"), late.stamp.slot, "the slot is reused");
    world.events();
    let ill = verdict(Health::Stalled, 1_000.0);
    let now = Millis(world.now);
    let answer = world.machine.decide(now, &late, &ill, &mut world.effects);
    assert_eq!((answer.number, answer.outcome), (0, Outcome::Stale));
    assert!(world.events().is_empty());
    assert_eq!(world.info(world.known("b")).health, Health::Healthy);
}

#[test]
fn the_longest_unechoed_interval_stays_in_force() {
    let mut world = World::new();
    let beat = |sequence, directive_seen| Beat { sequence, directive_seen, ..first() };
    world.beat("a", &beat(1, 0), verdict(Health::Healthy, 30_000.0));
    let tight = world.beat("a", &beat(2, 0), verdict(Health::Unhealthy, 5_000.0));
    assert_eq!(tight.trace.effective_ms, 5_000);
    assert_eq!(tight.suspect_after_ms, 50_000, "the agent may still keep 30 s");
    let echoed = world.beat("a", &beat(3, 2), verdict(Health::Unhealthy, 5_000.0));
    assert_eq!(echoed.suspect_after_ms, 25_000);
    let old = world.beat("a", &beat(4, 2), verdict(Health::Unhealthy, 5_000.0));
    assert_eq!(old.suspect_after_ms, 25_000, "an older echo changes nothing");
}

#[test]
fn a_new_incarnation_is_due_by_what_it_is_told() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Unhealthy, 1_000.0));
    world.beat(
        "a",
        &Beat { sequence: 2, directive_seen: 1, ..first() },
        verdict(Health::Unhealthy, 1_000.0),
    );
    assert_eq!(world.info(world.known("a")).in_force_ms, 1_000);
    let restarted = Beat { incarnation: 6, ..first() };
    let Ok(Handled::Observe(ticket)) = world.handle("a", &restarted) else { panic!("observed") };
    assert!(ticket.observation.signals.has(Signals::FIRST));
    let answer = world.machine.decide(
        Millis(0),
        &ticket,
        &verdict(Health::Healthy, 1_000.0),
        &mut world.effects,
    );
    assert_eq!(answer.suspect_after_ms, 50_000, "it may not have been told yet");
    assert_eq!(answer.number, 1);
}

#[test]
fn a_limited_heartbeat_renews_the_deadline_and_nothing_else() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    let slot = world.known("a");
    world.advance(45_000);
    let second = Beat { sequence: 2, directive_seen: 1, ..first() };
    let now = world.now();
    let due = world.machine.handle_limited(now, slot, &second, &mut world.effects);
    assert_eq!(due, 30_000);
    world.advance(45_000);
    assert_eq!(world.state("a"), State::Alive);
    world.beat("a", &second, verdict(Health::Healthy, 30_000.0));
    world.advance(45_000);
    let now = world.now();
    world.machine.handle_limited(now, slot, &second, &mut world.effects);
    world.advance(5_010);
    assert_eq!(world.state("a"), State::Suspect, "a duplicate is no sign of life");
    let third = Beat { sequence: 3, ..first() };
    let now = world.now();
    world.machine.handle_limited(now, slot, &third, &mut world.effects);
    assert_eq!(world.state("a"), State::Alive);
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.now = 100_000;
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    world.now = 50_000;
    world.beat("a", &Beat { sequence: 2, ..first() }, verdict(Health::Healthy, 30_000.0));
    assert_eq!(world.info(world.known("a")).last_receipt, Some(Millis(100_000)));
}

#[test]
fn the_observation_is_what_was_reported() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    world.advance(61_000);
    let beat = Beat {
        sequence: 2,
        directive_seen: 1,
        queue_depth: Some(7),
        cpu_percent: Some(f64::NAN),
        latency_ms: Some(12.5),
        ..first()
    };
    let Ok(Handled::Observe(ticket)) = world.handle("a", &beat) else { panic!("observed") };
    let seen = ticket.observation;
    let signals = Signals::DIRECTIVE_SEEN
        .with(Signals::WAS_SUSPECT)
        .with(Signals::HAS_QUEUE_DEPTH)
        .with(Signals::HAS_LATENCY_MS);
    assert_eq!(seen.signals, signals, "a number that is none is not reported");
    assert_eq!((seen.missed, seen.queue_depth, seen.latency_ms), (2, 7.0, 12.5));
    assert!((31_000..=34_000).contains(&seen.lateness_ms), "{}", seen.lateness_ms);
    assert_eq!(seen.cpu_percent, 0.0);
}

#[test]
fn a_class_named_in_the_first_heartbeat_gives_the_first_interval() {
    let mut world = World::new();
    let beat = Beat { class: Some(CRITICAL), ..first() };
    let decision = world.beat("a", &beat, verdict(Health::Healthy, 10_000.0));
    assert_eq!((decision.class, decision.trace.effective_ms), (CRITICAL, 10_000));
    assert_eq!(world.machine.census().beating(CRITICAL), 1);
}

#[test]
fn a_class_that_is_not_configured_counts_as_normal() {
    let mut world = World::new();
    let beat = Beat { class: Some(ClassId(99)), ..first() };
    assert_eq!(world.beat("a", &beat, verdict(Health::Healthy, 30_000.0)).class, NORMAL);
    let second = Beat { sequence: 2, ..beat };
    assert_eq!(world.beat("a", &second, verdict(Health::Healthy, 30_000.0)).class, NORMAL);
}

#[test]
fn a_registration_moves_class_and_deadline() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    let slot = world.known("a");
    world.events();
    let background =
        || Registration { class: Some("background".into()), ..Registration::default() };
    let now = world.now();
    let mut tell =
        || world.machine.handle_registration(now, slot, background(), &mut world.effects);
    assert_eq!(tell(), Ok(true));
    assert_eq!(tell(), Ok(false));
    assert_eq!(world.told(), ["Updated"]);
    world.advance(100_000);
    assert_eq!(world.state("a"), State::Suspect, "its fail grace is 180 s now");
    let unknown = Registration { class: Some("purple".into()), ..Registration::default() };
    let now = world.now();
    world
        .machine
        .handle_registration(now, slot, unknown, &mut world.effects)
        .expect("it can be recorded");
    assert_eq!(world.info(slot).class, NORMAL);
}

#[test]
fn reconfiguring_keeps_classes_by_name() {
    let mut world = World::new();
    let beat = Beat { class: Some(CRITICAL), ..first() };
    world.beat("a", &beat, verdict(Health::Healthy, 10_000.0));
    world.beat("b", &Beat { class: Some(ClassId(2)), ..first() }, verdict(Health::Healthy, 1e5));
    let old = Classes::default();
    let classes: Vec<Class> = alloc::vec![old[NORMAL].clone(), old[CRITICAL].clone()];
    let classes = Classes::new(classes).expect("normal is among them");
    let config = Config { classes, ..Config::default() };
    world.events();
    world.machine.reconfigure(Millis(0), config, &mut world.effects);
    assert_eq!(world.told(), ["Updated"], "only b is in a class of another name");
    assert_eq!(world.info(world.known("a")).class, ClassId(1));
    assert_eq!(world.info(world.known("b")).class, ClassId(0), "its class is gone");
    assert_eq!(world.machine.census().beating(ClassId(1)), 1);
    world.live("a", Health::Healthy);
}

#[test]
fn a_floor_slows_down_within_the_cap_and_holds_in_force() {
    let mut world = World::new();
    world.machine.set_floor(40_000, 0.7);
    let decision = world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    let trace = decision.trace;
    assert_eq!((trace.stored_ms, trace.effective_ms), (30_000, 40_000));
    assert_eq!(trace.bound, crate::cadence::Bound::Floor);
    assert_eq!(decision.suspect_after_ms, 60_000);
    world.machine.set_floor(400_000, f64::NAN);
    let capped = world.live("a", Health::Healthy);
    assert_eq!(capped.trace.effective_ms, 70_000);
    let exempt = Beat { class: Some(CRITICAL), ..first() };
    assert_eq!(world.beat("b", &exempt, verdict(Health::Healthy, 1e4)).trace.effective_ms, 10_000);
}

#[test]
fn a_storm_of_starts_is_spread() {
    let mut world = World::new();
    let mut early = 0;
    for agent in 0..200 {
        let id = alloc::format!("agent-{agent}");
        let decision = world.beat(&id, &first(), verdict(Health::Healthy, 30_000.0));
        early += u32::from(decision.next_interval_ms < 27_000);
        match world.handle(&id, &first()) {
            Ok(Handled::Repeat(again)) => {
                assert_eq!(again.next_interval_ms, decision.next_interval_ms);
            }
            other => panic!("{other:?}"),
        }
        let next = world.beat(&id, &Beat { sequence: 2, ..first() }, verdict(Health::Healthy, 3e4));
        assert!(next.next_interval_ms >= 27_000, "only the first is spread");
    }
    assert!((110..190).contains(&early), "{early} of 200");
}

#[test]
fn long_names_and_tenants_are_told_apart() {
    let mut world = World::new();
    let long = "x".repeat(limits::AGENT_ID_BYTES);
    let longer = alloc::format!("{}y", "x".repeat(limits::AGENT_ID_BYTES - 1));
    world.beat(&long, &first(), verdict(Health::Healthy, 30_000.0));
    assert_eq!(world.slot(&longer), None);
    assert_eq!(world.info(world.known(&long)).id, long);
    let other = PartitionHasher::new([1, 2]).key(TenantId(1), &long);
    assert_eq!(world.machine.find(other), None);
    let mut slots = Vec::new();
    world.machine.find_all(&[key(&longer), key(&long), other], &mut slots);
    assert_eq!(slots, [None, world.slot(&long), None]);
}

fn command(id: &str, kind: CommandKind) -> Command {
    Command { id: id.into(), kind: kind as i32, ..Command::default() }
}

#[test]
fn a_command_is_repeated_until_it_is_answered() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    let slot = world.known("a");
    world.events();
    let drain = command("c1", CommandKind::Drain);
    world
        .machine
        .handle_command(Millis(0), slot, drain.clone(), &mut world.effects)
        .expect("it can be recorded");
    world
        .machine
        .handle_command(Millis(0), slot, drain, &mut world.effects)
        .expect("it can be recorded");
    assert!(world.live("a", Health::Healthy).has_commands);
    assert!(world.live("a", Health::Healthy).has_commands);
    assert_eq!(world.machine.commands(slot).len(), 1);
    let ack = |world: &mut World, id: &str| {
        world.machine.handle_ack(Millis(0), slot, id, AckOutcome::Done, &mut world.effects);
    };
    ack(&mut world, "other");
    ack(&mut world, "c1");
    ack(&mut world, "c1");
    assert!(!world.live("a", Health::Healthy).has_commands);
    assert_eq!(world.told(), ["CommandQueued", "CommandEnded"]);
}

#[test]
fn the_oldest_unanswered_command_gives_way() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    let slot = world.known("a");
    for number in 0..=limits::COMMANDS {
        let command = command(&alloc::format!("c{number}"), CommandKind::Checkpoint);
        world
            .machine
            .handle_command(Millis(0), slot, command, &mut world.effects)
            .expect("it can be recorded");
    }
    assert_eq!(world.machine.commands(slot).len(), limits::COMMANDS);
    assert_eq!(world.machine.commands(slot)[0].id, "c1");
    let gave_way = EventKind::CommandEnded { id: "c0".into(), outcome: None };
    assert!(world.events().contains(&gave_way));
}

#[test]
fn a_restart_is_not_asked_for_again_once_it_happened() {
    let mut world = World::new();
    world.beat("a", &first(), verdict(Health::Healthy, 30_000.0));
    let slot = world.known("a");
    for (id, kind) in [("r", CommandKind::Restart), ("d", CommandKind::Drain)] {
        world
            .machine
            .handle_command(Millis(0), slot, command(id, kind), &mut world.effects)
            .expect("it can be recorded");
    }
    world.beat("a", &Beat { incarnation: 6, ..first() }, verdict(Health::Healthy, 30_000.0));
    let left: Vec<_> = world.machine.commands(slot).iter().map(|c| c.id.as_str()).collect();
    assert_eq!(left, ["d"]);
    world.machine.handle_stop(Millis(0), slot, &mut world.effects).expect("it can be recorded");
    assert!(world.machine.commands(slot).is_empty());
    let late = command("x", CommandKind::Drain);
    world
        .machine
        .handle_command(Millis(0), slot, late, &mut world.effects)
        .expect("it can be recorded");
    assert!(world.machine.commands(slot).is_empty(), "who left gets no commands");
}

#[test]
fn memory_is_accounted_for_hot_and_cold() {
    let mut world = World::new();
    let (empty, _) = world.machine.memory();
    world.live("a", Health::Healthy);
    let (hot, cold) = world.machine.memory();
    assert!(hot > empty);
    assert_eq!(cold, 0);
    let slot = world.known("a");
    let registration = Registration { endpoint: Some("here".into()), ..Registration::default() };
    world
        .machine
        .handle_registration(Millis(0), slot, registration, &mut world.effects)
        .expect("it can be recorded");
    assert!(world.machine.memory().1 > 0);
    world.jump(200_000_000);
    assert_eq!(world.machine.memory().1, 0);
}
