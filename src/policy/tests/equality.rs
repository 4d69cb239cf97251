//! `steady` against the built-in policy, and the two forms against each other.

use std::cell::RefCell;

use proptest::prelude::*;
use pulsegate_core::{Verdict, VerdictSource, builtin};
use pulsegate_wire::{Health, Status};

use super::*;

pub(super) fn observations() -> impl Strategy<Value = Observation> {
    let names = (0..Status::ALL.len(), 0..Health::ALL.len(), 0..1_u32 << Signals::COUNT);
    let counts = (0..1_u64 << 53, 1_000..300_000_u32, -1_000_000..1_000_000_i64, 0..100_u32);
    let or_none = |most: f64| prop_oneof![Just(0.0), 0.0..most];
    let metrics = (or_none(1e6), -100.0..100.0, or_none(1e3), 0.0..100.0, or_none(1e12));
    let rest = (0..120_u32, 0.0..1e5, 0..1_u64 << 40, 0.0..1.0);
    (names, counts, metrics, rest).prop_map(|(names, counts, metrics, rest)| Observation {
        status: Status::ALL[names.0],
        health: Health::ALL[names.1],
        signals: Signals(names.2),
        now_ms: counts.0,
        interval_ms: counts.1,
        lateness_ms: counts.2,
        missed: counts.3,
        queue_depth: metrics.0,
        queue_trend: metrics.1,
        active_tasks: metrics.2,
        cpu_percent: metrics.3,
        memory_bytes: metrics.4,
        errors: rest.0,
        latency_ms: rest.1,
        progress_age_ms: rest.2,
        fleet_load: rest.3,
    })
}

fn steady(engine: &Engine) -> PolicySet {
    let name = || Some("steady".to_owned());
    let route = Route { health: name(), cadence: name(), ..Route::default() };
    PolicySet::load(engine, &Classes::default(), vec![source("steady")], vec![route], &[])
        .expect("a set")
}

fn without_source(verdict: Verdict) -> Verdict {
    Verdict { source: VerdictSource::default(), ..verdict }
}

#[test]
fn steady_answers_as_the_built_in_policy_does() {
    let set = steady(&Engine::new(limits()).expect("an engine"));
    let worker = RefCell::new(Worker::new());
    let mut runner = proptest::test_runner::TestRunner::default();
    let strategy = (observations(), 0..3_u8);
    let outcome = runner.run(&strategy, |(seen, class)| {
        let class = ClassId(class);
        let assignment = assign(&set, class);
        let mut memory = Memory::default();
        let mut worker = worker.borrow_mut();
        let answer = worker.evaluate(&set, assignment, class, &seen, &BTreeMap::new(), &mut memory);
        let expected = builtin::decide(&seen, &set.classes[class]);
        prop_assert_eq!(without_source(answer.verdict), without_source(expected));
        prop_assert_eq!(answer.verdict.source.policy, 1);
        prop_assert_eq!(answer.health_source.policy, 1);
        prop_assert_eq!(answer.calls.map(|call| call.and_then(|call| call.fault)), [None; 2]);
        Ok(())
    });
    outcome.expect("they are equal");
}

#[test]
fn a_batch_is_answered_as_each_heartbeat_by_itself() {
    let engine = Engine::new(limits()).expect("an engine");
    let sources = vec![source("steady"), source("queue-pressure")];
    let routes = vec![
        Route {
            agents: Match { classes: vec!["critical".into()], ..Match::default() },
            cadence: Some("queue-pressure".into()),
            ..Route::default()
        },
        Route { health: Some("steady".into()), ..Route::default() },
        Route {
            agents: Match { classes: vec!["normal".into()], ..Match::default() },
            cadence: Some("steady".into()),
            ..Route::default()
        },
    ];
    let set = PolicySet::load(&engine, &Classes::default(), sources, routes, &[]).expect("a set");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(32));
    let strategy = proptest::collection::vec((observations(), 0..3_u8), 0..200);
    let workers = RefCell::new((Worker::new(), Worker::new()));
    let outcome = runner.run(&strategy, |beats| {
        let (one, many) = &mut *workers.borrow_mut();
        let custom = BTreeMap::new();
        let mut memories = vec![Memory::default(); beats.len()];
        let mut items: Vec<_> = beats
            .iter()
            .zip(&mut memories)
            .map(|(&(observation, class), memory)| {
                let class = ClassId(class);
                Item {
                    assignment: assign(&set, class),
                    class,
                    observation,
                    custom: &custom,
                    memory,
                }
            })
            .collect();
        let mut answers = Vec::new();
        many.evaluate_batch(&set, &mut items, &mut answers);
        prop_assert_eq!(answers.len(), beats.len());
        for (&(seen, class), answer) in beats.iter().zip(&answers) {
            let class = ClassId(class);
            let mut memory = Memory::default();
            let alone = one.evaluate(&set, assign(&set, class), class, &seen, &custom, &mut memory);
            prop_assert_eq!(answer.verdict, alone.verdict);
            prop_assert_eq!(answer.health_source, alone.health_source);
        }
        Ok(())
    });
    outcome.expect("they are equal");
}

#[test]
fn cadence_sees_the_health_just_judged() {
    let set = steady(&Engine::new(limits()).expect("an engine"));
    let mut seen = with_queue(0.0);
    seen.health = Health::Stalled;
    let answer = evaluate(&mut Worker::new(), &set, &seen);
    assert_eq!((answer.verdict.health, answer.verdict.interval_ms), (Health::Healthy, 30_000.0));
    seen.errors = 1_000;
    let answer = evaluate(&mut Worker::new(), &set, &seen);
    assert_eq!((answer.verdict.health, answer.verdict.interval_ms), (Health::Unhealthy, 5_000.0));
}

#[test]
fn what_no_machine_agrees_on_never_reaches_a_policy() {
    let set = paced_by(limits(), "queue-pressure");
    let mut worker = Worker::new();
    for odd in [f64::NAN, f64::MIN_POSITIVE / 4.0, f64::INFINITY, f64::NEG_INFINITY] {
        let seen = Observation { queue_trend: odd, latency_ms: odd, ..with_queue(odd) };
        let answer = evaluate(&mut worker, &set, &seen);
        assert_eq!(answer.verdict.source.policy, 1);
        assert!((5_000.0..=45_000.0).contains(&answer.verdict.interval_ms));
    }
}
