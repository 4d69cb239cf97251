//! The rules of `beat_early`: which metric past which threshold makes an agent beat now.
//!
//! A rule fires once and then sleeps until its metric has come back past `rearm`. A heartbeat
//! that carries a value past the threshold, for whatever reason it was sent, puts the rule to
//! sleep too: the gateway knows already.

use pulsegate_wire::{EarlyRule, Metrics, limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

#[derive(Clone, Debug)]
struct Watch {
    rule: EarlyRule,
    /// The side on which it fired, while it sleeps.
    asleep: Option<Side>,
}

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub(super) struct EarlyRules(Vec<Watch>);

impl EarlyRules {
    /// Takes the rules of a directive; a rule that stays the same keeps its sleep, a new one
    /// sleeps if the heartbeat that was answered (`sent`) was past its threshold already.
    pub(super) fn replace(&mut self, rules: &[EarlyRule], sent: Option<&Metrics>) {
        let watches = rules.iter().take(limits::EARLY_RULES).map(|rule| {
            let known = self.0.iter().find(|watch| watch.rule == *rule);
            let asleep = match known {
                Some(watch) => watch.asleep,
                None => value(sent, &rule.metric).and_then(|value| side(rule, value)),
            };
            Watch { rule: rule.clone(), asleep }
        });
        self.0 = watches.collect();
    }

    /// Notes what a heartbeat carries.
    pub(super) fn note_sent(&mut self, metrics: &Metrics) {
        for watch in &mut self.0 {
            if let Some(value) = value(Some(metrics), &watch.rule.metric) {
                watch.wake(value);
                watch.asleep = watch.asleep.or_else(|| side(&watch.rule, value));
            }
        }
    }

    /// Looks at new metrics; says whether any rule fires.
    pub(super) fn check(&mut self, metrics: &Metrics) -> bool {
        let mut fires = false;
        for watch in &mut self.0 {
            let Some(value) = value(Some(metrics), &watch.rule.metric) else { continue };
            watch.wake(value);
            if watch.asleep.is_none() {
                watch.asleep = side(&watch.rule, value);
                fires |= watch.asleep.is_some();
            }
        }
        fires
    }
}

impl Watch {
    fn wake(&mut self, value: f64) {
        let back = match self.asleep {
            Some(Side::Above) => value <= self.rule.rearm,
            Some(Side::Below) => value >= self.rule.rearm,
            None => false,
        };
        if back {
            self.asleep = None;
        }
    }
}

fn side(rule: &EarlyRule, value: f64) -> Option<Side> {
    if rule.above.is_some_and(|above| value > above) {
        Some(Side::Above)
    } else if rule.below.is_some_and(|below| value < below) {
        Some(Side::Below)
    } else {
        None
    }
}

fn value(metrics: Option<&Metrics>, name: &str) -> Option<f64> {
    let metrics = metrics?;
    match name {
        "queue_depth" => metrics.queue_depth.map(|value| value as f64),
        "active_tasks" => metrics.active_tasks.map(|value| value as f64),
        "cpu_percent" => metrics.cpu_percent,
        "memory_bytes" => metrics.memory_bytes.map(|value| value as f64),
        "error_count" => metrics.error_count.map(|value| value as f64),
        "latency_ms" => metrics.latency_ms,
        custom => metrics.custom.get(custom).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(depth: u64) -> Metrics {
        Metrics { queue_depth: Some(depth), ..Metrics::default() }
    }

    fn above(threshold: f64, rearm: f64) -> EarlyRule {
        EarlyRule { metric: "queue_depth".into(), above: Some(threshold), below: None, rearm }
    }

    #[test]
    fn a_rule_fires_once_and_again_only_after_it_came_back() {
        let mut rules = EarlyRules::default();
        rules.replace(&[above(100.0, 50.0)], Some(&queue(0)));
        assert!(!rules.check(&queue(100)), "the threshold itself is not above it");
        assert!(rules.check(&queue(101)));
        assert!(!rules.check(&queue(500)), "it sleeps");
        assert!(!rules.check(&queue(60)), "not yet back");
        assert!(!rules.check(&queue(200)), "it still sleeps");
        assert!(!rules.check(&queue(50)), "this wakes it");
        assert!(rules.check(&queue(101)));
    }

    #[test]
    fn a_rule_below_wakes_when_the_metric_has_risen_again() {
        let rule =
            EarlyRule { metric: "battery".into(), above: None, below: Some(20.0), rearm: 30.0 };
        let battery = |percent: f64| Metrics {
            custom: [("battery".to_owned(), percent)].into(),
            ..Metrics::default()
        };
        let mut rules = EarlyRules::default();
        rules.replace(&[rule], None);
        assert!(rules.check(&battery(19.0)));
        assert!(!rules.check(&battery(29.0)));
        assert!(!rules.check(&battery(18.0)));
        assert!(!rules.check(&battery(30.0)));
        assert!(rules.check(&battery(19.0)));
    }

    #[test]
    fn what_a_heartbeat_told_already_does_not_fire() {
        let mut rules = EarlyRules::default();
        rules.replace(&[above(100.0, 50.0)], Some(&queue(300)));
        assert!(!rules.check(&queue(400)), "the answered heartbeat carried 300");
        rules.replace(&[above(200.0, 50.0)], Some(&queue(0)));
        rules.note_sent(&queue(250));
        assert!(!rules.check(&queue(260)), "a heartbeat under way carries 250");
    }

    #[test]
    fn the_same_rule_in_the_next_directive_keeps_its_sleep() {
        let mut rules = EarlyRules::default();
        rules.replace(&[above(100.0, 50.0)], None);
        assert!(rules.check(&queue(101)));
        rules.replace(&[above(100.0, 50.0)], Some(&queue(0)));
        assert!(!rules.check(&queue(150)));
    }

    #[test]
    fn absent_metrics_nan_and_too_many_rules_are_harmless() {
        let mut rules = EarlyRules::default();
        let nan = EarlyRule { above: Some(f64::NAN), ..above(1.0, f64::NAN) };
        rules.replace(&vec![nan; 100], Some(&queue(9)));
        assert_eq!(rules.0.len(), limits::EARLY_RULES);
        assert!(!rules.check(&queue(1_000)));
        rules.replace(&[above(1.0, 0.0)], None);
        assert!(!rules.check(&Metrics::default()));
    }
}
