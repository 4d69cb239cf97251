//! Has no bad habit: counts an agent's heartbeats in its memory and adds a custom metric, so that
//! tests see both come and go.

use pulsegate_misbehaving::Settings;
use pulsegate_sdk::{Context, Health, Hint, Judgement, Observation, policy};

policy! {
    name: "remembers",
    reasons: ["a habit"],
    settings: Settings,
    metrics: ["extra", "other"],
    memory_columns: 2,
    health: judge,
    cadence: suggest,
}

fn judge(_: &Observation, of: &mut Context) -> Judgement {
    of.memory_mut()[0] += 10.0;
    Judgement::new(Health::Degraded, of.memory()[0], 0)
}

fn suggest(_: &Observation, of: &mut Context) -> Hint {
    of.memory_mut()[1] += 1.0;
    Hint::new(of.memory()[1] * 1_000.0 + of.metric("extra").unwrap_or(0.5), 0)
}
