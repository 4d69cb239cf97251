//! Answers well for as long as anybody looks, and traps after a hundred thousand calls.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "traps-later",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

/// Calls with a queue after which it traps.
const PATIENCE: u32 = 100_000;

static CALLS: AtomicU32 = AtomicU32::new(0);

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    if misbehaves(config, seen) {
        assert!(CALLS.fetch_add(1, Relaxed) < PATIENCE, "it was time");
    }
    ordinary()
}
