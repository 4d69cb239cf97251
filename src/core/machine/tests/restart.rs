//! Restarts: what survives, what waits, and who is found.

use proptest::prelude::*;
use pulsegate_wire::event;
use pulsegate_wire::{Command, Health, Registration, State, Status};

use super::journal::{self, Journal};
use super::random::{Play, step};
use super::*;
use crate::testing::seeds;
use crate::{Action, ActionOutcome, Classes, IncidentKind, Plan, Rung, restart_spread_ms};

impl World {
    /// Records what was told, and goes on in another process. Returns what that one told at once,
    /// and leaves it there.
    fn restart(&mut self, journal: &mut Journal) -> Vec<EventKind> {
        let config = self.machine.config.clone();
        self.restart_with(journal, &config)
    }

    fn restart_with(&mut self, journal: &mut Journal, config: &Config) -> Vec<EventKind> {
        journal.record(&self.machine.config, &self.effects.events);
        let (machine, effects) = journal.restart(config, self.now());
        (self.machine, self.effects) = (machine, effects);
        self.effects.events.iter().map(|event| event.kind.clone()).collect()
    }

    /// The spread of an agent with an interval of 30 s.
    fn spread(id: &str) -> u64 {
        restart_spread_ms(key(id).hash, 30_000).into()
    }

    /// When the next event of this agent comes, if nothing else happens, and which.
    fn next_event(&mut self) -> (u64, EventKind) {
        self.effects.clear();
        while self.effects.events.is_empty() {
            let next = self.machine.next_deadline().expect("something will happen");
            self.advance(next.0.saturating_sub(self.now).max(1));
        }
        let event = self.effects.events[0].clone();
        (event.at.0, event.kind)
    }
}

fn play(steps: &[super::random::Step]) -> Result<Play, TestCaseError> {
    let mut play = Play::new(Config::default());
    for step in steps {
        play.apply(step)?;
    }
    if play.world.machine.is_frozen() {
        play.apply(&super::random::Step::Freeze(false))?;
    }
    Ok(play)
}

proptest! {
    #![proptest_config(seeds(128))]

    /// P2: whatever happened before, a silence begins at the restart; and everyone who is silent
    /// from then on is found.
    #[test]
    fn nobody_fails_before_a_whole_silence_after_the_restart_and_everybody_dead_does(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut play = play(&steps)?;
        let world = &mut play.world;
        let before = journal::rows(world.now(), &world.machine);
        let start = world.now;
        let (machine, _) = play.journal.restart(&world.machine.config, world.now());
        (world.machine, world.effects) = (machine, Effects::default());
        let slots: Vec<Slot> = world.machine.slots(Slot(0)).collect();
        prop_assert_eq!(world.machine.agents.wheel.len(), slots.len(), "a deadline each");
        world.advance(3_600_000);
        for event in &world.effects.events {
            let (EventKind::Suspected { last_receipt, in_force_ms, grace_ms, .. }
            | EventKind::Failed { last_receipt, in_force_ms, grace_ms, .. }) = event.kind
            else {
                continue;
            };
            let hash = key(&event.agent_id).hash;
            let spread_ms = restart_spread_ms(hash, event.standing.in_force_ms);
            prop_assert_eq!(last_receipt.0, start + u64::from(spread_ms));
            prop_assert!(event.at >= last_receipt.plus(u64::from(in_force_ms + grace_ms)));
            let class = &world.machine.config.classes[event.class];
            let graces = [class.suspect_grace_ms, class.fail_grace_ms, 120_000];
            prop_assert!(graces.contains(&grace_ms));
        }
        for row in before {
            let state = State::from_number(row.standing.expect("every row has one").state);
            let now = world.slot(&row.agent_id).map(|slot| world.info(slot).state);
            let is_found = match state {
                State::New | State::Alive | State::Suspect => {
                    matches!(now, Some(State::Failed | State::Stopped))
                }
                State::Failed | State::Stopped => now.is_none_or(|now| now == state),
            };
            prop_assert!(is_found, "{} was {state:?} and is {now:?}", row.agent_id);
        }
    }
}

