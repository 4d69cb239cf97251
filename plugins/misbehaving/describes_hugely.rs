//! Describes itself at length: a reason of ten megabytes.

use pulsegate_misbehaving::{Settings, ordinary};
use pulsegate_sdk::{Hint, Observation, policy};

static HUGE: [u8; 10 << 20] = [b'a'; 10 << 20];

policy! {
    name: "describes-hugely",
    reasons: [huge()],
    settings: Settings,
    cadence: suggest,
}

fn huge() -> &'static str {
    std::str::from_utf8(&HUGE).unwrap_or_default()
}

fn suggest(_: &Observation) -> Hint {
    ordinary()
}
