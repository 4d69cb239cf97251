//! Short ways to make observations and answers.

use crate::{
    EarlyRule, Health, Hint, Incident, IncidentKind, Judgement, Observation, Signals, Status,
};

impl Default for Observation {
    /// A healthy agent at its default interval that reports nothing; for tests.
    fn default() -> Self {
        Self {
            now_ms: 0,
            status: Status::Healthy,
            health: Health::Healthy,
            signals: Signals::empty(),
            interval_ms: 30_000,
            lateness_ms: 0,
            missed: 0,
            queue_depth: 0.0,
            queue_trend: 0.0,
            active_tasks: 0.0,
            cpu_percent: 0.0,
            memory_bytes: 0.0,
            errors: 0,
            latency_ms: 0.0,
            progress_age_ms: 0,
            fleet_load: 0.0,
        }
    }
}

impl Default for Incident {
    /// The first silence of an agent that cannot be reached; for tests.
    fn default() -> Self {
        Self {
            kind: IncidentKind::Silence,
            number: 0,
            silent_ms: 91_000,
            missed: 3,
            health: Health::Healthy,
            status: Status::Healthy,
            reachable: false,
        }
    }
}

impl Judgement {
    /// A health with its score, 0 (worst) to 100, and the index of its reason.
    #[must_use]
    pub fn new(health: Health, score: f64, reason: u32) -> Self {
        Self { health, reason, score }
    }
}

impl Hint {
    /// An interval in milliseconds, with the index of its reason.
    #[must_use]
    pub fn new(interval_ms: f64, reason: u32) -> Self {
        Self { interval_ms, reason }
    }
}

impl EarlyRule {
    /// Beat early when a metric rises above a threshold; sleep until it has come back to `rearm`.
    #[must_use]
    pub fn above(metric: &str, threshold: f64, rearm: f64) -> Self {
        Self { metric: metric.into(), above: Some(threshold), below: None, rearm }
    }

    /// Beat early when a metric falls below a threshold; sleep until it has come back to `rearm`.
    #[must_use]
    pub fn below(metric: &str, threshold: f64, rearm: f64) -> Self {
        Self { metric: metric.into(), above: None, below: Some(threshold), rearm }
    }
}
