//! The exact part.

use std::collections::BTreeMap;

use pulsegate_core::cadence::{Config as Cadence, Guard};
use pulsegate_core::{Classes, Millis, Signals};
use pulsegate_journal::{HeartbeatRecord, Observed};
use pulsegate_policy::{Limits, Source};
use pulsegate_sim::gateway::Policies;
use pulsegate_sim::lives::{Lives, Surges};
use pulsegate_sim::server::{HOUR, MINUTE};
use pulsegate_sim::world::Setting;
use pulsegate_wire::event::{FloorMoved, LeaseEnded, LeaseGranted, Silent};
use pulsegate_wire::{Event, EventKind, Health};
use serde_json::{Value, json};

use super::support::{candidate, made, replay, run, source};
use crate::{Candidate, Error, Filter, Options};

fn seen(record: &mut HeartbeatRecord) -> &mut Observed {
    record.observed.as_mut().expect("it was made with one")
}

fn surging() -> Setting {
    let surges = Surges { every: HOUR, lasts: 5 * MINUTE, depth: 2_000 };
    let lives = Lives { surges: Some(surges), have_queue: true, ..Lives::default() };
    Setting { agents: 20, lives, ..Setting::default() }
}

#[test]
fn the_policy_that_was_enforced_differs_nowhere_and_every_interval_is_explained() {
    let enforced = Policies::reference("steady", "steady", "");
    let tried = candidate("steady", Value::Null);
    let (run, report) = run(&surging(), 6 * HOUR, &enforced, Some(tried));
    let report = report.expect("it was replayed");
    assert_eq!(report.scope.heartbeats, run.heartbeats);
    assert_eq!((report.scope.unexplained, report.exact.differing), (0, 0));
    assert_eq!(report.exact.interval.same, run.heartbeats);
    assert_eq!(report.exact.enforced.turns, report.exact.candidate.turns);
    assert!(report.exact.examples.is_empty() && report.exact.top.is_empty());
    // What a directive says, its agent does: the estimate is the record, but for its last beats.
    let estimate = &report.estimate;
    assert_eq!(estimate.heartbeats.low, estimate.heartbeats.high, "nobody was silent");
    assert!((estimate.heartbeats.middle - run.heartbeats as f64).abs() <= 20.0, "{estimate:?}");
}

#[test]
fn a_policy_that_only_paces_keeps_the_recorded_healths() {
    let enforced = Policies::reference("steady", "queue-pressure", "");
    let tried = candidate("queue-pressure", Value::Null);
    let (_, report) = run(&surging(), 6 * HOUR, &enforced, Some(tried));
    let report = report.expect("it was replayed");
    assert!(!report.policies.judges);
    assert_eq!((report.scope.unexplained, report.exact.differing), (0, 0));
    assert!(report.exact.enforced.turns > 0, "surges make intervals turn");
    assert_eq!(report.exact.enforced.turns, report.exact.candidate.turns);
    assert_eq!(report.estimate.recorded_early > 0, report.estimate.early > 0);
}

#[test]
fn a_policy_that_only_judges_is_paced_by_steady_with_its_healths() {
    let records = made(3, 8, 30_000, |agent, _, record| {
        seen(record).queue_depth = if agent == 0 { 5.0 } else { 0.0 };
    });
    let tried = candidate("judges", Value::Null);
    let report = replay(tried, Options::default(), &records, &[]);
    assert_eq!((report.policies.judges, report.policies.paced_by.as_str()), (true, "steady"));
    let counted = [(Health::Healthy, Health::Healthy, 16), (Health::Healthy, Health::Degraded, 8)];
    assert_eq!(report.exact.health, counted);
    // Steady lets degraded agents beat three times as often.
    assert_eq!((report.exact.interval.same, report.exact.interval.shorter), (16, 8));
    assert_eq!(report.exact.interval.seconds.min, -20.0);
    let example = &report.exact.examples[0];
    assert_eq!(example.kind, "healthy becomes degraded");
    assert_eq!((example.agent_id.as_str(), example.sequence), ("agent-0", 1));
    assert_eq!(example.candidate.health_reason, "there is a queue");
    assert_eq!((example.enforced.interval_ms, example.candidate.interval_ms), (30_000, 10_000));
    assert_eq!(example.seen["queue_depth"], 5.0);
    let top: Vec<&str> = report.exact.top.iter().map(|agent| agent.agent_id.as_str()).collect();
    assert_eq!(top, ["agent-0"]);
}

