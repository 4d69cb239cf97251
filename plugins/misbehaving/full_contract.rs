//! Has no bad habit: uses every word of the contract once. A copy that was built against version
//! 1.0 is kept beside the tests of the host, and must answer for ever as it did.

use pulsegate_misbehaving::Settings;
use pulsegate_sdk::{
    Config, Context, EarlyRule, Executor, Health, Hint, Incident, IncidentKind, Judgement,
    Observation, Plan, Rung, Status, log, policy,
};

policy! {
    name: "full-contract",
    revision: "1.0.0",
    reasons: ["a sum", "an interval", "silence", "ill health"],
    settings: Settings,
    metrics: ["extra"],
    memory_columns: 1,
    early_rules: early_rules,
    health: judge,
    cadence: suggest,
    recovery: propose,
}

fn early_rules(config: &Config<Settings>) -> Vec<EarlyRule> {
    let interval = f64::from(config.class.interval_ms);
    vec![EarlyRule::above("extra", interval, 1.0), EarlyRule::below("cpu_percent", 1.0, 2.0)]
}

/// Every field with a weight of its own, so that none can be lost or swapped unnoticed.
fn weigh(seen: &Observation) -> f64 {
    let words = [f64::from(seen.status as u8), f64::from(seen.health as u8)];
    seen.now_ms as f64 / 1_024.0
        + words[0] * 3.0
        + words[1] * 5.0
        + f64::from(seen.signals.bits()) * 7.0
        + f64::from(seen.interval_ms) * 11.0
        + seen.lateness_ms as f64 * 13.0
        + f64::from(seen.missed) * 17.0
        + seen.queue_depth * 19.0
        + seen.queue_trend * 23.0
        + seen.active_tasks * 29.0
        + seen.cpu_percent * 31.0
        + seen.memory_bytes / 4_096.0
        + f64::from(seen.errors) * 37.0
        + seen.latency_ms * 41.0
        + seen.progress_age_ms as f64 * 43.0
        + seen.fleet_load * 47.0
}

fn judge(seen: &Observation, of: &mut Context) -> Judgement {
    if seen.missed > 0 {
        log::write(log::Level::Warn, "heartbeats are missing");
    }
    of.memory_mut()[0] += 1.0;
    let score = weigh(seen) + of.metric("extra").unwrap_or(-0.5) + of.memory()[0] / 2.0;
    let health = match seen.status {
        Status::Healthy | Status::Busy => Health::Healthy,
        Status::Degraded => Health::Degraded,
        Status::Recovering => Health::Unhealthy,
        Status::Stopping => Health::Stalled,
    };
    Judgement::new(health, score, 0)
}

fn suggest(config: &Config<Settings>, seen: &Observation, of: &mut Context) -> Hint {
    of.memory_mut()[0] -= 1.0;
    let class = &config.class;
    let cap = f64::from(class.cap_ms) - f64::from(class.suspect_grace_ms);
    Hint::new(weigh(seen) + cap + of.memory()[0] / 4.0, 1)
}

fn propose(config: &Config<Settings>, incident: &Incident) -> Plan {
    let sum = u64::from(incident.number)
        + incident.silent_ms
        + u64::from(incident.missed)
        + incident.health as u64
        + incident.status as u64
        + u64::from(incident.reachable);
    let wait_ms = u32::try_from(sum).unwrap_or(u32::MAX);
    let rung = |executor: &Executor| Rung { executor: executor.id.clone(), wait_ms };
    let reason = if incident.kind == IncidentKind::Silence { 2 } else { 3 };
    Plan { rungs: config.executors.iter().map(rung).collect(), reason }
}
