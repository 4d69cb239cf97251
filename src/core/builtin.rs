//! The policy that is always there: what a heartbeat is judged by when no other policy is
//! configured, or when that one failed.
//!
//! Healthy agents keep the default interval of their class; idle ones beat half as often;
//! degraded and recovering ones three times as often; unhealthy and stalled ones every 5 s.

use alloc::string::String;

use pulsegate_wire::{Health, Status};

use crate::{Class, Incident, Observation, Plan, Rung, Signals, Verdict, VerdictSource};

/// Name of the built-in policy in explanations and metrics.
pub const NAME: &str = "builtin";

/// Errors in the window from which an agent is degraded. Source: chosen; an error now and then is
/// ordinary, five within two minutes are not.
pub const DEGRADED_ERRORS: u32 = 5;
/// Errors in the window from which an agent is unhealthy. Source: chosen, ten times as many.
pub const UNHEALTHY_ERRORS: u32 = 50;
/// Processor use of the host from which an agent is degraded, in percent: its own heartbeats may
/// soon be late. Source: chosen.
pub const SATURATED_CPU_PERCENT: f64 = 95.0;
/// Interval of unhealthy and stalled agents, in milliseconds, or that of degraded ones where it
/// is shorter. Source: chosen; short enough to see a recovery at once, and six times the load of a
/// default heartbeat for the few it is about.
pub const ALARM_INTERVAL_MS: u32 = 5_000;

/// Texts of the reasons that this policy gives, by index: of cadence first, then of health.
pub const REASONS: &[&str] = &[
    "default interval of the class",
    "idle: half as often",
    "degraded: three times as often",
    "unhealthy or stalled: every 5 s",
    "nothing speaks against it",
    "the agent says so",
    "errors in the window",
    "no progress for longer than the agent allows",
    "the processor is saturated",
];

const DEFAULT: u16 = 0;
const IDLE: u16 = 1;
const DEGRADED: u16 = 2;
const ALARM: u16 = 3;
const FINE: u16 = 4;
const REPORTED: u16 = 5;
const ERRORS: u16 = 6;
const OVERDUE: u16 = 7;
const SATURATED: u16 = 8;

/// Judges health: the health, its score from 0 (worst) to 100, and the index of the reason.
#[must_use]
pub fn judge(observation: &Observation) -> (Health, f64, u16) {
    if observation.signals.has(Signals::PROGRESS_OVERDUE) && !is_at_rest(observation) {
        (Health::Stalled, 0.0, OVERDUE)
    } else if observation.errors >= UNHEALTHY_ERRORS {
        (Health::Unhealthy, 20.0, ERRORS)
    } else if matches!(observation.status, Status::Degraded | Status::Recovering) {
        (Health::Degraded, 60.0, REPORTED)
    } else if observation.errors >= DEGRADED_ERRORS {
        (Health::Degraded, 60.0, ERRORS)
    } else if observation.cpu_percent >= SATURATED_CPU_PERCENT {
        (Health::Degraded, 60.0, SATURATED)
    } else {
        (Health::Healthy, 100.0, FINE)
    }
}

/// Whether the agent says that it has no work: then it cannot be stalled at any.
fn is_at_rest(observation: &Observation) -> bool {
    observation.signals.has(Signals::HAS_ACTIVE_TASKS)
        && observation.active_tasks == 0.0
        && observation.queue_depth == 0.0
}

/// Proposes an interval, in milliseconds, for the health in the observation, with the index of
/// the reason.
#[must_use]
pub fn suggest(observation: &Observation, class: &Class) -> (f64, u16) {
    let interval_ms = class.interval_ms;
    match observation.health {
        Health::Unhealthy | Health::Stalled => {
            (f64::from(ALARM_INTERVAL_MS.min(interval_ms / 3)), ALARM)
        }
        Health::Degraded => (f64::from(interval_ms / 3), DEGRADED),
        Health::Healthy if observation.signals.has(Signals::IDLE) => {
            (f64::from(interval_ms) * 2.0, IDLE)
        }
        Health::Healthy => (f64::from(interval_ms), DEFAULT),
    }
}

/// Judges health and proposes an interval for it.
#[must_use]
pub fn decide(observation: &Observation, class: &Class) -> Verdict {
    let (health, score, _) = judge(observation);
    let (interval_ms, reason) = suggest(&Observation { health, ..*observation }, class);
    Verdict { health, score, interval_ms, source: VerdictSource { policy: 0, reason } }
}

/// Proposes every configured executor in the order of the configuration, at most
/// [`Plan::MAX_RUNGS`].
#[must_use]
pub fn propose(_incident: &Incident, executors: &[(String, u32)]) -> Plan {
    let rung = |(executor, wait_ms): &(String, u32)| Rung {
        executor: executor.clone(),
        wait_ms: *wait_ms,
    };
    let rungs = executors.iter().take(Plan::MAX_RUNGS).map(rung).collect();
    Plan { rungs, reason: "every configured executor in its order".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClassId, Classes};

    fn decided(change: impl FnOnce(&mut Observation)) -> Verdict {
        let mut observation = Observation::default();
        change(&mut observation);
        decide(&observation, &Classes::default()[ClassId(1)])
    }

    #[test]
    fn each_health_has_its_interval_and_its_reason() {
        let cases = [
            (decided(|_| ()), Health::Healthy, 30_000.0, DEFAULT),
            (decided(|o| o.signals = Signals::IDLE), Health::Healthy, 60_000.0, IDLE),
            (decided(|o| o.status = Status::Degraded), Health::Degraded, 10_000.0, DEGRADED),
            (decided(|o| o.status = Status::Recovering), Health::Degraded, 10_000.0, DEGRADED),
            (decided(|o| o.errors = DEGRADED_ERRORS), Health::Degraded, 10_000.0, DEGRADED),
            (decided(|o| o.errors = UNHEALTHY_ERRORS), Health::Unhealthy, 5_000.0, ALARM),
            (decided(|o| o.signals = Signals::PROGRESS_OVERDUE), Health::Stalled, 5_000.0, ALARM),
        ];
        for (verdict, health, interval_ms, reason) in cases {
            assert_eq!((verdict.health, verdict.interval_ms), (health, interval_ms));
            assert_eq!(verdict.source, VerdictSource { policy: 0, reason });
        }
    }

    #[test]
    fn busy_and_stopping_agents_are_healthy() {
        for status in [Status::Busy, Status::Stopping] {
            assert_eq!(decided(|o| o.status = status).health, Health::Healthy);
        }
    }

    #[test]
    fn an_alarm_never_slows_a_fast_class_down() {
        let mut class = Classes::default()[ClassId(1)].clone();
        class.interval_ms = 2_000;
        let observation = Observation { health: Health::Stalled, ..Observation::default() };
        assert_eq!(suggest(&observation, &class).0, 666.0);
    }

    #[test]
    fn a_saturated_processor_degrades() {
        let verdict = decided(|o| o.cpu_percent = SATURATED_CPU_PERCENT);
        assert_eq!((verdict.health, verdict.interval_ms), (Health::Degraded, 10_000.0));
    }

    #[test]
    fn an_agent_without_work_is_not_stalled() {
        let overdue = Signals::PROGRESS_OVERDUE.with(Signals::HAS_ACTIVE_TASKS);
        assert_eq!(decided(|o| o.signals = overdue).health, Health::Healthy);
        let working = decided(|o| (o.signals, o.active_tasks) = (overdue, 1.0));
        assert_eq!(working.health, Health::Stalled);
    }
}
