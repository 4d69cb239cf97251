//! Recovery on virtual time.

use pulsegate_wire::{Health, State, Status};

use super::*;
use crate::{Action, ActionOutcome, IncidentKind, Plan, Rung};

fn plan(rungs: &[&str]) -> Plan {
    let rung = |&executor: &&str| Rung { executor: executor.into(), wait_ms: 10_000 };
    Plan { rungs: rungs.iter().map(rung).collect(), reason: String::new() }
}

impl World {
    /// Answers the newest request for a plan.
    pub(super) fn plan(&mut self, rungs: &[&str]) {
        let (stamp, _) = self.effects.incidents.pop().expect("a plan is asked for");
        let now = self.now();
        self.machine.handle_plan(now, stamp, plan(rungs), &mut self.effects);
    }

    pub(super) fn action(&mut self) -> Option<Action> {
        assert!(self.effects.actions.len() <= 1);
        self.effects.actions.pop()
    }

    fn end(&mut self, action: &Action, outcome: ActionOutcome) {
        let now = self.now();
        self.machine.handle_outcome(now, action.stamp, action.id, outcome, &mut self.effects);
    }

    fn failed(rungs: &[&str]) -> (Self, Action) {
        let mut world = Self::new();
        world.live("a", Health::Healthy);
        world.advance(91_000);
        assert_eq!(world.state("a"), State::Failed);
        world.plan(rungs);
        let action = world.action().expect("the first rung starts");
        world.events();
        (world, action)
    }
}

#[test]
fn a_failed_agent_is_recovered_one_rung_at_a_time() {
    let (mut world, first) = World::failed(&["restart", "replace"]);
    assert_eq!((first.executor.as_str(), first.reachable), ("restart", false));
    assert_eq!(world.info(world.known("a")).recovery, Some(("restart", true)));
    world.advance(60_000);
    assert_eq!(world.action(), None, "one open action an agent");
    world.end(&first, ActionOutcome::Done);
    world.advance(9_999);
    assert_eq!(world.action(), None);
    world.advance(1);
    let second = world.action().expect("the wait is over");
    assert_eq!(second.executor, "replace");
    assert_ne!(second.id, first.id);
    world.end(&second, ActionOutcome::Failed);
    world.events();
    world.advance(10_000);
    let closed = world.events();
    assert!(
        matches!(closed[..], [EventKind::IncidentClosed { recovered: false, actions: 2, .. }]),
        "{closed:?}"
    );
    world.advance(1_000_000);
    assert!(world.events().is_empty(), "an exhausted plan is not begun again");
}

#[test]
fn a_returning_heartbeat_cancels_rungs_and_success_takes_several() {
    let (mut world, action) = World::failed(&["restart", "replace"]);
    world.end(&action, ActionOutcome::Done);
    world.advance(5_000);
    for _ in 0..2 {
        world.live("a", Health::Healthy);
        world.advance(20_000);
        assert_eq!(world.action(), None);
    }
    assert!(!world.told().contains(&"IncidentClosed".into()));
    world.live("a", Health::Healthy);
    assert_eq!(world.told(), ["IncidentClosed"]);
}

#[test]
fn a_relapse_before_success_goes_on_with_the_next_rung() {
    let (mut world, action) = World::failed(&["restart", "replace"]);
    world.end(&action, ActionOutcome::Done);
    world.live("a", Health::Healthy);
    world.advance(91_000);
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.action().expect("the next rung").executor, "replace");
    assert!(!world.told().contains(&"IncidentOpened".into()));
}

#[test]
fn a_started_action_runs_to_its_outcome_though_the_agent_is_back() {
    let (mut world, action) = World::failed(&["restart"]);
    for _ in 0..3 {
        world.live("a", Health::Healthy);
    }
    assert_eq!(world.told(), ["Recovered", "IncidentClosed"]);
    world.end(&action, ActionOutcome::Done);
    assert_eq!(world.told(), ["ActionEnded"]);
    world.end(&action, ActionOutcome::Done);
    assert!(world.told().is_empty(), "an outcome counts once");
}

