//! Plans more rungs than a plan may have.

use pulsegate_misbehaving::Settings;
use pulsegate_sdk::{Config, Incident, Plan, Rung, policy};

policy! {
    name: "returns-many-rungs",
    reasons: ["a habit"],
    settings: Settings,
    recovery: propose,
}

fn propose(config: &Config<Settings>, incident: &Incident) -> Plan {
    let bad = config.settings.always || incident.number > 0;
    let rung = |at: usize| {
        let executor = &config.executors[at % config.executors.len()];
        Rung { executor: executor.id.clone(), wait_ms: 1 }
    };
    let count = if bad && !config.executors.is_empty() { 1_000 } else { 0 };
    Plan { rungs: (0..count).map(rung).collect(), reason: 0 }
}
