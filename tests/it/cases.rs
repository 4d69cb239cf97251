//! Asking a policy the cases of its `cases.toml`, through the policy host alone.
//!
//! Of the format this knows what the templates use, and refuses all else.

use std::collections::BTreeMap;

use pulsegate_core::{ClassId, Classes, Incident, IncidentKind, Observation, Signals, TenantId};
use pulsegate_policy::{
    Engine, Error, Evaluation, Limits, Match, Memory, PolicySet, Pool, Route, Source, Worker,
};
use pulsegate_wire::{Health, Status};
use toml::{Table, Value};

const NAME: &str = "it";
const NORMAL: ClassId = ClassId(1);

/// A policy that was loaded.
pub struct Loaded {
    engine: Engine,
    bytes: Vec<u8>,
    pool: Pool,
    answers: Vec<&'static str>,
    /// Keeps what was compiled, so that other settings do not compile it again.
    _kept: Vec<PolicySet>,
}

impl Loaded {
    /// What it answers, in the words of `--exports`.
    pub fn answers(&self) -> String {
        self.answers.join(",")
    }

    /// Settings that nobody knows refuse the policy, in a text for its operator.
    pub fn refuses_unknown_settings(&self) {
        let unknown = serde_json::json!({ "no_such_setting": 1 });
        match set(&self.engine, (&self.bytes, self.pool), &self.answers, unknown, &[]) {
            Err(Error::Settings { reason, .. }) => assert!(reason.contains("settings"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    fn set(&self, settings: serde_json::Value, executors: &[(String, u32)]) -> PolicySet {
        let of = (self.bytes.as_slice(), self.pool);
        let set = set(&self.engine, of, &self.answers, settings, executors);
        set.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Loads a policy with the limits of a pool; batches may take their time, since a machine that
/// runs tests is slow.
pub fn load(bytes: Vec<u8>, pool: Pool) -> Result<Loaded, Error> {
    let mut limits = Limits { batch: std::time::Duration::from_secs(60), ..Limits::default() };
    // A machine that does other things at the same time.
    limits.interpreted.call = std::time::Duration::from_millis(100);
    let engine = Engine::new(limits)?;
    let null = serde_json::Value::Null;
    let mut kept = vec![set(&engine, (&bytes, pool), &[], null.clone(), &[])?];
    let mut answers = Vec::new();
    for question in ["health", "cadence", "recovery"] {
        match set(&engine, (&bytes, pool), &[question], null.clone(), &[]) {
            Ok(set) => {
                answers.push(question);
                kept.push(set);
            }
            Err(Error::WrongQuestion { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Loaded { engine, bytes, pool, answers, _kept: kept })
}

fn set(
    engine: &Engine,
    (bytes, pool): (&[u8], Pool),
    answers: &[&str],
    settings: serde_json::Value,
    executors: &[(String, u32)],
) -> Result<PolicySet, Error> {
    let named = |question| answers.contains(&question).then(|| NAME.to_owned());
    let route = Route {
        agents: Match::default(),
        health: named("health"),
        cadence: named("cadence"),
        recovery: named("recovery"),
    };
    let source = Source { name: NAME.into(), bytes: bytes.to_vec(), settings, pool };
    PolicySet::load(engine, &Classes::default(), vec![source], vec![route], executors)
}

/// The same sequence of observations gives the same bytes on two fresh instances, and again on
/// the first of them: nothing in it is random, and nothing is remembered.
pub fn is_the_same_on_fresh_instances(loaded: &Loaded) {
    let set = loaded.set(serde_json::Value::Null, &executors());
    let run = |worker: &mut Worker| -> Vec<[u64; 3]> {
        let observed = |step: u32| Observation {
            now_ms: u64::from(step) * 30_000,
            interval_ms: 30_000,
            queue_depth: f64::from(step * 37 % 900),
            queue_trend: f64::from(step % 7) / 3.0,
            errors: step % 23,
            latency_ms: f64::from(step * 91 % 3_000),
            signals: Signals(step & 0x7fff),
            ..Observation::default()
        };
        let answers = (0..200).map(|step| evaluate(&set, worker, &observed(step)));
        let bits = |answer: Evaluation| {
            let verdict = answer.verdict;
            [verdict.health as u64, verdict.score.to_bits(), verdict.interval_ms.to_bits()]
        };
        answers.map(bits).collect()
    };
    let (mut one, mut other) = (Worker::new(), Worker::new());
    let first = run(&mut one);
    assert_eq!(first, run(&mut other));
    assert_eq!(first, run(&mut one));
}

fn executors() -> Vec<(String, u32)> {
    vec![("restart".into(), 30_000), ("alert".into(), 60_000)]
}

fn evaluate(set: &PolicySet, worker: &mut Worker, seen: &Observation) -> Evaluation {
    let assignment = set.assign(TenantId(0), NORMAL, &BTreeMap::new());
    let mut memory = Memory::default();
    let answer = worker.evaluate(set, assignment, NORMAL, seen, &BTreeMap::new(), &mut memory);
    let faults: Vec<_> = answer.calls.iter().flatten().filter_map(|call| call.fault).collect();
    assert!(faults.is_empty(), "{faults:?} at {seen:?}");
    answer
}

/// Asks every case; answers how many there were.
pub fn hold(loaded: &Loaded, text: &str) -> usize {
    let file: Table = text.parse().unwrap();
    let known = ["class", "executors", "settings", "case"];
    assert!(file.keys().all(|key| known.contains(&key.as_str())), "{file:?}");
    let cases = file["case"].as_array().unwrap();
    for case in cases {
        let case = case.as_table().unwrap();
        let of = |key: &str| case.get(key).or_else(|| file.get(key));
        let settings = of("settings")
            .map_or(serde_json::Value::Null, |value| serde_json::to_value(value).unwrap());
        let executor = |value: &Value| {
            (word(&value["id"]).to_owned(), value["wait_ms"].as_integer().unwrap() as u32)
        };
        let executors: Vec<(String, u32)> = of("executors")
            .and_then(Value::as_array)
            .map(|list| list.iter().map(executor).collect())
            .unwrap_or_default();
        let set = loaded.set(settings, &executors);
        let whole = vec![Value::Table(case.clone())];
        let steps = case.get("step").map_or(&whole, |steps| steps.as_array().unwrap());
        let (mut worker, mut health) = (Worker::new(), Health::Healthy);
        for step in steps {
            let step = step.as_table().unwrap();
            let place = word(&case["name"]);
            match step.get("incident") {
                Some(incident) => hold_plan(&set, &mut worker, incident, &step["expect"], place),
                None => {
                    let seen = observation(step["observation"].as_table().unwrap(), health);
                    let answer = evaluate(&set, &mut worker, &seen);
                    health = answer.verdict.health;
                    hold_answer(&set, &answer, &step["expect"], place);
                }
            }
        }
    }
    cases.len()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)).unwrap()
}

fn observation(fields: &Table, health: Health) -> Observation {
    let mut seen =
        Observation { now_ms: 3_600_000, interval_ms: 30_000, health, ..Observation::default() };
    for (key, value) in fields {
        match key.as_str() {
            "status" => seen.status = status(word(value)),
            "errors" => seen.errors = number(value) as u32,
            "latency_ms" => seen.latency_ms = number(value),
            "queue_depth" => seen.queue_depth = number(value),
            "queue_trend" => seen.queue_trend = number(value),
            "signals" => {
                for signal in value.as_array().unwrap() {
                    seen.signals = seen.signals.with(match word(signal) {
                        "idle" => Signals::IDLE,
                        "progress_overdue" => Signals::PROGRESS_OVERDUE,
                        other => panic!("signal {other}"),
                    });
                }
            }
            other => panic!("observation.{other}"),
        }
    }
    seen
}

fn status(word: &str) -> Status {
    Status::ALL.iter().copied().find(|status| status.as_str() == word).unwrap()
}

fn hold_answer(set: &PolicySet, answer: &Evaluation, expected: &Value, place: &str) {
    for (key, value) in expected.as_table().unwrap() {
        let verdict = &answer.verdict;
        let is_met = match key.as_str() {
            "health" => verdict.health.as_str() == word(value),
            "score" => is_within(verdict.score, value),
            "interval_ms" => is_within(verdict.interval_ms, value),
            "health_reason" => set.text(answer.health_source).reason == word(value),
            "interval_reason" => set.text(verdict.source).reason == word(value),
            other => panic!("expect.{other}"),
        };
        assert!(is_met, "{place}: {key} is not {value}: {answer:?}");
    }
}

fn is_within(number: f64, bounds: &Value) -> bool {
    match bounds {
        Value::Table(bounds) => {
            bounds.get("min").is_none_or(|min| number >= self::number(min))
                && bounds.get("max").is_none_or(|max| number <= self::number(max))
        }
        exact => number == self::number(exact),
    }
}

fn hold_plan(set: &PolicySet, worker: &mut Worker, asked: &Value, expected: &Value, place: &str) {
    let mut incident = Incident {
        kind: IncidentKind::Silence,
        number: 0,
        silent_ms: 91_000,
        missed: 3,
        health: Health::Healthy,
        status: Status::Healthy,
        class: NORMAL,
        reachable: false,
    };
    for (key, value) in asked.as_table().unwrap() {
        match key.as_str() {
            "kind" => assert_eq!(word(value), "silence"),
            "number" => incident.number = number(value) as u32,
            other => panic!("incident.{other}"),
        }
    }
    let assignment = set.assign(TenantId(0), NORMAL, &BTreeMap::new());
    let (plan, call) = worker.propose(set, assignment, &incident);
    assert_eq!(call.unwrap().fault, None, "{place}");
    for (key, value) in expected.as_table().unwrap() {
        match key.as_str() {
            "plan" => {
                let wanted: Vec<&str> = value.as_array().unwrap().iter().map(word).collect();
                let planned: Vec<&str> =
                    plan.rungs.iter().map(|rung| rung.executor.as_str()).collect();
                assert_eq!(planned, wanted, "{place}");
            }
            "plan_reason" => assert_eq!(plan.reason, word(value), "{place}"),
            other => panic!("expect.{other}"),
        }
    }
}
