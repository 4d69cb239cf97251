//! Every bad habit, and the heartbeats that are answered all the same.

use std::time::Duration;

use pulsegate_core::{Incident, IncidentKind, Plan};
use pulsegate_wire::{Health, Status};

use super::*;

/// What the cadence call of a misbehaving policy ends with, flat and in rows.
fn ends_with(name: &str) -> (Evaluation, Evaluation) {
    let set = paced_by(limits(), name);
    let mut worker = Worker::new();
    let good = evaluate(&mut worker, &set, &with_queue(0.0));
    assert_eq!(good.verdict.source.policy, 1, "{name} behaves at first");
    assert_eq!(good.verdict.interval_ms, 30_000.0);
    let flat = evaluate(&mut worker, &set, &with_queue(1.0));
    let batch = evaluate_batch(&mut worker, &set, 1);
    let again = evaluate(&mut worker, &set, &with_queue(0.0));
    assert_eq!(again.verdict.source.policy, 1, "{name} gets a new instance at once");
    (flat, batch[0])
}

fn evaluate_batch(worker: &mut Worker, set: &PolicySet, count: usize) -> Vec<Evaluation> {
    let custom = BTreeMap::new();
    let mut memories = vec![Memory::default(); count];
    let mut items: Vec<_> = memories
        .iter_mut()
        .map(|memory| Item {
            assignment: assign(set, NORMAL),
            class: NORMAL,
            observation: with_queue(1.0),
            custom: &custom,
            memory,
        })
        .collect();
    let mut answers = Vec::new();
    worker.evaluate_batch(set, &mut items, &mut answers);
    assert_eq!(answers.len(), count);
    answers
}

/// The built-in policy answered the same heartbeat, and the call says why.
fn assert_replaced(evaluation: &Evaluation, fault: Fault, name: &str) {
    assert_eq!(evaluation.verdict.source.policy, 0, "{name}");
    assert_eq!(evaluation.verdict.interval_ms, 30_000.0, "{name}");
    let call = evaluation.calls[1].expect("it was called");
    assert_eq!((call.policy, call.fault), (1, Some(fault)), "{name}");
}

#[test]
fn a_policy_that_fails_is_replaced_in_the_same_heartbeat() {
    let cases = [
        ("spins", Fault::Timeout),
        ("traps", Fault::Trap),
        ("logs-endlessly", Fault::Timeout),
        ("returns-unknown-reason", Fault::BadAnswer),
        ("returns-oversized-rows", Fault::BadAnswer),
        ("returns-short-rows", Fault::BadAnswer),
    ];
    for (name, fault) in cases {
        let (flat, rows) = ends_with(name);
        assert_replaced(&flat, fault, name);
        assert_replaced(&rows, fault, name);
    }
}

#[test]
fn a_policy_that_eats_memory_is_stopped_at_its_limit_not_at_ours() {
    let limits = Limits { memory_bytes: 4 << 20, call: Duration::from_secs(10), ..limits() };
    let set = paced_by(limits, "eats-memory");
    let evaluation = evaluate(&mut Worker::new(), &set, &with_queue(1.0));
    assert_replaced(&evaluation, Fault::Trap, "eats-memory");
}

#[test]
fn any_nonsense_is_a_hint_that_core_must_make_fit() {
    let hint = |name| {
        let (flat, rows) = ends_with(name);
        assert_eq!(flat.verdict.source.policy, 1);
        let hints = [flat, rows].map(|evaluation| evaluation.verdict.interval_ms);
        assert_eq!(hints[0].to_bits(), hints[1].to_bits(), "{name}");
        hints[0]
    };
    assert!(hint("returns-nan").is_nan());
    assert_eq!(hint("returns-infinite"), f64::INFINITY);
    assert_eq!(hint("returns-negative"), f64::NEG_INFINITY);
    assert_eq!(hint("returns-huge"), 1e300);
}

#[test]
fn a_policy_that_flaps_is_answered_as_it_wishes_and_left_to_the_guard() {
    let set = paced_by(limits(), "flaps");
    let mut worker = Worker::new();
    let mut seen = with_queue(1.0);
    let mut hints = Vec::new();
    for _ in 0..4 {
        let hint = evaluate(&mut worker, &set, &seen).verdict.interval_ms;
        hints.push(hint);
        seen.interval_ms = hint as u32;
    }
    assert_eq!(hints, [1_000.0, 300_000.0, 1_000.0, 300_000.0]);
}

