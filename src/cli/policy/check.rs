//! `pulsegate policy check`.

use pulsegate_policy::{self as policy, Limits, Report};
use serde_json::json;

use super::subject::{Subject, bytes, thousands, time};
use super::text::{print, print_json};
use super::{Outcome, refused};
use crate::cli::policy::inspect::{early_rules, facts, imports};

/// Arguments of `pulsegate policy check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 when a gateway would refuse it, or should not be given it.\n\
                        Example: pulsegate policy check busy-bees.wasm --settings bees.toml")]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Print JSON: what was found, or the first thing that is wrong
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.subject.load()?;
    let (classes, executors) = (&loaded.config.classes, loaded.config.executor_waits());
    let name = loaded.source.name.clone();
    let outcome = policy::check(&loaded.engine, classes, &executors, loaded.source);
    let limits = loaded.config.policy_limits();
    match (&outcome, args.json) {
        (Ok(report), true) => print_json(&document(report, &limits)),
        (Ok(report), false) => print(&describe(&name, report, &limits)),
        (Err(error), true) => {
            print_json(&json!({ "fit": false, "refused": error.to_string() }));
        }
        (Err(_), false) => {}
    }
    outcome.map(|_| ()).map_err(|error| refused(&error))
}

fn describe(name: &str, report: &Report, limits: &Limits) -> String {
    let slowest = &report.slowest;
    let mut rows_of = vec![
        (
            "checked".to_owned(),
            format!(
                "{} questions, {} answers compared: always the same",
                thousands(report.questions),
                thousands(report.answers)
            ),
        ),
        (
            "memory".to_owned(),
            format!(
                "{} in use, at most {}",
                bytes(report.memory_bytes),
                bytes(limits.memory_bytes)
            ),
        ),
        (
            "slowest call".to_owned(),
            format!(
                "{}, at most {} ms ({})",
                time(slowest.elapsed),
                limits.call.as_millis(),
                slowest.function
            ),
        ),
    ];
    let digest = (report.revision.as_str(), report.digest.as_str());
    let mut facts = facts(&report.description, digest, report.size, &report.exports);
    facts.push(imports(&report.imports));
    facts.extend(early_rules(&report.early_rules));
    facts.append(&mut rows_of);
    let width = facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let lines = facts.iter().map(|(key, value)| format!("  {key:width$}  {value}\n"));
    format!("{name}: fit\n{}", lines.collect::<String>())
}

fn document(report: &Report, limits: &Limits) -> serde_json::Value {
    let description = &report.description;
    json!({
        "fit": true,
        "name": description.name,
        "version": description.version,
        "revision": report.revision,
        "sha256": report.digest,
        "bytes": report.size,
        "exports": report.exports,
        "imports": report.imports,
        "metrics": description.metrics,
        "memory_columns": description.memory_columns,
        "early_rules": report.early_rules.iter().map(|(class, rules)| {
            json!({ "class": class, "rules": rules })
        }).collect::<Vec<_>>(),
        "reasons": description.reasons,
        "questions": report.questions,
        "answers_compared": report.answers,
        "memory_bytes": report.memory_bytes,
        "memory_bytes_max": limits.memory_bytes,
        "slowest_call": {
            "function": report.slowest.function,
            "ms": report.slowest.elapsed.as_secs_f64() * 1e3,
        },
        "call_ms_max": limits.call.as_millis() as u64,
        "admission_ms": report.admission.as_secs_f64() * 1e3,
    })
}
