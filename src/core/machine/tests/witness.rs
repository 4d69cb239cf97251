//! The second witness on virtual time: who is asked, when, and what its word changes.

use pulsegate_wire::{Health, Probe, ProbeKind, Registration, State, Status};

use super::*;
use crate::Suspicion;

/// Due 10 s after a heartbeat, suspect 10 s later, failed 21 s past due, acted upon 61 s past due.
const SUSPECT_MS: u64 = 20_000;
const FAILED_MS: u64 = 31_000;
const ACTED_UPON_MS: u64 = 71_000;

fn probe() -> Probe {
    Probe { kind: ProbeKind::Tcp as i32, port: 7, path: String::new() }
}

impl World {
    /// A heartbeat of a critical agent.
    fn vital(&mut self) {
        let beat = Beat { class: Some(CRITICAL), ..Beat::default() };
        self.beat("a", &beat, verdict(Health::Healthy, 10_000.0));
    }

    /// A critical agent that said how it may be asked.
    fn probed() -> Self {
        let mut world = Self::new();
        world.vital();
        world.register(Registration { probe: Some(probe()), ..Registration::default() });
        world
    }

    fn register(&mut self, registration: Registration) {
        let (now, slot) = (self.now(), self.known("a"));
        self.machine
            .handle_registration(now, slot, registration, &mut self.effects)
            .expect("it can be recorded");
    }

    /// Takes the one question that was asked since the last time.
    fn suspicion(&mut self) -> Option<Suspicion> {
        assert!(self.effects.suspicions.len() <= 1, "{:?}", self.effects.suspicions);
        self.effects.suspicions.pop()
    }

    /// A witness confirms a silence; says whether that counted.
    fn confirm(&mut self, suspicion: &Suspicion) -> bool {
        let now = self.now();
        self.machine.handle_witness(now, suspicion, &mut self.effects)
    }

    fn is_witnessed(&self) -> bool {
        self.info(self.known("a")).witnessed
    }
}

#[test]
fn a_suspect_is_asked_about_and_again_once_it_has_failed_unconfirmed() {
    let mut world = World::probed();
    world.advance(SUSPECT_MS - 1);
    assert_eq!(world.suspicion(), None);
    world.advance(1);
    let first = world.suspicion().expect("it is suspect");
    assert_eq!((first.agent_id.as_str(), first.class), ("a", CRITICAL));
    assert_eq!((&first.probe, first.is_decisive), (&probe(), true));
    world.advance(FAILED_MS - SUSPECT_MS);
    let second = world.suspicion().expect("it has failed");
    assert_eq!(second, first, "the same silence");
    world.advance(10 * ACTED_UPON_MS);
    assert_eq!(world.suspicion(), None, "twice in one silence");
}

#[test]
fn a_confirmed_suspect_is_not_asked_about_again() {
    let mut world = World::probed();
    world.advance(SUSPECT_MS);
    let suspicion = world.suspicion().expect("it is suspect");
    assert!(world.confirm(&suspicion));
    world.advance(ACTED_UPON_MS);
    assert_eq!(world.suspicion(), None);
}

#[test]
fn late_timers_that_pass_both_edges_ask_once() {
    let mut world = World::probed();
    world.jump(FAILED_MS);
    assert_eq!(world.told().last().map(String::as_str), Some("IncidentOpened"));
    assert!(world.suspicion().is_some());
}

#[test]
fn nobody_is_asked_who_did_not_say_how_or_was_never_heard() {
    let mut world = World::new();
    world.vital();
    world.advance(ACTED_UPON_MS);
    let registration = Registration { probe: Some(probe()), ..Registration::default() };
    let World { machine, effects, .. } = &mut world;
    let put = machine.handle_put(Millis(ACTED_UPON_MS), key("b"), registration, effects);
    assert!(put.is_ok());
    world.advance(200_000);
    assert_eq!((world.state("a"), world.state("b")), (State::Failed, State::Failed));
    assert_eq!(world.suspicion(), None);
}

#[test]
fn an_agent_that_is_leaving_is_never_asked_about() {
    let mut world = World::probed();
    let beat = Beat { status: Status::Stopping, ..Beat::default() };
    world.beat("a", &beat, verdict(Health::Healthy, 10_000.0));
    world.advance(200_000);
    assert_eq!((world.state("a"), world.suspicion()), (State::Stopped, None));
}

