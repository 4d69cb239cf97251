//! The estimate beside the truth.

use pulsegate_sim::gateway::Policies;
use pulsegate_sim::lives::{Crashes, Lives, Pauses, Surges};
use pulsegate_sim::network::Network;
use pulsegate_sim::server::{HOUR, MINUTE, Micros, SECOND};
use pulsegate_sim::world::Setting;
use serde_json::{Value, json};

use super::support::{Run, candidate, run};
use crate::Estimated;

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

/// An estimate and what came of it: the same world, lived under the candidate.
struct Compared {
    recorded: u64,
    true_heartbeats: u64,
    /// How much later real silences are noticed, in seconds.
    true_shift: f64,
    /// Living agents suspected under the enforced policy, and under the candidate.
    true_suspicions: [u64; 2],
    estimate: Estimated,
    unexplained: u64,
}

fn compare(setting: &Setting, lasts: Micros, (from, to): (&str, &str)) -> Compared {
    let (tried, settings) = policy(to);
    let tried = candidate(tried, settings);
    let (before, report) = run(setting, lasts, &enforced(from), Some(tried));
    let (after, _) = run(setting, lasts, &enforced(to), None);
    let report = report.expect("it was replayed");
    let noticed = |run: &Run| run.truth.suspected.time.map_or(0.0, |time| time.mean);
    Compared {
        recorded: before.heartbeats,
        true_heartbeats: after.heartbeats,
        true_shift: noticed(&after) - noticed(&before),
        true_suspicions: [&before, &after].map(|run| run.truth.false_suspicions.count),
        estimate: report.estimate,
        unexplained: report.scope.unexplained,
    }
}

impl Compared {
    /// Estimate by truth, less one, in per cent.
    fn error_percent(&self) -> f64 {
        (self.estimate.heartbeats.middle / self.true_heartbeats as f64 - 1.0) * 100.0
    }
}

/// The margins are wider than the errors that the manual states: these worlds are smaller, and a
/// mean over some sixty silences is off by a second or two by chance alone.
#[test]
fn the_estimate_is_what_comes_of_it_in_the_simulator() {
    for (name, mut setting) in scenarios(20) {
        let crashes = Crashes { every: 2 * HOUR, down: 20 * MINUTE, warned: 0.0, leaves: 0.0 };
        setting.lives.crashes = Some(crashes);
        for pair in [PAIRS[1], PAIRS[2], PAIRS[3]] {
            let found = compare(&setting, 8 * HOUR, pair);
            let (estimate, what) = (&found.estimate, format!("{name}, {pair:?}"));
            assert_eq!((found.unexplained, estimate.breaks), (0, 0), "{what}");
            assert_eq!(estimate.recorded, found.recorded, "{what}");
            let error = found.error_percent();
            assert!(error.abs() < 3.0, "{what}: heartbeats are off by {error:.2} %");
            let shift = estimate.detection.shift;
            let off = shift.middle - found.true_shift;
            assert!(off.abs() < 5.0, "{what}: silences are noticed {off:+.2} s off");
            assert!((shift.low..=shift.high).contains(&found.true_shift), "{what}: {shift:?}");
            let [before, after] = found.true_suspicions;
            let suspected = &estimate.false_suspicions;
            assert_eq!(suspected.recorded, before, "{what}");
            // A handful more or less is chance.
            let bounds = suspected.estimated;
            let lowest = bounds.low * 0.8 - 5.0;
            let highest = bounds.high * 1.2 + 5.0;
            assert!((lowest..=highest).contains(&(after as f64)), "{what}: {after} {bounds:?}");
        }
    }
}

/// The table of the manual.
#[test]
#[ignore = "it takes minutes; the manual shows what it prints"]
#[allow(clippy::print_stdout, reason = "a table to be pasted")]
fn the_table_of_the_manual() {
    for (name, setting) in scenarios(200) {
        for (from, to) in PAIRS {
            let found = compare(&setting, 24 * HOUR, (from, to));
            let (estimate, suspected) = (&found.estimate, &found.estimate.false_suspicions);
            let (shift, bounds) = (estimate.detection.shift, suspected.estimated);
            println!(
                "| {name} | {from} | {to} | {} | {} | {:.0} | {:+.2} % | {:+.1} s | {:+.1} s | {} \
                 | {} | {:.0} ({:.0} to {:.0}) |",
                found.recorded,
                found.true_heartbeats,
                estimate.heartbeats.middle,
                found.error_percent(),
                found.true_shift,
                shift.middle,
                found.true_suspicions[0],
                found.true_suspicions[1],
                bounds.middle,
                bounds.low,
                bounds.high,
            );
        }
    }
}