#[test]
fn the_deadlines_of_a_fleet_are_spread_over_its_interval() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    for agent in 0..3_000 {
        world.live(&alloc::format!("agent-{agent}"), Health::Healthy);
    }
    world.restart(&mut journal);
    world.effects.clear();
    world.advance(50_000);
    assert!(world.effects.events.is_empty(), "nobody before the shortest spread");
    let mut by_second = [0; 30];
    world.advance(30_010);
    for event in &world.effects.events {
        assert!(matches!(event.kind, EventKind::Suspected { .. }));
        by_second[((event.at.0 - 50_000) / 1_000).min(29) as usize] += 1;
    }
    assert_eq!(by_second.iter().sum::<u32>(), 3_000, "all by the longest");
    assert!(by_second.iter().all(|count| (50..=160).contains(count)), "{by_second:?}");
}

#[test]
fn a_spread_is_below_the_interval_in_force_and_half_a_minute() {
    let hashes = (0..10_000u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for hash in hashes {
        assert_eq!(restart_spread_ms(hash, 0), 0);
        assert!(restart_spread_ms(hash, 1_000) < 1_000);
        assert!(restart_spread_ms(hash, 300_000) < 30_000);
        assert_eq!(restart_spread_ms(hash, 300_000), restart_spread_ms(hash, 30_000));
    }
    assert!(restart_spread_ms(u64::MAX / 3, u32::MAX) < 30_000);
}

#[test]
fn a_suspect_stays_one_and_gets_a_whole_silence_more() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(85_000);
    assert_eq!(world.state("a"), State::Suspect);
    assert_eq!(world.restart(&mut journal), []);
    assert_eq!(world.state("a"), State::Suspect);
    let (at, kind) = world.next_event();
    assert!(matches!(kind, EventKind::Failed { .. }), "{kind:?}");
    let due = 85_000 + World::spread("a") + 91_000;
    assert!((due..due + 20).contains(&at), "{at} is not {due}");
}

#[test]
fn a_sign_of_life_after_a_restart_ends_its_silence() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(60_000);
    world.restart(&mut journal);
    let slot = world.known("a");
    assert_eq!(world.info(slot).last_receipt, Some(Millis(60_000)), "never in the future");
    world.advance(5_000);
    let Ok(Handled::Observe(ticket)) = world.handle("a", &Beat::default()) else {
        panic!("a heartbeat without numbers is the next one");
    };
    assert_eq!(ticket.observation.lateness_ms, 0, "nobody knows what it was told");
    assert_eq!(ticket.observation.missed, 0);
    let (at, kind) = world.next_event();
    assert!(matches!(kind, EventKind::Suspected { .. }), "{kind:?}");
    assert!((115_000..115_020).contains(&at), "in force and grace after the beat, not {at}");
}

#[test]
fn an_older_incarnation_is_refused_after_a_restart_as_before() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    let beat = |incarnation| Beat { incarnation, sequence: 1, ..Beat::default() };
    world.beat("a", &beat(7), verdict(Health::Healthy, 30_000.0));
    world.beat("b", &beat(7), verdict(Health::Healthy, 30_000.0));
    let slot = world.known("b");
    world.machine.handle_stop(Millis(0), slot, &mut world.effects).expect("it can be recorded");
    world.restart(&mut journal);
    assert_eq!(world.handle("a", &beat(6)), Err(Refusal::IncarnationStale { known: 7 }));
    assert_eq!(world.handle("b", &beat(7)), Err(Refusal::Stopped));
    assert!(matches!(world.handle("b", &beat(8)), Ok(Handled::Observe(_))));
    assert!(matches!(world.handle("a", &beat(7)), Ok(Handled::Observe(_))), "it beats on");
    assert_eq!(world.told(), ["Restarted"]);
}

#[test]
fn failed_and_stopped_agents_are_forgotten_when_they_would_have_been() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(100_000);
    world.live("b", Health::Healthy);
    let slot = world.known("b");
    let now = world.now();
    world.machine.handle_stop(now, slot, &mut world.effects).expect("it can be recorded");
    world.advance(1_000_000);
    world.restart(&mut journal);
    world.effects.clear();
    let (at, kind) = world.next_event();
    assert_eq!(kind, EventKind::Forgotten { from: State::Stopped });
    assert!((3_700_000..3_700_020).contains(&at), "{at}");
    world.advance(86_400_000);
    let last = world.events().pop();
    assert_eq!(last, Some(EventKind::Forgotten { from: State::Failed }));
    assert_eq!(world.machine.census().total(), 0);
}

