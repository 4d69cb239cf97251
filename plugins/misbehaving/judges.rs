//! Has no bad habit: judges and does not pace, as a policy may, so that tests see who paces then.

use pulsegate_misbehaving::Settings;
use pulsegate_sdk::{Health, Judgement, Observation, policy};

policy! {
    name: "judges",
    reasons: ["the queue is empty", "there is a queue"],
    settings: Settings,
    health: judge,
}

fn judge(seen: &Observation) -> Judgement {
    if seen.queue_depth > 0.0 {
        Judgement::new(Health::Degraded, 60.0, 1)
    } else {
        Judgement::new(Health::Healthy, 100.0, 0)
    }
}
