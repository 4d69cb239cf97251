//! Describes itself against the rules: with a name that is none.

use pulsegate_misbehaving::{Settings, ordinary};
use pulsegate_sdk::{Hint, Observation, policy};

policy! {
    name: "No Name!",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(_: &Observation) -> Hint {
    ordinary()
}
