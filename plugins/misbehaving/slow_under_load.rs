//! Answers right, and takes a millisecond or two for it once there is work: slower than any policy
//! should be, and faster than what is stopped.

use pulsegate_misbehaving::{Settings, misbehaves, ordinary};
use pulsegate_sdk::{Config, Hint, Observation, policy};

policy! {
    name: "slow-under-load",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

/// Each step needs the one before, so that no processor does two at once.
const STEPS: u32 = 1_000_000;

fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    if misbehaves(config, seen) {
        let step =
            |sum: u64, step: u32| (sum ^ u64::from(step)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        std::hint::black_box((0..STEPS).fold(1, step));
    }
    ordinary()
}
