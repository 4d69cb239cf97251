//! Wants another extreme at every heartbeat.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "flaps",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    let slow = seen.interval_ms < 20_000;
    match misbehaves(config, seen) {
        true if slow => Hint::new(300_000.0, 0),
        true => Hint::new(1_000.0, 0),
        false => ordinary(),
    }
}
