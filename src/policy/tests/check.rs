//! The check: every good policy passes, and every habit that it can find is told with the
//! observation that shows it.

use pulsegate_core::{Incident, IncidentKind};
use pulsegate_wire::Health;

use super::*;

fn engine() -> Engine {
    Engine::new(limits()).expect("an engine")
}

fn checked(name: &str) -> Result<Report, Error> {
    check(&engine(), &Classes::default(), &executors(), source(name))
}

/// For a gateway that has no executor.
fn checked_alone(name: &str) -> Result<Report, Error> {
    check(&engine(), &Classes::default(), &[], source(name))
}

#[test]
fn every_reference_policy_passes() {
    for (name, bytes) in reference::ALL {
        let report = checked(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(report.description.name, *name);
        assert_eq!((report.size, report.digest.len()), (bytes.len(), 64));
        assert!(report.digest.starts_with(&report.revision) && report.revision.len() == 12);
        assert!(report.imports.iter().all(|import| import.starts_with("pulsegate:policy/")));
        assert_eq!(report.early_rules.len(), 3, "one entry a class");
        assert!(report.questions >= 3 * 50, "{}", report.questions);
        assert!(report.answers >= 2 * report.questions, "{} answers", report.answers);
        let limit = Limits::default().memory_bytes;
        assert!((1 << 16..limit).contains(&report.memory_bytes), "{}", report.memory_bytes);
        assert!(!report.slowest.function.is_empty() && report.slowest.elapsed > Duration::ZERO);
    }
    assert_eq!(checked("steady").expect("it passes").exports, ["health", "cadence"]);
    assert_eq!(checked("ladder").expect("it passes").exports, ["recovery"]);
}

#[test]
fn a_policy_with_metrics_and_memory_passes() {
    let report = checked("remembers").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.description.metrics, ["extra", "other"]);
    assert_eq!(report.description.memory_columns, 2);
}

#[test]
fn what_a_policy_says_in_error_is_what_admission_says() {
    assert!(matches!(checked("exports-nothing"), Err(Error::MissingExport { .. })));
    assert!(matches!(checked("describes-badly"), Err(Error::Description { .. })));
    let bytes = b"no component".to_vec();
    let error = check(&engine(), &Classes::default(), &[], Source { bytes, ..source("steady") });
    assert!(matches!(error, Err(Error::NotAComponent { .. })), "{error:?}");
}