#[test]
fn a_policy_that_answers_nothing_of_a_heartbeat_is_refused() {
    let load = |source: Source| Candidate::load(source, &Classes::default(), Limits::default());
    let error = load(source("ladder", Value::Null)).expect_err("it only recovers");
    assert!(matches!(error, Error::NoQuestion { .. }), "{error}");
    let text = Source { bytes: b"no component".into(), ..source("steady", Value::Null) };
    assert!(matches!(load(text), Err(Error::Policy(_))));
    let settings = json!({ "full_depth": "deep" });
    assert!(matches!(load(source("queue-pressure", settings)), Err(Error::Policy(_))));
}

#[test]
fn memory_and_custom_metrics_are_carried_for_each_agent_in_its_order() {
    // It counts an agent's heartbeats, wants so many seconds, and adds a custom metric.
    let extra =
        |agent: u64, sequence: u64| if (sequence + agent).is_multiple_of(4) { 900.0 } else { 0.5 };
    let records = made(3, 20, 70_000, |agent, sequence, record| {
        if extra(agent, sequence) > 1.0 {
            record.custom = BTreeMap::from([("extra".to_owned(), 900.0), ("else".to_owned(), 1.0)]);
        }
    });
    let report = replay(candidate("remembers", Value::Null), Options::default(), &records, &[]);
    let (mut sum, config) = (0.0, Cadence::default());
    for agent in 0..3 {
        let mut guard = Guard::new(30_000);
        for sequence in 1..=20 {
            let now = Millis(1_000 + (sequence - 1) * 70_000 + agent);
            let hint = sequence as f64 * 1_000.0 + extra(agent, sequence);
            sum += f64::from(guard.step(now, hint, 70_000, &config).stored_ms);
        }
    }
    assert_eq!(report.exact.candidate.mean_interval, sum / 60.0 / 1_000.0);
    assert_eq!(report.exact.faults.count, 0);
    assert_eq!(report.exact.health, [(Health::Healthy, Health::Degraded, 60)]);
}

#[test]
fn a_fault_is_that_of_its_own_heartbeat_and_breakers_are_counted() {
    // It traps where there is a queue: ten times within a minute, and once an hour later.
    let records = made(40, 3, 3_600_000, |agent, sequence, record| {
        let traps = (sequence == 1 && agent < 10) || (sequence == 2 && agent == 7);
        seen(record).queue_depth = f64::from(u8::from(traps));
    });
    let report = replay(candidate("traps", Value::Null), Options::default(), &records, &[]);
    let faults = &report.exact.faults;
    assert_eq!(faults.kinds, [("trap".to_owned(), 11)]);
    assert_eq!((faults.count, faults.breaker_trips), (11, 1));
    assert!(!report.scope.given_up);
    // The built-in policy answered in its place, and everything else is as it was.
    assert_eq!(report.exact.differing, 0);
    let example = &report.exact.examples[0];
    assert_eq!(example.candidate.fault.as_deref(), Some("trap"));
    assert_eq!(example.candidate.policy, "builtin");
}

#[test]
fn a_policy_that_only_fails_ends_the_replay_early_and_says_so() {
    let records = made(1_100, 3, 30_000, |_, _, record| seen(record).queue_depth = 1.0);
    let mut tried =
        crate::Replay::new(candidate("returns-unknown-reason", Value::Null), Options::default());
    let mut taken = 0;
    for record in &records {
        let bytes = prost::Message::encode_to_vec(record);
        let view = pulsegate_journal::HeartbeatView::decode(&bytes).unwrap();
        tried.handle_heartbeat(&view);
        taken += 1;
        if tried.has_given_up() {
            break;
        }
    }
    let report = tried.finish();
    assert!(report.scope.given_up && taken < records.len());
    assert_eq!(report.exact.faults.kinds[0].0, "bad_answer");
}

#[test]
fn what_is_left_out_is_counted() {
    let records = made(4, 4, 30_000, |agent, sequence, record| {
        if sequence == 2 {
            record.observed = None;
        }
        match agent {
            1 => record.class = "background".to_owned(),
            2 => record.class = "gone".to_owned(),
            3 => record.tenant = "red".to_owned(),
            _ => {}
        }
    });
    let counted = |filter: Filter| {
        let options = Options { filter, ..Options::default() };
        let report = replay(candidate("steady", Value::Null), options, &records, &[]);
        (report.scope.heartbeats, report.scope.filtered, report.scope.without_observation)
    };
    assert_eq!(counted(Filter::default()), (12, 0, 4));
    let class = Some("background".to_owned());
    assert_eq!(counted(Filter { class, ..Filter::default() }), (3, 12, 1));
    let tenant = Some("red".to_owned());
    assert_eq!(counted(Filter { tenant, ..Filter::default() }), (3, 12, 1));
    let at = |seconds: u64| Some(super::support::WALL_MS + seconds * 1_000);
    let (since_ms, until_ms) = (at(61), at(91));
    assert_eq!(counted(Filter { since_ms, until_ms, ..Filter::default() }), (4, 12, 0));
    let report = replay(candidate("steady", Value::Null), Options::default(), &records, &[]);
    assert_eq!(report.scope.unknown_class, 3);
}

