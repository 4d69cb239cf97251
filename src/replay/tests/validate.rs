//! The estimate beside the truth.

use pulsegate_sim::gateway::Policies;
use pulsegate_sim::lives::{Crashes, Lives, Pauses, Surges};
use pulsegate_sim::network::Network;
use pulsegate_sim::server::{HOUR, MINUTE, Micros, SECOND};
use pulsegate_sim::world::Setting;
use serde_json::{Value, json};

use super::support::{candidate, run};

/// A policy by the words of the page.
fn policy(word: &str) -> (&'static str, Value) {
    let constant = |ms: u32, factor: f64| {
        ("queue-pressure", json!({ "fastest_ms": ms, "relaxed_factor": factor }))
    };
    match word {
        "steady" => ("steady", Value::Null),
        "queue-pressure" => ("queue-pressure", Value::Null),
        "fixed 15 s" => constant(15_000, 0.5),
        "tight 5 s" => constant(5_000, 0.1),
        other => panic!("no policy {other}"),
    }
}

fn enforced(word: &str) -> Policies {
    let (cadence, settings) = policy(word);
    Policies::Tuned { cadence: cadence.to_owned(), settings }
}

fn usual(agents: u32) -> Setting {
    let crashes = Crashes { every: 12 * HOUR, down: HOUR, warned: 0.0, leaves: 0.0 };
    Setting {
        agents,
        lives: Lives {
            crashes: Some(crashes),
            have_queue: true,
            tasks: Some(1),
            ..Lives::default()
        },
        ..Setting::default()
    }
}

fn scenarios(agents: u32) -> Vec<(&'static str, Setting)> {
    let of = |change: &dyn Fn(&mut Setting)| {
        let mut setting = usual(agents);
        change(&mut setting);
        setting
    };
    vec![
        ("steady", of(&|_| ())),
        ("loss-1", of(&|s| s.network = Network { loss: 0.01, ..Network::default() })),
        (
            "surges",
            of(&|s| {
                s.lives.surges = Some(Surges { every: 2 * HOUR, lasts: 5 * MINUTE, depth: 2_000 });
            }),
        ),
        (
            "pauses",
            of(&|s| {
                s.lives.pauses = Some(Pauses { every: HOUR, median: 5 * SECOND, sigma: 1.5 });
            }),
        ),
    ]
}

const PAIRS: [(&str, &str); 6] = [
    ("steady", "steady"),
    ("steady", "queue-pressure"),
    ("queue-pressure", "steady"),
    ("steady", "fixed 15 s"),
    ("steady", "tight 5 s"),
    ("tight 5 s", "queue-pressure"),
];

#[test]
#[ignore = "tables for the manual, by hand"]
fn table() {
    let lasts: Micros = 12 * HOUR;
    for (name, setting) in scenarios(40) {
        for (from, to) in PAIRS {
            let (tried, settings) = policy(to);
            // TWO questions: queue-pressure only paces.
            let (before, report) =
                run(&setting, lasts, &enforced(from), Some(candidate(tried, settings)));
            let (after, _) = run(&setting, lasts, &enforced(to), None);
            let report = report.expect("it was replayed");
            let estimate = &report.estimate;
            let mean = |run: &super::support::Run| run.truth.suspected.time.map_or(0.0, |t| t.mean);
            println!(
                "{name:8} {from:>15} -> {to:<15} beats {:>7} -> {:>7} est {:>9.0} [{:.0} {:.0}] err {:+.2}%  \
                 shift true {:+.2} est {:+.2} [{:+.2} {:+.2}] n {} true n {}/{}; false true {} -> {} est {} [{} {}] rec {} breaks {} unexplained {} undirected {}",
                before.heartbeats,
                after.heartbeats,
                estimate.heartbeats.middle,
                estimate.heartbeats.low,
                estimate.heartbeats.high,
                (estimate.heartbeats.middle / after.heartbeats as f64 - 1.0) * 100.0,
                mean(&after) - mean(&before),
                estimate.detection.shift.middle,
                estimate.detection.shift.low,
                estimate.detection.shift.high,
                estimate.detection.silences,
                before.truth.crashes,
                after.truth.crashes,
                before.truth.false_suspicions.count,
                after.truth.false_suspicions.count,
                estimate.false_suspicions.estimated.middle,
                estimate.false_suspicions.estimated.low,
                estimate.false_suspicions.estimated.high,
                estimate.false_suspicions.recorded,
                estimate.breaks,
                report.scope.unexplained,
                estimate.undirected,
            );
        }
    }
}