/// Where a policy fails, and on what.
fn faulty(name: &str) -> (&'static str, String, String) {
    match checked(name) {
        Err(Error::Faulty { policy, function, seen, reason, .. }) if policy == name => {
            (function, seen, reason)
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_policy_that_fails_on_an_observation_is_refused_with_it() {
    for (name, function, reason) in [
        ("traps", "cadence.suggest-rows", "trap"),
        ("spins", "cadence.suggest-rows", "timeout"),
        ("returns-unknown-reason", "cadence.suggest-rows", "bad_answer"),
        ("returns-short-rows", "cadence.suggest-rows", "bad_answer"),
    ] {
        let told = faulty(name);
        assert_eq!(told, (function, "queue_depth = 1.0".to_owned(), reason.to_owned()), "{name}");
    }
    // How fast memory can be had decides which limit it meets first.
    let (_, seen, reason) = faulty("eats-memory");
    assert!(seen == "queue_depth = 1.0" && ["trap", "timeout"].contains(&reason.as_str()));
    let (function, seen, _) = faulty("returns-many-rungs");
    assert_eq!(function, "recovery.propose");
    assert!(seen.starts_with("kind = \"silence\", number = 1"), "{seen}");
}

#[test]
fn an_interval_of_any_size_is_no_fault() {
    for name in ["returns-nan", "returns-infinite", "returns-negative", "returns-huge", "flaps"] {
        checked(name).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// How a policy is not a function of what it is asked.
fn impure(name: &str) -> String {
    match checked(name) {
        Err(error @ Error::Impure { .. }) => {
            assert_eq!(error.policy(), Some(name));
            error.to_string()
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn answers_that_depend_on_the_calls_before_are_found_and_shown() {
    let error = impure("counts-calls");
    let whole = "policy counts-calls: cadence.suggest does not always answer the same for class \
                 critical on queue_depth = 1.0: at first 30";
    assert!(error.starts_with(whole), "{error}");
    assert!(error.contains("on a fresh instance, asked in reverse, 30"), "{error}");
    assert!(error.ends_with("; an answer may depend on nothing but the question"), "{error}");
    let error = impure("leans-on-the-last");
    assert!(error.contains("health.judge does not always answer the same"), "{error}");
    assert!(error.contains("healthy, score 50.0") && error.contains("degraded"), "{error}");
}

#[test]
fn answers_that_depend_on_other_rows_are_found_and_shown() {
    let error = impure("mixes-rows");
    assert!(error.contains("cadence.suggest-rows does not"), "{error}");
    assert!(error.contains("at first 30000.0 ms"), "{error}");
    assert!(error.contains("among other rows 10000.0 ms"), "{error}");
}

#[test]
fn plans_and_descriptions_that_change_are_found() {
    let error = impure("plans-by-turns");
    assert!(error.contains("recovery.propose"), "{error}");
    assert!(error.contains("[alert, restart]") && error.contains("[restart, alert]"), "{error}");
    let error = checked_alone("plans-by-turns").expect_err("over executors it may get").to_string();
    assert!(error.contains("[command, restart, replace, alert]"), "{error}");
    let error = checked("describes-anew").expect_err("it changes").to_string();
    assert!(error.ends_with("it is not the same after some calls"), "{error}");
}

#[test]
fn a_habit_that_needs_more_calls_than_a_check_makes_is_left_to_the_limits() {
    checked("traps-later").unwrap_or_else(|error| panic!("{error}"));
    let set = paced_by(limits(), "traps-later");
    let mut worker = Worker::new();
    let mut faults = 0;
    for _ in 0..200_001 {
        let answer = evaluate(&mut worker, &set, &with_queue(1.0));
        assert_eq!(answer.verdict.interval_ms, 30_000.0);
        faults += usize::from(answer.calls[1].is_some_and(|call| call.fault.is_some()));
    }
    assert_eq!(faults, 1, "a new instance begins anew");
}

#[test]
fn one_instance_is_asked_by_hand() {
    let class = &Classes::default()[NORMAL];
    let none = BTreeMap::new();
    let candidate = Candidate::load(&engine(), "it", &component("remembers")).expect("it loads");
    assert_eq!(candidate.exports(), ["health", "cadence"]);
    assert_eq!(candidate.size(), component("remembers").len());
    let mut trial = candidate.start(class, &[], &serde_json::Value::Null).expect("it starts");
    let seen = Observation::ordinary(class);
    let mut memory = [0.0; 2];
    for count in 1..=3 {
        let judgement = trial.judge(&seen, &none, &mut memory).expect("it answers");
        assert_eq!(judgement.score, 10.0 * f64::from(count));
        assert_eq!((judgement.health, judgement.reason.as_str()), (Health::Degraded, "a habit"));
    }
    let custom = BTreeMap::from([("extra".to_owned(), 7.0)]);
    let hint = trial.suggest(&seen, &custom, &mut [0.0; 2]).expect("it answers");
    assert_eq!(hint.interval_ms, 1_007.0);
    assert_eq!(trial.suggest(&seen, &custom, &mut []), Err(Fault::BadAnswer), "no memory given");
    let incident = Incident::ordinary(IncidentKind::Silence, NORMAL, class);
    assert_eq!(trial.propose(&incident), Err(Fault::BadAnswer), "it plans nothing");

    let settings = serde_json::json!({ "never": 1 });
    let error = candidate.start(class, &[], &settings).expect_err("an unknown setting");
    assert!(matches!(error, Error::Settings { .. }), "{error}");
}

#[test]
fn every_kind_of_call_of_a_policy_is_measured() {
    let class = &Classes::default()[NORMAL];
    let measured = |name: &str| measure(&engine(), class, &executors(), &source(name), 3);
    let steady = measured("steady").expect("it answers");
    let names: Vec<&str> = steady.calls.iter().map(|figure| figure.name).collect();
    assert_eq!(
        names,
        [
            "an empty call",
            "health, built in",
            "cadence, built in",
            "health, flat",
            "health, one row",
            "health, rows of 64",
            "cadence, flat",
            "cadence, one row",
            "cadence, rows of 64"
        ]
    );
    for figure in &steady.calls {
        let Figure { low_ns, median_ns, high_ns, .. } = *figure;
        assert!(0.0 < low_ns && low_ns <= median_ns && median_ns <= high_ns, "{figure:?}");
    }
    assert!(steady.compile > Duration::ZERO && steady.instance > Duration::ZERO);
    assert_eq!(steady.size, component("steady").len());
    assert!(steady.memory_bytes >= 1 << 16);
    let ladder = measured("ladder").expect("it answers");
    assert_eq!(ladder.calls.last().map(|figure| figure.name), Some("recovery"));
    let error = measured("traps").expect_err("a queue is reported");
    assert!(matches!(error, Error::Canary { function: "cadence.suggest", .. }), "{error}");
}
