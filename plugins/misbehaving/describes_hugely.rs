//! Describes itself at length: a reason of ten megabytes.

use pulsegate_misbehaving::{Settings, ordinary};
use pulsegate_sdk::{Hint, Observation, policy};

policy! {
    name: "describes-hugely",
    reasons: [huge()],
    settings: Settings,
    cadence: suggest,
}

fn huge() -> &'static str {
    Box::leak("a".repeat(10 << 20).into_boxed_str())
}

fn suggest(_: &Observation) -> Hint {
    ordinary()
}
