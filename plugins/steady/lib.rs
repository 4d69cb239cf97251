//! `steady`: the defaults as a policy. Judges by what the agent reports, its errors, its queue
//! and its processor; paces by that health and the class. Without settings it answers as the
//! gateway's built-in policy does.

use pulsegate_sdk::{Config, Health, Hint, Judgement, Observation, Signals, Status, policy};
use serde::Deserialize;

/// When an agent is degraded or unhealthy, and how much faster it beats then. A threshold that is
/// absent is not looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Errors in the window (the current and the last full minute) from which an agent is
    /// degraded; 5. Lower: more agents beat fast for errors that pass.
    pub degraded_errors: u32,
    /// Errors in the window from which an agent is unhealthy; 50.
    pub unhealthy_errors: u32,
    /// Queue depth from which an agent is degraded; absent, since only its operator knows how
    /// long a queue is long.
    pub degraded_queue_depth: Option<f64>,
    /// Queue depth from which an agent is unhealthy; absent.
    pub unhealthy_queue_depth: Option<f64>,
    /// Processor use of the host from which an agent is degraded, in per cent; 95, since its own
    /// heartbeats may soon be late. Above 100: not looked at.
    pub degraded_cpu_percent: f64,
    /// Degraded agents beat this many times as often; 3.
    pub degraded_factor: u32,
    /// Idle agents wait this many intervals; 2. The class's cap holds all the same.
    pub idle_factor: u32,
    /// Interval of unhealthy and stalled agents, in milliseconds; 5,000, or that of degraded ones
    /// where it is shorter.
    pub alarm_interval_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            degraded_errors: 5,
            unhealthy_errors: 50,
            degraded_queue_depth: None,
            unhealthy_queue_depth: None,
            degraded_cpu_percent: 95.0,
            degraded_factor: 3,
            idle_factor: 2,
            alarm_interval_ms: 5_000,
        }
    }
}

const REASONS: [&str; 10] = [
    "default interval of the class",
    "idle: beats less often",
    "degraded: beats more often",
    "unhealthy or stalled: watched closely",
    "nothing speaks against it",
    "the agent says so",
    "errors in the window",
    "no progress for longer than the agent allows",
    "the queue is long",
    "the processor is busy",
];

const DEFAULT: u32 = 0;
const IDLE: u32 = 1;
const DEGRADED: u32 = 2;
const ALARM: u32 = 3;
const FINE: u32 = 4;
const REPORTED: u32 = 5;
const ERRORS: u32 = 6;
const OVERDUE: u32 = 7;
const QUEUE: u32 = 8;
const PROCESSOR: u32 = 9;

policy! {
    name: "steady",
    reasons: REASONS,
    settings: Settings,
    health: judge,
    cadence: suggest,
}

/// Judges by the worst thing that is known.
#[must_use]
pub fn judge(config: &Config<Settings>, seen: &Observation) -> Judgement {
    let settings = &config.settings;
    let reaches = |value: f64, limit: Option<f64>| limit.is_some_and(|limit| value >= limit);
    let stalled = Judgement::new(Health::Stalled, 0.0, OVERDUE);
    let unhealthy = |reason| Judgement::new(Health::Unhealthy, 20.0, reason);
    let degraded = |reason| Judgement::new(Health::Degraded, 60.0, reason);
    if seen.signals.contains(Signals::PROGRESS_OVERDUE) && !is_at_rest(seen) {
        stalled
    } else if seen.errors >= settings.unhealthy_errors {
        unhealthy(ERRORS)
    } else if reaches(seen.queue_depth, settings.unhealthy_queue_depth) {
        unhealthy(QUEUE)
    } else if matches!(seen.status, Status::Degraded | Status::Recovering) {
        degraded(REPORTED)
    } else if seen.errors >= settings.degraded_errors {
        degraded(ERRORS)
    } else if reaches(seen.queue_depth, settings.degraded_queue_depth) {
        degraded(QUEUE)
    } else if seen.cpu_percent >= settings.degraded_cpu_percent {
        degraded(PROCESSOR)
    } else {
        Judgement::new(Health::Healthy, 100.0, FINE)
    }
}

