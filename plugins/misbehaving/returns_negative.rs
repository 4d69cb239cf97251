//! Proposes to have beaten long ago.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "returns-negative",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    if misbehaves(config, seen) { Hint::new(f64::NEG_INFINITY, 0) } else { ordinary() }
}
