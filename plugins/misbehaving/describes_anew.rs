//! Wants another rule for early heartbeats each time that it is asked.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pulsegate_misbehaving::{Settings, ordinary};
use pulsegate_sdk::{Config, EarlyRule, Hint, Observation, policy};

policy! {
    name: "describes-anew",
    reasons: ["a habit"],
    settings: Settings,
    early_rules: early_rules,
    cadence: suggest,
}

static ASKED: AtomicU32 = AtomicU32::new(0);

fn early_rules(_: &Config<Settings>) -> Vec<EarlyRule> {
    let asked = f64::from(ASKED.fetch_add(1, Relaxed));
    vec![EarlyRule::above("queue_depth", asked + 1.0, asked)]
}

fn suggest(_: &Config<Settings>, _: &Observation) -> Hint {
    ordinary()
}
