//! Points to a reason that it does not have.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "returns-unknown-reason",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    if misbehaves(config, seen) { Hint::new(30_000.0, 7) } else { ordinary() }
}