#[test]
fn numbers_that_no_gateway_wrote_do_no_harm() {
    let odd = [0, 1, 999, u64::MAX / 2, u64::MAX];
    let records = made(2, 40, 30_000, |agent, sequence, record| {
        let at_ms = odd[((sequence * 7 + agent) % 5) as usize];
        record.at_ms = at_ms;
        record.sequence = at_ms;
        record.hint_ms = [f64::NAN, f64::INFINITY, -1.0][(sequence % 3) as usize];
        let long = if sequence.is_multiple_of(4) { u32::MAX } else { 0 };
        (record.stored_ms, record.effective_ms, record.sent_ms) = (long, long, long.max(1));
        record.judged = "splendid".to_owned();
        let seen = seen(record);
        (seen.now_ms, seen.lateness_ms, seen.interval_ms) = (at_ms, i64::MIN, long);
        (seen.status, seen.health, seen.signals) = (-5, 99, u32::MAX >> (sequence % 32));
        (seen.queue_depth, seen.progress_age_ms) = (f64::NAN, u64::MAX);
    });
    let silent = Silent { last_receipt_ms: u64::MAX, in_force_ms: u32::MAX, ..Silent::default() };
    let event = Event {
        tenant: "default".to_owned(),
        agent_id: "agent-1".to_owned(),
        kind: Some(EventKind::Suspected(silent)),
        ..Event::default()
    };
    let events = [event.clone(), Event { at_ms: 500, ..event }];
    for name in ["steady", "queue-pressure", "remembers"] {
        let tried = candidate(name, Value::Null);
        let report = replay(tried, Options::default(), &records, &events);
        assert_eq!((report.scope.heartbeats, report.exact.faults.count), (80, 0), "{name}");
    }
}

#[test]
fn an_agent_met_in_mid_life_goes_on_from_its_recorded_interval() {
    let records = made(2, 6, 45_000, |_, sequence, record| {
        seen(record).signals = Signals::DIRECTIVE_SEEN.0;
        (record.stored_ms, record.effective_ms, record.sent_ms) = (45_000, 45_000, 45_000);
        record.hint_ms = 45_000.0;
        record.sequence = 100 + sequence;
    });
    let report = replay(candidate("steady", Value::Null), Options::default(), &records, &[]);
    assert_eq!((report.scope.met_mid_life, report.scope.unexplained), (2, 0));
    assert_eq!(report.exact.interval.shorter, 10, "steady wants 30 s from the second on");
    assert_eq!(report.exact.interval.same, 2);
}

#[test]
fn intervals_that_the_configuration_does_not_explain_are_counted() {
    let records = made(1, 10, 30_000, |_, _, record| {
        (record.hint_ms, record.stored_ms) = (20_000.0, 30_000);
    });
    let report = replay(candidate("steady", Value::Null), Options::default(), &records, &[]);
    assert_eq!(report.scope.unexplained, 9, "the first only says where the guard stands");
}

#[test]
fn leases_and_the_fleets_floor_hold_for_the_candidate_too() {
    let at = |at_ms: u64, kind: EventKind| Event {
        at_ms,
        tenant: "default".to_owned(),
        kind: Some(kind),
        ..Event::default()
    };
    let granted = LeaseGranted {
        name: "leader".to_owned(),
        holder: "agent-0".to_owned(),
        ttl_ms: 15_000,
        ..LeaseGranted::default()
    };
    let ended = LeaseEnded { name: "leader".to_owned(), ..LeaseEnded::default() };
    let events = [
        at(500, EventKind::LeaseGranted(granted)),
        at(40_000, EventKind::LeaseEnded(ended)),
        at(60_000, EventKind::FloorMoved(FloorMoved { base_ms: 50_000 })),
    ];
    let records = made(1, 4, 30_000, |_, sequence, record| {
        if sequence <= 3 {
            seen(record).signals |= Signals::HOLDS_LEASE.0;
        }
        // The second is capped by the lease; the last raised by the floor.
        let capped = sequence <= 2;
        record.stored_ms = if capped { 5_000 } else { record.stored_ms };
        record.effective_ms = if capped { 5_000 } else { 30_000 };
    });
    let report = replay(candidate("steady", Value::Null), Options::default(), &records, &events);
    assert_eq!(report.scope.unknown_lease, 1, "the third: its lease had ended");
    assert_eq!(report.scope.unexplained, 1, "the third, which the test made up");
    let interval = &report.exact.interval;
    assert_eq!(interval.seconds.max, 20.0, "the floor of 50 s beside a record of 30 s");
    assert!(interval.same >= 2, "{interval:?}");
}