/// Whether the agent says that it has no work: then it cannot be stalled at any.
fn is_at_rest(seen: &Observation) -> bool {
    seen.signals.contains(Signals::HAS_ACTIVE_TASKS)
        && seen.active_tasks == 0.0
        && seen.queue_depth == 0.0
}

/// Paces by the health just judged.
#[must_use]
pub fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    let settings = &config.settings;
    let usual = config.class.interval_ms;
    let faster = usual / settings.degraded_factor.max(1);
    match seen.health {
        Health::Unhealthy | Health::Stalled => {
            Hint::new(f64::from(settings.alarm_interval_ms.min(faster)), ALARM)
        }
        Health::Degraded => Hint::new(f64::from(faster), DEGRADED),
        Health::Healthy if seen.signals.contains(Signals::IDLE) => {
            Hint::new(f64::from(usual) * f64::from(settings.idle_factor), IDLE)
        }
        Health::Healthy => Hint::new(f64::from(usual), DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(settings: Settings, change: impl FnOnce(&mut Observation)) -> (Health, u32) {
        let config = Config { settings, ..Config::default() };
        let mut seen = Observation::default();
        change(&mut seen);
        let judgement = judge(&config, &seen);
        (judgement.health, judgement.reason)
    }

    #[test]
    fn thresholds_that_are_not_set_are_not_looked_at() {
        let crowded = |seen: &mut Observation| {
            seen.queue_depth = 1e9;
        };
        assert_eq!(judged(Settings::default(), crowded), (Health::Healthy, FINE));
    }

    #[test]
    fn the_worst_thing_decides() {
        let settings = Settings {
            degraded_queue_depth: Some(100.0),
            unhealthy_queue_depth: Some(1_000.0),
            ..Settings::default()
        };
        let judged = |change: fn(&mut Observation)| judged(settings.clone(), change);
        assert_eq!(judged(|o| o.queue_depth = 100.0), (Health::Degraded, QUEUE));
        assert_eq!(judged(|o| o.queue_depth = 1_000.0), (Health::Unhealthy, QUEUE));
        assert_eq!(judged(|o| o.cpu_percent = 95.0), (Health::Degraded, PROCESSOR));
        assert_eq!(judged(|o| o.errors = 5), (Health::Degraded, ERRORS));
        assert_eq!(judged(|o| o.errors = 50), (Health::Unhealthy, ERRORS));
        assert_eq!(judged(|o| o.status = Status::Recovering), (Health::Degraded, REPORTED));
        let stalled = |o: &mut Observation| {
            o.signals = Signals::PROGRESS_OVERDUE;
            o.errors = 50;
        };
        assert_eq!(judged(stalled), (Health::Stalled, OVERDUE));
        let resting = |o: &mut Observation| {
            o.signals = Signals::PROGRESS_OVERDUE | Signals::HAS_ACTIVE_TASKS;
        };
        assert_eq!(judged(resting), (Health::Healthy, FINE));
    }

    #[test]
    fn an_alarm_is_never_slower_than_a_degradation() {
        let mut config = Config::<Settings>::default();
        config.class.interval_ms = 2_000;
        let seen = Observation { health: Health::Stalled, ..Observation::default() };
        assert_eq!(suggest(&config, &seen), Hint::new(666.0, ALARM));
    }

    #[test]
    fn a_factor_of_zero_divides_by_nothing() {
        let settings = Settings { degraded_factor: 0, ..Settings::default() };
        let config = Config { settings, ..Config::default() };
        let seen = Observation { health: Health::Degraded, ..Observation::default() };
        assert_eq!(suggest(&config, &seen).interval_ms, 30_000.0);
    }

    #[test]
    fn the_cases_hold() {
        pulsegate_sdk::testing::run(&POLICY, include_str!("cases.toml"));
    }
}
