//! Components of policies, and what a policy answers.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pulsegate_core::{ClassId, Classes, Incident, IncidentKind, Observation, Plan, TenantId};
use pulsegate_policy::{
    Engine, Error, Limits, Match, Memory, PolicySet, Pool, Route, Source, Worker,
};
use pulsegate_wire::{Health, Status};

/// Longest time that loading a component of a few kilobytes may take, in any build on a busy
/// machine. Source: chosen; three classes, each of which may start for a tenth of a second and then
/// call five functions for a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest text of an error, in bytes. Source: chosen.
const ERROR_BYTES: usize = 4_096;

/// A component whose functions answer with what lies in its memory, which is the input.
const ANSWERS: &str = include_str!("answers.wat");
/// What stands there before.
const BLANK: [u8; 512] = [0xa5; 512];

/// The bytes of a component.
pub fn policy_component(bytes: &[u8]) {
    load(bytes);
}

/// The memory of a policy that answers anything: description, hints, judgements, plans.
pub fn policy_answers(bytes: &[u8]) {
    static TEMPLATE: OnceLock<(Vec<u8>, usize)> = OnceLock::new();
    let (component, place) = TEMPLATE.get_or_init(|| {
        let blank = "\\a5".repeat(BLANK.len());
        let text = ANSWERS.replace("@ANSWERS@", &blank);
        let component = wat::parse_str(text).expect("it is a component");
        let place = component.windows(BLANK.len()).position(|window| window == BLANK);
        (component, place.expect("a place for answers"))
    });
    let mut component = component.clone();
    let answers = &bytes[..bytes.len().min(BLANK.len())];
    component[*place..*place + BLANK.len()].fill(0);
    component[*place..*place + answers.len()].copy_from_slice(answers);
    load(&component);
}

fn executors() -> Vec<(String, u32)> {
    vec![("alert".into(), 1), ("restart".into(), 2)]
}

/// Admits a component to every question that it answers, and asks.
fn load(bytes: &[u8]) {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| Engine::new(Limits::default()).expect("an engine"));
    let began = Instant::now();
    let it = || Some("it".to_owned());
    let agents = Match::default();
    let mut route = Route { agents, health: it(), cadence: it(), recovery: it() };
    let loaded = loop {
        let source = Source {
            name: "it".into(),
            bytes: bytes.to_vec(),
            settings: serde_json::Value::Null,
            pool: Pool::Native,
        };
        let (classes, routes) = (Classes::default(), vec![route.clone()]);
        match PolicySet::load(engine, &classes, vec![source], routes, &executors()) {
            Err(Error::WrongQuestion { question: "health", .. }) => route.health = None,
            Err(Error::WrongQuestion { question: "cadence", .. }) => route.cadence = None,
            Err(Error::WrongQuestion { .. }) => route.recovery = None,
            loaded => break loaded,
        }
    };
    match loaded {
        Ok(set) => ask(&set),
        Err(error) => {
            let text = error.to_string();
            assert_eq!(error.policy(), Some("it"), "{text}");
            assert!(text.len() <= ERROR_BYTES, "{} bytes: {text:.200}", text.len());
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

/// Every question is answered, by the policy or in its place.
fn ask(set: &PolicySet) {
    let mut worker = Worker::new();
    let class = ClassId(1);
    let assignment = set.assign(TenantId(0), class, &BTreeMap::new());
    let seen = Observation { now_ms: 1, interval_ms: 30_000, ..Observation::default() };
    let mut memory = Memory::default();
    let custom = BTreeMap::new();
    let said = worker.evaluate(set, assignment, class, &seen, &custom, &mut memory);
    for source in [said.health_source, said.verdict.source] {
        assert!(!set.text(source).reason.is_empty(), "{said:?}");
    }
    let incident = Incident {
        kind: IncidentKind::Silence,
        number: 0,
        silent_ms: 91_000,
        missed: 3,
        health: Health::Healthy,
        status: Status::Healthy,
        class,
        reachable: true,
    };
    let (plan, _) = worker.propose(set, assignment, &incident);
    assert!(plan.rungs.len() <= Plan::MAX_RUNGS);
    let known = executors();
    assert!(plan.rungs.iter().all(|rung| known.iter().any(|(id, _)| *id == rung.executor)));
}
