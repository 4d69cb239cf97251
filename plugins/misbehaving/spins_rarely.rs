//! Never comes back for one depth of a queue in millions, which no check asks about.

use pulsegate_misbehaving::{RARE, Settings, ordinary};
use pulsegate_sdk::{Hint, Observation, policy};

policy! {
    name: "spins-rarely",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
}

fn suggest(seen: &Observation) -> Hint {
    if seen.queue_depth == RARE {
        loop {
            std::hint::black_box(seen);
        }
    }
    ordinary()
}