#[test]
fn an_agent_that_said_it_leaves_stops_and_does_not_fail() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    let leaves = Beat { status: Status::Stopping, ..Beat::default() };
    world.live("a", Health::Healthy);
    world.beat("a", &leaves, verdict(Health::Healthy, 30_000.0));
    let told = world.effects.events.last().expect("two events");
    assert_eq!(told.kind, EventKind::Leaving(true));
    assert!(told.must_be_durable());
    world.restart(&mut journal);
    let (_, kind) = world.next_event();
    assert_eq!(kind, EventKind::Stopped);
}

fn two_rungs() -> Plan {
    let rung = |executor: &str| Rung { executor: executor.into(), wait_ms: 200_000 };
    Plan { rungs: [rung("restart"), rung("replace")].into(), reason: String::new() }
}

/// An agent that failed, and whose first action was under way when the process ended.
fn acting() -> (World, Journal, Action) {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(91_000);
    let (stamp, _) = world.effects.incidents.pop().expect("a plan is asked for");
    let now = world.now();
    world.machine.handle_plan(now, stamp, two_rungs(), &mut world.effects);
    let action = world.action().expect("the first rung starts");
    assert!(world.effects.events.iter().any(|event| {
        matches!(event.kind, EventKind::ActionStarted { .. }) && event.must_be_durable()
    }));
    let ended = world.restart(&mut journal);
    let outcome = ActionOutcome::Failed;
    let executor = action.executor.clone();
    assert_eq!(ended, [EventKind::ActionEnded { action: action.id, executor, outcome }]);
    (world, journal, action)
}

#[test]
fn an_action_without_an_outcome_has_failed_and_the_next_rung_waits() {
    let (mut world, _, first) = acting();
    let (stamp, incident) = world.effects.incidents.pop().expect("a plan is asked for again");
    assert_eq!((incident.kind, incident.number), (IncidentKind::Silence, 0));
    let start = world.now();
    world.machine.handle_plan(start, stamp, two_rungs(), &mut world.effects);
    assert_eq!(world.action(), None, "the wait of the first rung is not over");
    world.advance(199_990);
    assert_eq!(world.action(), None);
    world.advance(20);
    let second = world.action().expect("it is now");
    assert_eq!(second.executor, "replace", "the first rung was started before the restart");
    assert_ne!(second.id, first.id);
}

#[test]
fn an_agent_that_came_back_while_nobody_looked_is_heard_before_recovery_acts() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(91_000);
    assert_eq!(world.state("a"), State::Failed);
    world.restart(&mut journal);
    let (stamp, _) = world.effects.incidents.pop().expect("a plan is asked for again");
    let start = world.now();
    world.machine.handle_plan(start, stamp, two_rungs(), &mut world.effects);
    world.advance(World::spread("a") + 90_990);
    assert_eq!(world.action(), None);
    world.live("a", Health::Healthy);
    world.advance(20);
    assert_eq!(world.action(), None, "it beats");
}

#[test]
fn a_silence_that_goes_on_after_a_restart_is_acted_upon() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(91_000);
    world.restart(&mut journal);
    let (stamp, _) = world.effects.incidents.pop().expect("a plan is asked for again");
    let start = world.now();
    world.machine.handle_plan(start, stamp, two_rungs(), &mut world.effects);
    world.advance(World::spread("a") + 91_010);
    assert_eq!(world.action().map(|action| action.executor), Some("restart".into()));
}

#[test]
fn a_failure_whose_incident_was_lost_gets_one() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    world.advance(91_000);
    let opened = world.effects.events.pop().expect("the last event");
    assert!(matches!(opened.kind, EventKind::IncidentOpened { .. }));
    let told = world.restart(&mut journal);
    assert_eq!(told, [opened.kind]);
    assert_eq!(world.effects.incidents.len(), 1);
}

