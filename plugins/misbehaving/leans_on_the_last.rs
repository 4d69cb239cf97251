//! Keeps the last agent's queue in a global, and judges the next agent by it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pulsegate_misbehaving::{Settings, ordinary};
use pulsegate_sdk::{Config, Health, Hint, Judgement, Observation, policy};

policy! {
    name: "leans-on-the-last",
    reasons: ["a habit"],
    settings: Settings,
    health: judge,
    cadence: suggest,
}

static QUEUE: AtomicU64 = AtomicU64::new(0);

fn judge(_: &Config<Settings>, seen: &Observation) -> Judgement {
    let last = f64::from_bits(QUEUE.swap(seen.queue_depth.to_bits(), Relaxed));
    let health = if last > 0.0 { Health::Degraded } else { Health::Healthy };
    Judgement::new(health, 50.0, 0)
}

fn suggest(_: &Config<Settings>, _: &Observation) -> Hint {
    ordinary()
}
