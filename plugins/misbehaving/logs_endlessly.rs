//! Writes to the log without end.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, log, policy};

policy! {
    name: "logs-endlessly",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    while misbehaves(config, seen) {
        log::write(log::Level::Error, "are we there yet?");
    }
    ordinary()
}
