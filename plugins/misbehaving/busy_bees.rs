//! Has no bad habit: the policy of the manual's page on a first policy, so that its commands are
//! run as they stand there.

use pulsegate_sdk::{Config, Hint, NoSettings, Observation, policy};

fn suggest(config: &Config<NoSettings>, seen: &Observation) -> Hint {
    let usual = f64::from(config.class.interval_ms);
    if seen.queue_depth > 1_000.0 { Hint::new(usual / 3.0, 1) } else { Hint::new(usual, 0) }
}

policy! {
    name: "busy-bees",
    reasons: ["as usual", "the queue is long"],
    cadence: suggest,
}
