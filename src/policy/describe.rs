//! What a policy says about itself, checked.

use std::collections::BTreeSet;

use pulsegate_core::Plan;
use pulsegate_wire::{EarlyRule, limits};

use crate::bindings;
use crate::rows::{COLUMNS_MAX, METRICS_MAX};

/// Most reason texts of a policy. Source: chosen; they are one byte apart in every explanation.
const REASONS_MAX: usize = 64;
/// Longest reason text, in bytes. Source: chosen, two lines of a terminal.
const REASON_BYTES: usize = 200;
/// Metrics of every heartbeat that an early-heartbeat rule may name beside custom ones.
const METRICS: [&str; 6] =
    ["queue_depth", "active_tasks", "cpu_percent", "memory_bytes", "error_count", "latency_ms"];

/// What stays the same for every class.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shape {
    /// What it calls itself.
    pub(crate) name: String,
    /// The author's version.
    pub(crate) version: String,
    /// Custom metrics wanted, in the order of a row.
    pub(crate) metrics: Vec<String>,
    /// Memory columns of a row.
    pub(crate) columns: usize,
    /// Texts of its reasons.
    pub(crate) reasons: Vec<String>,
}

impl Shape {
    /// Whether flat calls carry all that it needs.
    pub(crate) fn is_flat(&self) -> bool {
        self.metrics.is_empty() && self.columns == 0
    }
}

