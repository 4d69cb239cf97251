//! Traps for one depth of a queue in millions, which no check asks about.

use pulsegate_misbehaving::{RARE, Settings, ordinary};
use pulsegate_sdk::{Hint, Observation, policy};

policy! {
    name: "traps-rarely",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(seen: &Observation) -> Hint {
    assert!(seen.queue_depth != RARE, "that one");
    ordinary()
}
