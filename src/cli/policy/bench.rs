//! `pulsegate policy bench`.

use std::time::{Duration, Instant};

use pulsegate_policy::{Figure, Measured, PolicySet, measure};
use serde_json::json;

use super::subject::{Loaded, Subject, bytes, class, thousands, time};
use super::text::{print, print_json, table};
use super::{Outcome, refused};

/// Rounds when nothing is said: about a second for a policy that answers two questions.
const ROUNDS: usize = 200;

/// Arguments of `pulsegate policy bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Compare ratios, not figures: what else the machine does is in both parts \
                        of a ratio.\nExample: pulsegate policy bench queue-pressure")]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Class of the agents that are asked about
    #[arg(long, default_value = "normal", value_name = "NAME")]
    class: String,
    /// Rounds in which every kind of call has its turn of half a millisecond, 1 to 100000
    #[arg(long, default_value_t = ROUNDS, value_name = "N",
          value_parser = rounds)]
    rounds: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn rounds(text: &str) -> Result<usize, String> {
    let rounds = text.parse().ok().filter(|rounds| (1..=100_000).contains(rounds));
    rounds.ok_or_else(|| "must be a whole number from 1 to 100000".to_owned())
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.subject.load()?;
    let Loaded { engine, config, source } = &loaded;
    let (_, class) = class(&config.classes, &args.class)?;
    let executors = config.executor_waits();
    let began = Instant::now();
    PolicySet::load(engine, &config.classes, vec![source.clone()], Vec::new(), &executors)
        .map_err(|error| refused(&error))?;
    let load = began.elapsed();
    let measured =
        measure(engine, class, &executors, source, args.rounds).map_err(|error| refused(&error))?;
    if args.json {
        print_json(&document(&measured, load));
    } else {
        print(&describe(&source.name, &measured, load));
        if cfg!(debug_assertions) {
            eprintln!("pulsegate: a debug build: what is built in is slower than it should be");
        }
    }
    Ok(())
}

fn describe(name: &str, measured: &Measured, load: Duration) -> String {
    let empty_ns = measured.calls.first().map_or(f64::NAN, |empty| empty.median_ns);
    let row = |figure: &Figure| {
        let Figure { name, median_ns, low_ns, high_ns, .. } = figure;
        let built_in = built_in(measured, figure);
        vec![
            (*name).to_owned(),
            nanoseconds(*median_ns),
            format!("{} to {}", nanoseconds(*low_ns), nanoseconds(*high_ns)),
            format!("{:.2}", median_ns / empty_ns),
            built_in.map_or_else(String::new, |ns| format!("{:.1}", median_ns / ns)),
        ]
    };
    let rows: Vec<_> = measured.calls.iter().map(row).collect();
    let head = ["CALL", "NS AN AGENT", "10 % TO 90 %", "× EMPTY", "× BUILT IN"];
    format!(
        "{}\n{name}: {} bytes, compiled in {}, loaded in {}; an instance takes {} and {}\n",
        table(&head, &rows, &[1, 2, 3, 4]),
        thousands(measured.size),
        time(measured.compile),
        time(load),
        time(measured.instance),
        bytes(measured.memory_bytes)
    )
}

/// What the built-in policy takes for the same question, for a call of the policy.
fn built_in(measured: &Measured, of: &Figure) -> Option<f64> {
    let question = of.name.split(',').next().unwrap_or_default();
    let name = format!("{question}, built in");
    let found = measured.calls.iter().find(|figure| figure.name == name && figure.name != of.name);
    found.map(|figure| figure.median_ns)
}

fn nanoseconds(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}

fn document(measured: &Measured, load: Duration) -> serde_json::Value {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "calls": measured.calls.iter().map(|figure| json!({
            "name": figure.name,
            "rows": figure.rows,
            "median_ns": figure.median_ns,
            "p10_ns": figure.low_ns,
            "p90_ns": figure.high_ns,
        })).collect::<Vec<_>>(),
        "bytes": measured.size,
        "compile_ms": milliseconds(measured.compile),
        "load_ms": milliseconds(load),
        "instance_ms": milliseconds(measured.instance),
        "instance_memory_bytes": measured.memory_bytes,
        "debug_build": cfg!(debug_assertions),
    })
}