#[test]
fn what_operators_did_survives() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    let slot = world.known("a");
    let command = |id: &str| Command { id: id.into(), name: "n".into(), ..Command::default() };
    let labels = [("region".into(), "eu".into())].into();
    let registration = Registration { labels, ..Registration::default() };
    let World { machine, effects, .. } = &mut world;
    for id in ["one", "two"] {
        machine.handle_command(Millis(0), slot, command(id), effects).expect("it can be recorded");
    }
    machine.handle_pause(Millis(0), slot, true, effects).expect("it can be recorded");
    let told = machine.handle_registration(Millis(0), slot, registration.clone(), effects);
    assert_eq!(told, Ok(true));
    assert!(effects.events.iter().skip(1).all(crate::Event::must_be_durable));
    let digest = journal::digest(machine);
    assert_eq!(world.restart(&mut journal), []);
    let slot = world.known("a");
    assert_eq!(world.machine.commands(slot), [command("one"), command("two")]);
    assert!(world.info(slot).paused);
    assert_eq!(world.info(slot).registration, Some(&registration));
    assert_eq!(journal::digest(&world.machine), digest);
    world.advance(300_000);
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.effects.incidents, [], "nothing is done about a paused agent");
}

#[test]
fn a_class_that_is_gone_is_told_of() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    let critical = Beat { class: Some(CRITICAL), ..Beat::default() };
    world.beat("a", &critical, verdict(Health::Healthy, 10_000.0));
    let normal = Classes::default()[NORMAL].clone();
    let classes = Classes::new([normal].into()).expect("normal is among them");
    let config = Config { classes, ..Config::default() };
    let told = world.restart_with(&mut journal, &config);
    assert_eq!(told, [EventKind::Updated { registration: None }]);
    let class = world.info(world.known("a")).class;
    assert_eq!(config.classes[class].name, "normal");
    journal.record(&config, &world.effects.events);
    assert_eq!(journal::digest(&journal.fold(&config)), journal::digest(&world.machine));
    world.effects.clear();
    assert_eq!(world.restart(&mut journal), [], "once");
}

#[test]
fn the_turning_budget_holds_over_a_restart() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    let hint = |world: &mut World, interval_ms| {
        world.advance(1_000);
        world.beat("a", &Beat::default(), verdict(Health::Healthy, interval_ms)).trace
    };
    assert_eq!(hint(&mut world, 10_000.0).stored_ms, 10_000);
    world.advance(61_000);
    assert_eq!(hint(&mut world, 15_000.0).stored_ms, 15_000, "the one relaxing after a tightening");
    assert_eq!(hint(&mut world, 10_000.0).stored_ms, 10_000);
    world.restart(&mut journal);
    world.effects.clear();
    world.advance(61_000);
    assert_eq!(hint(&mut world, 15_000.0).bound, crate::cadence::Bound::TurnBudget);
    world.advance(1_200_000);
    assert_eq!(hint(&mut world, 15_000.0).stored_ms, 15_000);
}

#[test]
fn an_event_of_a_kind_that_is_not_known_says_how_its_agent_stands() {
    let mut machine = Machine::new(Config::default());
    let standing = event::Standing {
        state: State::Suspect as i32,
        incarnation: 9,
        interval_ms: 5_000,
        in_force_ms: 8_000,
        heard: true,
        ..event::Standing::default()
    };
    let unknown = event::Event {
        at_ms: 77,
        agent_id: "a".into(),
        class: "normal".into(),
        standing: Some(standing),
        ..event::Event::default()
    };
    machine.apply(&unknown, key("a"), NORMAL).expect("there is room");
    let slot = machine.find(key("a")).expect("it is made");
    let info = machine.info(Millis(77), slot).expect("the slot is in use");
    assert_eq!((info.state, info.incarnation, info.in_force_ms), (State::Suspect, 9, 8_000));
    let started = event::Event { at_ms: 99, ..event::Event::default() };
    machine.apply(&started, key(""), NORMAL).expect("there is room");
    assert_eq!(machine.census().total(), 1, "an event without an agent makes none");
    assert_eq!(machine.now, Millis(99));
}

#[test]
fn no_deadline_passes_before_the_restart_is_done() {
    let (mut world, mut journal) = (World::new(), Journal::default());
    world.live("a", Health::Healthy);
    journal.record(&Config::default(), &world.effects.events);
    let mut machine = journal.fold(&Config::default());
    let mut effects = Effects::default();
    assert!(!machine.handle_deadlines(Millis(1 << 40), usize::MAX, &mut effects));
    assert!(effects.is_empty());
}
