//! Proposes an interval beyond any integer.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "returns-huge",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    if misbehaves(config, seen) { Hint::new(1e300, 0) } else { ordinary() }
}
