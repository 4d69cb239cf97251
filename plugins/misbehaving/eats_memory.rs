//! Allocates without end.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "eats-memory",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    let mut eaten = Vec::new();
    while misbehaves(config, seen) {
        eaten.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
    ordinary()
}
