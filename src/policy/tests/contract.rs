//! What was built against version 1.0 of the contract keeps loading and keeps its answers.
//!
//! `contract/v1_0.wasm` is `plugins/misbehaving/full_contract.rs` as the first release of
//! `pulsegate:policy@1.0.0` built it (the folder of its builder's crates, which stands in the text
//! of a panic, is blanked), and is never built again: `cargo test -p pulsegate-policy
//! the_component_of_today` says where today's build of the same source lies. It exports all three
//! questions, reads a custom metric, keeps a number, writes to the log and has rules for early
//! heartbeats, so every word of the contract passes through it. Should a test here fail, then not
//! this file is wrong, but a change of the host that is not allowed within 1.x.

use std::collections::BTreeMap;

use pulsegate_core::{Incident, IncidentKind};
use pulsegate_wire::{EarlyRule, Health, Status};

use super::*;

/// Built against 1.0; never replaced.
const V1_0: &[u8] = include_bytes!("contract/v1_0.wasm");

/// Observations in which every field, status, health and signal takes part.
fn seen() -> Vec<Observation> {
    let first = Observation {
        now_ms: (1 << 53) - 1,
        status: Status::Stopping,
        health: Health::Stalled,
        signals: Signals((1 << Signals::COUNT) - 1),
        interval_ms: 300_000,
        lateness_ms: -4_000,
        missed: 3,
        queue_depth: 1_200.5,
        queue_trend: -2.25,
        active_tasks: 7.0,
        cpu_percent: 99.5,
        memory_bytes: 1_073_741_824.0,
        errors: 41,
        latency_ms: 12.125,
        progress_age_ms: 86_400_000,
        fleet_load: 0.75,
    };
    let words = Status::ALL.iter().zip(Health::ALL.iter().cycle());
    let words = words.map(|(&status, &health)| Observation {
        status,
        health,
        signals: Signals(1 << (status as u32)),
        ..Observation::ordinary(&Classes::default()[NORMAL])
    });
    std::iter::once(first).chain(words).collect()
}

/// Everything that a component answers, one line each.
fn answers(bytes: &[u8]) -> Vec<String> {
    let engine = Engine::new(limits()).expect("an engine");
    let class = &Classes::default()[NORMAL];
    let candidate = Candidate::load(&engine, "it", bytes).unwrap_or_else(|error| panic!("{error}"));
    let mut trial = candidate
        .start(class, &executors(), &serde_json::json!({ "always": true }))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut lines = vec![format!("{:?}", trial.description())];
    let custom = BTreeMap::from([("extra".to_owned(), 1_000.0)]);
    let (mut judged, mut paced) = ([0.0], [0.0]);
    for seen in seen() {
        let judgement = trial.judge(&seen, &custom, &mut judged).expect("a judgement");
        let hint = trial.suggest(&seen, &BTreeMap::new(), &mut paced).expect("a hint");
        lines.push(format!("{} {:?} {:?}", judgement.health, judgement.score, judgement.reason));
        lines.push(format!("{:?} {:?} {judged:?} {paced:?}", hint.interval_ms, hint.reason));
    }
    for kind in [IncidentKind::Silence, IncidentKind::Health] {
        let usual = Incident::ordinary(kind, NORMAL, class);
        let plan = trial.propose(&Incident { number: 5, reachable: true, ..usual });
        let plan = plan.expect("a plan");
        let rungs: Vec<_> =
            plan.rungs.iter().map(|rung| format!("{} {}", rung.executor, rung.wait_ms)).collect();
        lines.push(format!("{} {:?}", rungs.join(", "), plan.reason));
    }
    let (written, dropped) = engine.drain_log();
    lines.extend(written.iter().map(|line| format!("{:?} {}", line.level, line.message)));
    lines.push(format!("{dropped} lines dropped"));
    lines
}

/// What it answered when 1.0 was new.
const ANSWERED: &str = include_str!("contract/v1_0.txt");

#[test]
fn a_component_of_1_0_answers_what_it_answered() {
    let answered = answers(V1_0);
    assert_eq!(answered, ANSWERED.lines().collect::<Vec<_>>(), "{}", answered.join("\n"));
}

#[test]
fn the_component_of_today_answers_the_same() {
    let name = "full-contract";
    let built = concat!(env!("OUT_DIR"), "/full-contract.wasm");
    assert_eq!(answers(&component(name)), answers(V1_0), "today's is {built}");
}

#[test]
fn a_component_of_1_0_passes_the_check_and_its_rules_are_kept() {
    let engine = Engine::new(limits()).expect("an engine");
    let source = Source { bytes: V1_0.to_vec(), ..source("steady") };
    let report = check(&engine, &Classes::default(), &executors(), source);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.exports, ["health", "cadence", "recovery"]);
    let (class, rules) = &report.early_rules[1];
    let rule = |metric: &str, above, below, rearm| EarlyRule {
        metric: metric.into(),
        above,
        below,
        rearm,
    };
    let wanted =
        [rule("extra", Some(30_000.0), None, 1.0), rule("cpu_percent", None, Some(1.0), 2.0)];
    assert_eq!((class.as_str(), &rules[..]), ("normal", &wanted[..]));
}
