//! A machine that cannot record: what it answers, what it refuses, and what it owes later.

use pulsegate_wire::{Command, Health, Registration, State, Status};

use super::*;
use crate::IncidentKind;

impl World {
    fn freeze(&mut self, frozen: bool) {
        let now = self.now();
        self.machine.set_frozen(now, frozen, &mut self.effects);
    }

    /// A world that knows `a` and cannot record.
    fn frozen() -> Self {
        let mut world = Self::new();
        world.beat("a", &run(7, 1), verdict(Health::Healthy, 30_000.0));
        world.events();
        world.freeze(true);
        world
    }
}

fn run(incarnation: u64, sequence: u64) -> Beat {
    Beat { incarnation, sequence, ..Beat::default() }
}

#[test]
fn nobody_new_is_known_while_nothing_can_be_recorded() {
    let mut world = World::frozen();
    assert_eq!(world.handle("b", &run(1, 1)), Err(Refusal::ReadOnly));
    assert_eq!(world.slot("b"), None);
    assert!(world.effects.is_empty());
    world.freeze(false);
    assert!(world.handle("b", &run(1, 1)).is_ok());
}

#[test]
fn a_new_incarnation_is_refused_and_lives() {
    let mut world = World::frozen();
    for sequence in 1..20 {
        world.advance(30_000);
        assert_eq!(world.handle("a", &run(8, sequence)), Err(Refusal::ReadOnly));
        assert_eq!(world.handle("a", &run(6, 1)), Err(Refusal::IncarnationStale { known: 7 }));
    }
    let info = world.info(world.known("a"));
    assert_eq!((info.state, info.incarnation, info.sequence), (State::Alive, 7, 1));
    assert!(world.effects.is_empty(), "it was never silent");
    world.freeze(false);
    assert!(matches!(world.handle("a", &run(8, 20)), Ok(Handled::Observe(_))));
    assert_eq!(world.told(), ["Restarted"]);
}

#[test]
fn an_expected_agent_that_is_refused_does_not_fail_for_it() {
    let mut world = World::new();
    let put = |world: &mut World| {
        let now = world.now();
        world.machine.handle_put(now, key("a"), Registration::default(), &mut world.effects)
    };
    let slot = put(&mut world).expect("it can be recorded");
    world.events();
    world.freeze(true);
    for sequence in 1..10 {
        world.advance(100_000);
        assert_eq!(world.handle("a", &run(1, sequence)), Err(Refusal::ReadOnly));
        assert_eq!(world.info(slot).state, State::New, "who it is cannot be recorded");
    }
    assert!(world.effects.is_empty());
    world.freeze(false);
    assert!(world.handle("a", &run(1, 10)).is_ok());
    assert_eq!(world.told(), ["Heard"]);
}

#[test]
fn one_that_left_stays_away() {
    let mut world = World::new();
    world.beat("a", &run(7, 1), verdict(Health::Healthy, 30_000.0));
    let slot = world.known("a");
    world.machine.handle_stop(Millis(0), slot, &mut world.effects).expect("it can be recorded");
    world.freeze(true);
    assert_eq!(world.handle("a", &run(7, 2)), Err(Refusal::Stopped));
    assert_eq!(world.handle("a", &run(8, 1)), Err(Refusal::ReadOnly));
    assert_eq!(world.state("a"), State::Stopped);
}

#[test]
fn intervals_only_become_shorter_and_health_stays() {
    let mut world = World::frozen();
    world.machine.set_floor(80_000, 0.9);
    let mut sequence = 1;
    let mut beat = |world: &mut World, health, hint_ms| {
        sequence += 1;
        world.advance(25_000);
        let beat = Beat { directive_seen: sequence - 1, ..run(7, sequence) };
        world.beat("a", &beat, verdict(health, hint_ms))
    };
    for _ in 0..10 {
        let decision = beat(&mut world, Health::Unhealthy, 300_000.0);
        assert_eq!(decision.trace.effective_ms, 30_000, "the interval in force stands");
        assert_eq!(decision.health, Health::Healthy);
    }
    assert_eq!(beat(&mut world, Health::Healthy, f64::NAN).trace.effective_ms, 30_000);
    assert!(world.effects.is_empty(), "nothing moved, no incident was opened");
    world.machine.set_floor(0, 0.1);
    assert_eq!(beat(&mut world, Health::Healthy, 5_000.0).trace.effective_ms, 5_000);
    world.advance(30_000);
    assert_eq!(beat(&mut world, Health::Healthy, 30_000.0).trace.effective_ms, 5_000);
    assert!(world.effects.events.iter().all(|event| event.undurable));
    world.freeze(false);
    world.events();
    assert_eq!(beat(&mut world, Health::Unhealthy, 5_000.0).health, Health::Unhealthy);
}