#[test]
fn a_new_incident_waits_for_the_action_of_the_one_before() {
    let (mut world, old) = World::failed(&["restart"]);
    for _ in 0..3 {
        world.live("a", Health::Healthy);
    }
    world.advance(91_000);
    world.plan(&["replace"]);
    assert_eq!(world.action(), None);
    world.end(&old, ActionOutcome::TimedOut);
    assert_eq!(world.action().expect("its turn").executor, "replace");
}

#[test]
fn a_newer_incarnation_closes_the_action() {
    let (mut world, action) = World::failed(&["restart", "replace"]);
    let restarted = Beat { incarnation: 9, sequence: 1, ..Beat::default() };
    world.beat("a", &restarted, verdict(Health::Healthy, 30_000.0));
    let told = world.events();
    let outcome = ActionOutcome::Superseded;
    let executor = "restart".into();
    assert!(told.contains(&EventKind::ActionEnded { action: action.id, executor, outcome }));
    world.end(&action, ActionOutcome::Failed);
    assert!(world.events().is_empty(), "its outcome comes too late");
    world.advance(60_000);
    assert_eq!(world.action(), None);
}

#[test]
fn what_had_no_effect_is_not_waited_for() {
    let (mut world, action) = World::failed(&["command", "nonsense", "exec"]);
    world.end(&action, ActionOutcome::Unreachable);
    let second = world.action().expect("at once");
    world.end(&second, ActionOutcome::Unknown);
    let third = world.action().expect("at once");
    assert_eq!(third.executor, "exec");
    world.events();
    world.end(&third, ActionOutcome::Unreachable);
    assert_eq!(world.told(), ["ActionEnded", "IncidentClosed"]);
}

#[test]
fn a_plan_without_rungs_ends_the_incident() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.advance(91_000);
    world.events();
    world.plan(&[]);
    assert_eq!(world.told(), ["IncidentClosed"]);
}

#[test]
fn a_plan_longer_than_allowed_is_cut() {
    let (mut world, mut action) = World::failed(&["x"; Plan::MAX_RUNGS + 3]);
    for _ in 1..Plan::MAX_RUNGS {
        world.end(&action, ActionOutcome::Unknown);
        action = world.action().expect("another rung");
    }
    world.end(&action, ActionOutcome::Unknown);
    assert_eq!(world.action(), None);
}

#[test]
fn a_plan_for_another_incident_is_ignored() {
    let (mut world, action) = World::failed(&["restart"]);
    let now = world.now();
    world.machine.handle_plan(now, action.stamp, plan(&["replace"]), &mut world.effects);
    assert!(world.effects.actions.is_empty() && world.events().is_empty());
}

#[test]
fn an_unhealthy_agent_gets_an_incident_after_several_heartbeats() {
    let mut world = World::new();
    for _ in 0..2 {
        world.live("a", Health::Stalled);
    }
    assert!(world.effects.incidents.is_empty());
    world.live("a", Health::Unhealthy);
    let incident = world.effects.incidents[0].1;
    assert_eq!((incident.kind, incident.reachable), (IncidentKind::Health, true));
    assert_eq!(incident.silent_ms, 0);
    world.plan(&["command", "restart"]);
    let action = world.action().expect("the first rung");
    assert!(action.reachable);
    world.end(&action, ActionOutcome::Done);
    world.advance(10_000);
    assert_eq!(world.action().expect("still ill").executor, "restart");
    world.events();
    for _ in 0..3 {
        world.live("a", Health::Degraded);
    }
    assert_eq!(world.told(), ["HealthChanged", "IncidentClosed"], "degraded agents do their work");
}

