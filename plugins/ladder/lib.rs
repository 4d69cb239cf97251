//! `ladder`: from the mildest step to the hardest, over the executors that are configured: ask
//! the agent, restart it, replace it, call somebody. An agent that keeps failing starts higher.

use pulsegate_sdk::{Config, Executor, Incident, IncidentKind, Plan, Rung, policy};
use serde::Deserialize;

/// Which executors are which step. A step takes the executors whose id starts with one of its
/// words, in the order of the configuration; an executor of no step stands last, before `alert`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Step 1, only where the agent can be reached; `command`.
    pub command: String,
    /// Step 2; `restart`.
    pub restart: String,
    /// Step 3; `replace`.
    pub replace: String,
    /// Step 4, always there where one is configured; `alert`.
    pub alert: String,
    /// Incidents of one agent after which restarting is given up and it is replaced; 3. Higher:
    /// more tries at the cheaper step.
    pub replace_after: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            command: "command".into(),
            restart: "restart".into(),
            replace: "replace".into(),
            alert: "alert".into(),
            replace_after: 3,
        }
    }
}

/// Most rungs of a plan.
const RUNGS: usize = 8;

const REASONS: [&str; 4] = [
    "silent: restart, then replace, then alert",
    "reachable: ask first, then restart, replace and alert",
    "failed again and again: replace at once",
    "no executor fits",
];

const SILENT: u32 = 0;
const REACHABLE: u32 = 1;
const AGAIN: u32 = 2;
const NOTHING: u32 = 3;

policy! {
    name: "ladder",
    reasons: REASONS,
    settings: Settings,
    recovery: propose,
}

/// Plans the steps that make sense for this incident.
#[must_use]
pub fn propose(config: &Config<Settings>, incident: &Incident) -> Plan {
    let settings = &config.settings;
    let again = incident.number >= settings.replace_after;
    let asks = incident.reachable || incident.kind == IncidentKind::Health;
    let step_of = |executor: &Executor| {
        let steps = [&settings.command, &settings.restart, &settings.replace];
        let known = steps.iter().position(|word| executor.id.starts_with(word.as_str()));
        if executor.id.starts_with(settings.alert.as_str()) { 4 } else { known.unwrap_or(3) }
    };
    let wanted = |step: usize| match step {
        0 => asks && !again,
        1 => !again,
        _ => true,
    };
    let mut steps: Vec<(usize, &Executor)> = config
        .executors
        .iter()
        .map(|executor| (step_of(executor), executor))
        .filter(|(step, _)| wanted(*step))
        .collect();
    steps.sort_by_key(|(step, _)| *step);
    let rung =
        |executor: &Executor| Rung { executor: executor.id.clone(), wait_ms: executor.wait_ms };
    let rungs: Vec<Rung> =
        steps.into_iter().take(RUNGS).map(|(_, executor)| rung(executor)).collect();
    let reason = match () {
        () if rungs.is_empty() => NOTHING,
        () if again => AGAIN,
        () if asks => REACHABLE,
        () => SILENT,
    };
    Plan { rungs, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(executors: &[&str], incident: Incident) -> (Vec<String>, u32) {
        let executors =
            executors.iter().map(|id| Executor { id: (*id).into(), wait_ms: 5 }).collect();
        let config = Config { executors, ..Config::default() };
        let plan = propose(&config, &incident);
        (plan.rungs.into_iter().map(|rung| rung.executor).collect(), plan.reason)
    }

    const ALL: [&str; 5] = ["alert-oncall", "replace-vm", "restart", "notify", "command-restart"];

    #[test]
    fn steps_come_in_their_order_whatever_the_configuration_says() {
        let reachable = Incident { reachable: true, ..Incident::default() };
        let (rungs, reason) = planned(&ALL, reachable);
        assert_eq!(rungs, ["command-restart", "restart", "replace-vm", "notify", "alert-oncall"]);
        assert_eq!(reason, REACHABLE);
    }

    #[test]
    fn an_agent_that_cannot_be_reached_is_not_asked() {
        let (rungs, reason) = planned(&ALL, Incident::default());
        assert_eq!(rungs, ["restart", "replace-vm", "notify", "alert-oncall"]);
        assert_eq!(reason, SILENT);
    }

    #[test]
    fn one_that_fails_again_and_again_is_replaced() {
        let (rungs, reason) = planned(&ALL, Incident { number: 3, ..Incident::default() });
        assert_eq!(rungs, ["replace-vm", "notify", "alert-oncall"]);
        assert_eq!(reason, AGAIN);
    }

    #[test]
    fn without_executors_there_is_no_plan() {
        assert_eq!(planned(&[], Incident::default()), (Vec::new(), NOTHING));
    }

    #[test]
    fn a_plan_is_never_longer_than_it_may_be() {
        let (rungs, _) = planned(&["restart"; 20], Incident::default());
        assert_eq!(rungs.len(), RUNGS);
    }

    #[test]
    fn the_cases_hold() {
        pulsegate_sdk::testing::run(&POLICY, include_str!("cases.toml"));
    }
}