#[test]
fn a_silence_is_shown_and_acted_upon_after_the_thaw() {
    let mut world = World::frozen();
    world.advance(95_000);
    assert_eq!(world.state("a"), State::Failed);
    assert!(world.info(world.known("a")).undurable);
    assert!(world.effects.events.iter().all(|event| event.undurable && !event.must_be_durable()));
    let wire = world.effects.events[0].to_wire("default", "normal");
    let Some(pulsegate_wire::EventKind::Suspected(silent)) = wire.kind else {
        panic!("{wire:?} is no suspicion");
    };
    assert!(silent.undurable);
    assert_eq!(world.told(), ["Suspected", "Failed"], "and no incident");
    world.freeze(false);
    let opened = EventKind::IncidentOpened { kind: IncidentKind::Silence, number: 0 };
    assert_eq!(world.events(), [opened]);
    assert!(!world.info(world.known("a")).undurable);
    world.plan(&["restart"]);
    assert!(world.action().is_some());
}

#[test]
fn one_that_came_back_before_the_thaw_has_no_mark_and_no_incident() {
    let mut world = World::frozen();
    world.advance(95_000);
    world.beat("a", &run(7, 2), verdict(Health::Healthy, 30_000.0));
    assert!(!world.info(world.known("a")).undurable);
    world.events();
    world.freeze(false);
    assert!(world.effects.is_empty());
}

#[test]
fn one_whose_recovery_had_ended_before_is_left_alone_at_the_thaw() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.advance(95_000);
    world.plan(&[]);
    assert_eq!(world.told().last().map(String::as_str), Some("IncidentClosed"));
    world.freeze(true);
    world.advance(100_000);
    world.freeze(false);
    assert!(world.effects.is_empty());
}

#[test]
fn the_next_rung_waits_for_the_thaw() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.advance(95_000);
    world.freeze(true);
    world.plan(&["restart"]);
    world.advance(500_000);
    assert_eq!(world.action(), None);
    world.freeze(false);
    assert!(world.action().is_some());
}

#[test]
fn what_operators_ask_is_refused_and_changes_nothing() {
    let mut world = World::frozen();
    let slot = world.known("a");
    let (picture, now) = (alloc::format!("{:?}", world.info(slot)), world.now());
    let World { machine, effects, .. } = &mut world;
    let labels = [("region".into(), "eu".into())].into();
    let registration = Registration { labels, ..Registration::default() };
    let refused = Err(Refusal::ReadOnly);
    assert_eq!(machine.handle_put(now, key("a"), registration.clone(), effects), refused);
    assert_eq!(machine.handle_put(now, key("b"), registration.clone(), effects), refused);
    assert_eq!(
        machine.handle_registration(now, slot, registration, effects),
        Err(Refusal::ReadOnly)
    );
    assert_eq!(
        machine.handle_registration(now, slot, Registration::default(), effects),
        Ok(false),
        "nothing would have changed"
    );
    let refused = Err(Refusal::ReadOnly);
    assert_eq!(machine.handle_command(now, slot, Command::default(), effects), refused);
    assert_eq!(machine.handle_pause(now, slot, true, effects), refused);
    assert_eq!(machine.handle_stop(now, slot, effects), refused);
    assert!(effects.is_empty());
    assert_eq!(picture, alloc::format!("{:?}", world.info(slot)));
}

#[test]
fn one_that_says_it_leaves_stops_also_while_nothing_can_be_recorded() {
    let mut world = World::frozen();
    let leaves = Beat { status: Status::Stopping, ..run(7, 2) };
    world.beat("a", &leaves, verdict(Health::Healthy, 30_000.0));
    world.advance(60_000);
    assert_eq!(world.state("a"), State::Stopped);
    world.events();
    world.freeze(false);
    assert!(world.effects.is_empty());
}