#[test]
fn a_good_heartbeat_holds_the_next_rung_of_a_health_incident() {
    let mut world = World::new();
    for _ in 0..3 {
        world.live("a", Health::Unhealthy);
    }
    world.plan(&["command", "restart"]);
    let action = world.action().expect("the first rung");
    world.end(&action, ActionOutcome::Done);
    world.live("a", Health::Healthy);
    world.advance(10_000);
    assert_eq!(world.action(), None);
    for _ in 0..3 {
        world.live("a", Health::Unhealthy);
    }
    assert_eq!(world.action().expect("a relapse").executor, "restart");
}

#[test]
fn a_paused_agent_is_watched_and_not_acted_on() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    let slot = world.known("a");
    world
        .machine
        .handle_pause(Millis(0), slot, true, &mut world.effects)
        .expect("it can be recorded");
    world
        .machine
        .handle_pause(Millis(0), slot, true, &mut world.effects)
        .expect("it can be recorded");
    world.advance(200_000);
    assert_eq!(world.state("a"), State::Failed);
    assert!(world.info(slot).paused);
    assert!(world.effects.incidents.is_empty());
    assert_eq!(world.told(), ["Registered", "Paused", "Suspected", "Failed"]);
    let now = world.now();
    world.machine.handle_pause(now, slot, false, &mut world.effects).expect("it can be recorded");
    world.plan(&["restart"]);
    assert!(world.action().is_some());
}

#[test]
fn pausing_holds_the_rungs_of_an_open_incident() {
    let (mut world, action) = World::failed(&["restart", "replace"]);
    let slot = world.known("a");
    let now = world.now();
    world.machine.handle_pause(now, slot, true, &mut world.effects).expect("it can be recorded");
    world.end(&action, ActionOutcome::Done);
    world.advance(100_000);
    assert_eq!(world.action(), None);
    let now = world.now();
    world.machine.handle_pause(now, slot, false, &mut world.effects).expect("it can be recorded");
    assert_eq!(world.action().expect("its turn").executor, "replace");
}

#[test]
fn a_leaving_agent_is_never_recovered() {
    let mut world = World::new();
    for _ in 0..5 {
        let beat = Beat { status: Status::Stopping, ..Beat::default() };
        world.beat("a", &beat, verdict(Health::Unhealthy, 30_000.0));
    }
    world.advance(200_000);
    assert!(world.effects.incidents.is_empty() && world.effects.actions.is_empty());
}

#[test]
fn leaving_closes_the_incident() {
    let (mut world, _action) = World::failed(&["restart"]);
    let now = world.now();
    let slot = world.known("a");
    world.machine.handle_stop(now, slot, &mut world.effects).expect("it can be recorded");
    assert_eq!(world.told(), ["IncidentClosed", "Stopped"]);
}

/// The explorer in `model` found it: once the heartbeat after a silence had cancelled the wait for
/// the first rung, more of the same ill health was no news, and nothing began that rung any more.
#[test]
fn one_that_comes_back_as_ill_as_it_went_is_acted_upon() {
    let mut world = World::new();
    let ill = |world: &mut World| {
        let beat = Beat { class: Some(CRITICAL), ..Beat::default() };
        world.beat("a", &beat, verdict(Health::Unhealthy, 10_000.0));
    };
    (0..3).for_each(|_| ill(&mut world));
    world.advance(40_000);
    assert_eq!(world.state("a"), State::Failed);
    world.plan(&["restart"]);
    assert_eq!(world.action(), None, "nobody has confirmed its silence");
    ill(&mut world);
    ill(&mut world);
    assert_eq!(world.action(), None, "a heartbeat cancels what has not begun");
    ill(&mut world);
    assert_eq!(world.action().map(|action| action.executor), Some("restart".into()));
}

#[test]
fn a_lost_plan_is_asked_for_again_at_a_relapse() {
    let mut world = World::new();
    world.live("a", Health::Healthy);
    world.advance(91_000);
    world.effects.incidents.clear();
    let restarted = Beat { incarnation: 9, sequence: 1, ..Beat::default() };
    world.beat("a", &restarted, verdict(Health::Healthy, 30_000.0));
    world.advance(91_000);
    world.plan(&["restart"]);
    assert!(world.action().is_some());
}