#[test]
fn a_plan_of_too_many_rungs_gives_way_to_the_built_in_plan() {
    let engine = Engine::new(limits()).expect("an engine");
    let name = "returns-many-rungs";
    let route = Route { recovery: Some(name.into()), ..Route::default() };
    let classes = Classes::default();
    let set = PolicySet::load(&engine, &classes, vec![source(name)], vec![route], &executors())
        .expect("a set");
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
    let mut worker = Worker::new();
    let assignment = assign(&set, NORMAL);
    let (plan, call) = worker.propose(&set, assignment, &incident);
    assert_eq!(plan, Plan { rungs: Vec::new(), reason: "a habit".into() });
    assert_eq!(call.expect("it was called").fault, None);
    incident.number = 1;
    let (plan, call) = worker.propose(&set, assignment, &incident);
    assert_eq!(plan.rungs.len(), 2, "every configured executor");
    assert_eq!(call.expect("it was called").fault, Some(Fault::BadAnswer));
}

#[test]
fn a_log_without_end_is_bounded_and_counted() {
    let set = paced_by(limits(), "logs-endlessly");
    let mut worker = Worker::new();
    evaluate(&mut worker, &set, &with_queue(1.0));
    let (lines, dropped) = set.engine.drain_log();
    assert_eq!(lines.len(), 8);
    assert!(dropped > 0);
    let line = LogLine {
        policy: "logs-endlessly".into(),
        level: LogLevel::Error,
        message: "are we there yet?".into(),
    };
    assert!(lines.iter().all(|known| *known == line));
}

#[test]
fn a_policy_that_keeps_failing_is_not_called_any_more() {
    let limits = Limits { breaker_faults: 3, ..limits() };
    let set = paced_by(limits, "traps");
    let mut worker = Worker::new();
    let mut fault = |depth| {
        let evaluation = evaluate(&mut worker, &set, &with_queue(depth));
        evaluation.calls[1].expect("a call").fault
    };
    for _ in 0..3 {
        assert_eq!(fault(1.0), Some(Fault::Trap));
    }
    assert!(set.is_broken(1));
    assert_eq!(fault(1.0), Some(Fault::BreakerOpen));
    assert_eq!(fault(0.0), Some(Fault::BreakerOpen), "not even a good one");
}

#[test]
fn the_breaker_closes_after_a_good_trial() {
    let limits = Limits { breaker_faults: 1, breaker_window: Duration::ZERO, ..limits() };
    let set = paced_by(limits, "traps");
    let mut worker = Worker::new();
    evaluate(&mut worker, &set, &with_queue(1.0));
    assert!(set.is_broken(1));
    // The window is over within a millisecond: the trial comes as soon as the clock has ticked.
    let closed = (0..1_000_000).any(|_| {
        evaluate(&mut worker, &set, &with_queue(0.0));
        !set.is_broken(1)
    });
    assert!(closed);
}

#[test]
fn a_batch_without_policy_time_is_answered_by_the_built_in_policy() {
    let set = paced_by(Limits { batch: Duration::ZERO, ..limits() }, "steady");
    let answers = evaluate_batch(&mut Worker::new(), &set, 100);
    assert!(answers.iter().all(|evaluation| evaluation.verdict.source.policy == 0));
    assert_replaced(&answers[0], Fault::BatchTime, "steady");
    assert!(!set.is_broken(1), "it is not the policy's fault");
}

/// Cadence calls of a policy until its breaker opens, at most so many; all answered by it.
fn calls_until_open(limits: Limits, depth: f64, most: usize) -> Option<usize> {
    let set = paced_by(limits, "slow-under-load");
    let mut worker = Worker::new();
    (1..=most).find(|_| {
        let evaluation = evaluate(&mut worker, &set, &with_queue(depth));
        assert_eq!(evaluation.verdict.source.policy, 1, "slow is no fault: its answer counts");
        let call = evaluation.calls[1].expect("it was called");
        assert_eq!(call.fault == Some(Fault::Slow), set.is_broken(1));
        set.is_broken(1)
    })
}

#[test]
fn a_policy_that_is_slow_again_and_again_is_left_alone() {
    let patient = Limits { call: Duration::from_secs(60), ..limits() };
    // A million steps in a row: no processor does them in a tenth of a millisecond.
    let strict = Limits { slow: Duration::from_micros(100), ..patient.clone() };
    assert_eq!(calls_until_open(strict, 1.0, 1_000), Some(4), "the first is timed, and slow");
    // However slow the machine is.
    let lenient = Limits { slow: Duration::from_secs(60), ..patient };
    assert_eq!(calls_until_open(lenient, 1.0, 100), None);
}
