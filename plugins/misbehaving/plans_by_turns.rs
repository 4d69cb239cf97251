//! Plans the executors in their order and the other way round, by turns.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pulsegate_misbehaving::{Settings, ordinary};
use pulsegate_sdk::{Config, Executor, Hint, Incident, Observation, Plan, Rung, policy};

policy! {
    name: "plans-by-turns",
    reasons: ["a habit"],
    settings: Settings,
    cadence: suggest,
    recovery: propose,
}

static TURN: AtomicU32 = AtomicU32::new(0);

fn suggest(_: &Config<Settings>, _: &Observation) -> Hint {
    ordinary()
}

fn propose(config: &Config<Settings>, _: &Incident) -> Plan {
    let rung = |executor: &Executor| Rung { executor: executor.id.clone(), wait_ms: 0 };
    let mut rungs: Vec<Rung> = config.executors.iter().take(8).map(rung).collect();
    if TURN.fetch_add(1, Relaxed) % 2 == 1 {
        rungs.reverse();
    }
    Plan { rungs, reason: 0 }
}
