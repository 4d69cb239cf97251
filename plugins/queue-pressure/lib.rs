//! `queue-pressure`: agents beat fast while their queue is long or grows, and slowly while it is
//! short, within what the class promises.
//!
//! Pressure is how full the queue will be when the next heartbeat is usually due, as a share of
//! `full_depth`. At no pressure an agent beats `relaxed_factor` times slower than usual; at full
//! pressure as fast as `fastest_ms`; in between the interval shrinks in equal proportions, so
//! that each doubling of pressure feels alike. The relaxed interval leaves half of the detection
//! target as margin, so that a slow agent that dies is still noticed in time.

use pulsegate_sdk::{Config, EarlyRule, Health, Hint, Observation, Signals, policy};
use serde::Deserialize;

/// How long a queue is long, and how fast agents beat then.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Queue depth of full pressure; 1,000. Smaller: agents beat fast earlier.
    pub full_depth: f64,
    /// Interval at full pressure, in milliseconds; 5,000.
    pub fastest_ms: f64,
    /// Intervals that an agent without pressure waits; 2. Never more than half of the class's
    /// detection target.
    pub relaxed_factor: f64,
    /// Agents beat early when their queue rises above this share of `full_depth`; 0.5. A second
    /// rule stands at `full_depth` itself.
    pub early_share: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { full_depth: 1_000.0, fastest_ms: 5_000.0, relaxed_factor: 2.0, early_share: 0.5 }
    }
}

const REASONS: [&str; 5] = [
    "no queue is reported: default interval of the class",
    "the queue is short: beats less often",
    "the queue presses",
    "the queue is full: beats as fast as it may",
    "unhealthy or stalled: watched closely",
];

const UNKNOWN: u32 = 0;
const SHORT: u32 = 1;
const PRESSES: u32 = 2;
const FULL: u32 = 3;
const ALARM: u32 = 4;

policy! {
    name: "queue-pressure",
    reasons: REASONS,
    settings: Settings,
    early_rules: early_rules,
    cadence: suggest,
}

/// Agents tell of a surge at once, and again when the queue is full.
#[must_use]
pub fn early_rules(config: &Config<Settings>) -> Vec<EarlyRule> {
    let full = config.settings.full_depth;
    let early = full * config.settings.early_share;
    vec![
        EarlyRule::above("queue_depth", early, early / 2.0),
        EarlyRule::above("queue_depth", full, early),
    ]
}

/// Paces by pressure.
#[must_use]
pub fn suggest(config: &Config<Settings>, seen: &Observation) -> Hint {
    let settings = &config.settings;
    let usual = f64::from(config.class.interval_ms);
    let fastest = settings.fastest_ms.min(usual);
    if matches!(seen.health, Health::Unhealthy | Health::Stalled) {
        return Hint::new(fastest, ALARM);
    }
    if !seen.signals.contains(Signals::HAS_QUEUE_DEPTH) {
        return Hint::new(usual, UNKNOWN);
    }
    let half_promise = f64::from(config.class.detect_within_ms) / 2.0;
    let slowest = (usual * settings.relaxed_factor).min(half_promise).max(fastest);
    let pressure = pressure(settings, seen, usual);
    let interval_ms = slowest * (fastest / slowest).powf(pressure);
    let reason = match pressure {
        p if p >= 1.0 => FULL,
        p if p >= 0.1 => PRESSES,
        _ => SHORT,
    };
    Hint::new(interval_ms.round(), reason)
}

/// How full the queue will be one usual interval from now, 0 to 1.
fn pressure(settings: &Settings, seen: &Observation, usual_ms: f64) -> f64 {
    let growth = seen.queue_trend.max(0.0) * usual_ms / 1_000.0;
    let share = (seen.queue_depth + growth) / settings.full_depth;
    if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(queue_depth: f64, queue_trend: f64) -> Hint {
        let seen = Observation {
            queue_depth,
            queue_trend,
            signals: Signals::HAS_QUEUE_DEPTH,
            ..Observation::default()
        };
        suggest(&Config::default(), &seen)
    }

    #[test]
    fn an_empty_queue_relaxes_to_half_the_promise_at_most() {
        assert_eq!(suggested(0.0, 0.0), Hint::new(45_000.0, SHORT));
    }

    #[test]
    fn a_full_queue_beats_as_fast_as_it_may() {
        assert_eq!(suggested(1_000.0, 0.0), Hint::new(5_000.0, FULL));
        assert_eq!(suggested(f64::MAX, f64::MAX), Hint::new(5_000.0, FULL));
    }

    #[test]
    fn more_queue_never_beats_slower() {
        let mut last = f64::INFINITY;
        for depth in 0..=1_100 {
            let interval = suggested(f64::from(depth), 0.0).interval_ms;
            assert!(interval <= last, "{depth} {interval} {last}");
            last = interval;
        }
    }

    #[test]
    fn growth_counts_and_draining_does_not() {
        assert!(suggested(100.0, 10.0).interval_ms < suggested(100.0, 0.0).interval_ms);
        assert_eq!(suggested(100.0, -10.0), suggested(100.0, 0.0));
    }

    #[test]
    fn an_agent_without_a_queue_keeps_its_class() {
        let hint = suggest(&Config::default(), &Observation::default());
        assert_eq!(hint, Hint::new(30_000.0, UNKNOWN));
    }

    #[test]
    fn settings_that_make_no_sense_still_give_an_interval() {
        for full_depth in [0.0, -1.0] {
            let settings = Settings { full_depth, ..Settings::default() };
            let config = Config { settings, ..Config::default() };
            let seen = Observation { signals: Signals::HAS_QUEUE_DEPTH, ..Observation::default() };
            let interval_ms = suggest(&config, &seen).interval_ms;
            assert!((5_000.0..=45_000.0).contains(&interval_ms), "{interval_ms}");
        }
    }

    #[test]
    fn the_cases_hold() {
        pulsegate_sdk::testing::run(&POLICY, include_str!("cases.toml"));
    }
}
