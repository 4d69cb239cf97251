//! Proposes an interval that is no number.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "returns-nan",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    if misbehaves(config, seen) { Hint::new(f64::NAN, 0) } else { ordinary() }
}