/// Checks a description; the text says which rule it breaks.
pub(crate) fn check(described: bindings::Description) -> Result<(Shape, Vec<EarlyRule>), String> {
    let bindings::Description { name, revision, metrics, memory_columns, early_rules, reasons } =
        described;
    let is_name = |name: &str, allowed: fn(u8) -> bool| {
        (1..=limits::NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
    };
    if !is_name(&name, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(format!("name {name:?} is not 1 to 63 bytes of [a-z0-9-]"));
    }
    if !is_name(&revision, |b| b.is_ascii_graphic()) {
        return Err(format!("revision {revision:?} is not 1 to 63 bytes of printable ASCII"));
    }
    at_most("custom metrics", metrics.len(), METRICS_MAX)?;
    for metric in &metrics {
        if !is_name(metric, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(format!("metric {metric:?} is not 1 to 63 bytes of [A-Za-z0-9._-]"));
        }
    }
    if metrics.iter().collect::<BTreeSet<_>>().len() < metrics.len() {
        return Err("a custom metric is named twice".into());
    }
    let columns = usize::try_from(memory_columns).unwrap_or(usize::MAX);
    at_most("memory columns", columns, COLUMNS_MAX)?;
    at_most("reason texts", reasons.len(), REASONS_MAX)?;
    if reasons.is_empty() {
        return Err("no reason text; an answer needs one to point to".into());
    }
    if let Some(long) = reasons.iter().find(|text| !(1..=REASON_BYTES).contains(&text.len())) {
        return Err(format!("a reason text of {} bytes, not 1 to {REASON_BYTES}", long.len()));
    }
    at_most("rules for early heartbeats", early_rules.len(), limits::EARLY_RULES)?;
    let rules =
        early_rules.into_iter().map(|rule| check_rule(rule, &metrics)).collect::<Result<_, _>>()?;
    // They are printed to terminals and logs, where a control character could pretend to be more.
    let reasons = reasons.iter().map(|text| crate::log::clean_line(text)).collect();
    Ok((Shape { name, version: revision, metrics, columns, reasons }, rules))
}

fn check_rule(rule: bindings::EarlyRule, custom: &[String]) -> Result<EarlyRule, String> {
    let bindings::EarlyRule { metric, above, below, rearm } = rule;
    if !METRICS.contains(&metric.as_str()) && !custom.contains(&metric) {
        return Err(format!("an early rule on {metric:?}, which is no metric it may see"));
    }
    let rearms = match (above, below) {
        (Some(above), None) => above.is_finite() && rearm.is_finite() && rearm <= above,
        (None, Some(below)) => below.is_finite() && rearm.is_finite() && rearm >= below,
        _ => return Err(format!("the early rule on {metric} has not exactly one threshold")),
    };
    if !rearms {
        return Err(format!("the early rule on {metric} never rearms: its threshold and rearm"));
    }
    Ok(EarlyRule { metric, above, below, rearm })
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count > most { Err(format!("{count} {what}, at most {most}")) } else { Ok(()) }
}

/// Turns a proposed plan into core's; the text says what is wrong with it.
pub(crate) fn check_plan(
    plan: bindings::Plan,
    reasons: &[String],
    executors: &[(String, u32)],
) -> Option<Plan> {
    let reason = reasons.get(usize::try_from(plan.reason).ok()?)?.clone();
    if plan.rungs.len() > Plan::MAX_RUNGS {
        return None;
    }
    let rung = |rung: bindings::Rung| {
        let (id, wait) = executors.iter().find(|(id, _)| *id == rung.executor)?;
        let wait_ms = if rung.wait_ms == 0 { *wait } else { rung.wait_ms };
        Some(pulsegate_core::Rung { executor: id.clone(), wait_ms })
    };
    let rungs = plan.rungs.into_iter().map(rung).collect::<Option<_>>()?;
    Some(Plan { rungs, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> bindings::Description {
        bindings::Description {
            name: "steady".into(),
            revision: "1.0.0".into(),
            metrics: vec!["backlog.age".into()],
            memory_columns: 8,
            early_rules: vec![bindings::EarlyRule {
                metric: "backlog.age".into(),
                above: Some(10.0),
                below: None,
                rearm: 5.0,
            }],
            reasons: vec!["because".into()],
        }
    }

    fn refusal(change: impl FnOnce(&mut bindings::Description)) -> String {
        let mut description = good();
        change(&mut description);
        check(description).expect_err("it breaks a rule")
    }

    #[test]
    fn an_ordinary_description_passes() {
        let (shape, rules) = check(good()).expect("it keeps every rule");
        assert_eq!((shape.columns, rules.len()), (8, 1));
        assert!(!shape.is_flat());
    }

    #[test]
    fn a_reason_moves_no_cursor_of_whoever_reads_it() {
        let forged = "fine\u{1b}[2K\nERROR forged".to_owned();
        let (shape, _) = check(bindings::Description { reasons: vec![forged], ..good() })
            .expect("it keeps every rule");
        assert_eq!(shape.reasons, ["fine [2K ERROR forged"]);
    }

    #[test]
    fn each_rule_refuses_with_its_own_text() {
        let rule = |rule: fn(&mut bindings::EarlyRule)| refusal(|d| rule(&mut d.early_rules[0]));
        let texts = [
            refusal(|d| d.name = "Steady".into()),
            refusal(|d| d.revision.clear()),
            refusal(|d| d.metrics = vec!["m".into(); 17]),
            refusal(|d| d.metrics = vec!["a b".into()]),
            refusal(|d| d.metrics.push("backlog.age".into())),
            refusal(|d| d.memory_columns = 9),
            refusal(|d| d.reasons = vec!["r".into(); 65]),
            refusal(|d| d.reasons.clear()),
            refusal(|d| d.reasons = vec!["r".repeat(201)]),
            refusal(|d| d.early_rules = vec![d.early_rules[0].clone(); 9]),
            rule(|r| r.metric = "unheard_of".into()),
            rule(|r| r.below = Some(1.0)),
            rule(|r| r.rearm = f64::NAN),
        ];
        let different: BTreeSet<_> = texts.iter().collect();
        assert_eq!(different.len(), texts.len(), "{texts:#?}");
    }

    #[test]
    fn a_plan_names_only_configured_executors_and_known_reasons() {
        let reasons = vec!["why".to_owned()];
        let executors = vec![("restart".to_owned(), 30_000)];
        let plan = |executor: &str, rungs: usize, wait_ms, reason| bindings::Plan {
            rungs: vec![bindings::Rung { executor: executor.into(), wait_ms }; rungs],
            reason,
        };
        let check = |plan| check_plan(plan, &reasons, &executors);
        assert_eq!(check(plan("restart", 1, 0, 0)).expect("good").rungs[0].wait_ms, 30_000);
        assert_eq!(check(plan("restart", 8, 5, 0)).expect("good").rungs[7].wait_ms, 5);
        assert_eq!(check(plan("restart", 9, 5, 0)), None);
        assert_eq!(check(plan("rm -rf", 1, 5, 0)), None);
        assert_eq!(check(plan("restart", 1, 5, 1)), None);
    }
}
