//! Answers by the number of times it was asked: a little slower at each call.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "counts-calls",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

static CALLS: AtomicU32 = AtomicU32::new(0);

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    let calls = CALLS.fetch_add(1, Relaxed);
    if misbehaves(config, seen) { Hint::new(30_000.0 + f64::from(calls), 0) } else { ordinary() }
}