#[test]
fn where_recovery_acts_at_the_fail_grace_anyway_the_question_decides_nothing_and_comes_once() {
    let mut world = World::new();
    let beat = Beat { class: Some(NORMAL), ..Beat::default() };
    world.beat("a", &beat, verdict(Health::Healthy, 30_000.0));
    world.register(Registration { probe: Some(probe()), ..Registration::default() });
    world.advance(50_000);
    assert!(!world.suspicion().expect("it is suspect").is_decisive);
    world.advance(41_000);
    assert_eq!((world.state("a"), world.suspicion()), (State::Failed, None));
}

#[test]
fn without_a_second_witness_recovery_waits_for_the_act_grace() {
    let mut world = World::probed();
    world.advance(FAILED_MS);
    world.plan(&["restart"]);
    world.advance(ACTED_UPON_MS - FAILED_MS - 1);
    assert_eq!(world.action(), None);
    world.advance(1);
    assert!(world.action().is_some());
}

#[test]
fn a_witness_of_the_failed_brings_acting_forward() {
    let mut world = World::probed();
    world.advance(FAILED_MS);
    world.plan(&["restart"]);
    assert_eq!(world.action(), None);
    let suspicion = world.suspicion().expect("it has failed");
    assert!(world.confirm(&suspicion));
    assert!(world.action().is_some() && world.is_witnessed());
}

#[test]
fn a_witness_of_the_suspect_lets_recovery_act_at_the_fail_grace() {
    let mut world = World::probed();
    world.advance(SUSPECT_MS);
    let suspicion = world.suspicion().expect("it is suspect");
    assert!(world.confirm(&suspicion));
    world.advance(FAILED_MS - SUSPECT_MS - 1);
    assert!(world.effects.incidents.is_empty(), "nothing is done to a suspect");
    world.advance(1);
    world.plan(&["restart"]);
    assert!(world.action().is_some());
}

#[test]
fn a_witness_says_nothing_about_an_agent_that_is_back() {
    let mut world = World::probed();
    world.advance(SUSPECT_MS);
    let suspicion = world.suspicion().expect("it is suspect");
    world.vital();
    assert!(!world.confirm(&suspicion));
    assert!(!world.is_witnessed());
    world.advance(FAILED_MS);
    assert!(!world.confirm(&suspicion), "that was another silence");
    world.plan(&["restart"]);
    assert_eq!(world.action(), None);
}

#[test]
fn a_witness_from_before_a_limited_heartbeat_says_nothing() {
    let mut world = World::probed();
    world.advance(SUSPECT_MS);
    let suspicion = world.suspicion().expect("it is suspect");
    let (now, slot) = (world.now(), world.known("a"));
    world.machine.handle_limited(now, slot, &Beat::default(), &mut world.effects);
    assert_eq!(world.machine.stamp(slot), Some(suspicion.stamp), "no sequence was taken");
    assert!(!world.confirm(&suspicion));
    world.advance(FAILED_MS);
    assert_eq!(world.state("a"), State::Failed);
    assert!(!world.confirm(&suspicion));
    assert!(!world.is_witnessed());
}

#[test]
fn a_witness_of_an_agent_that_left_says_nothing() {
    let mut world = World::probed();
    world.advance(SUSPECT_MS);
    let suspicion = world.suspicion().expect("it is suspect");
    assert!(world.confirm(&suspicion));
    let (now, slot) = (world.now(), world.known("a"));
    world.machine.handle_stop(now, slot, &mut world.effects).expect("it can be recorded");
    assert!(!world.is_witnessed() && !world.confirm(&suspicion));
    world.advance(4_000_000);
    assert_eq!(world.slot("a"), None, "it is forgotten");
    assert!(!world.confirm(&suspicion));
}

#[test]
fn a_paused_agent_is_acted_upon_once_it_is_resumed_and_not_before() {
    let mut world = World::probed();
    let (now, slot) = (world.now(), world.known("a"));
    world.machine.handle_pause(now, slot, true, &mut world.effects).expect("it can be recorded");
    world.advance(FAILED_MS);
    let suspicion = world.suspicion();
    assert!(world.confirm(&suspicion.expect("watched all the same")));
    assert!(world.effects.incidents.is_empty());
    let now = world.now();
    world.machine.handle_pause(now, slot, false, &mut world.effects).expect("it can be recorded");
    world.plan(&["restart"]);
    assert!(world.action().is_some());
}
