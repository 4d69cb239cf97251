//! `/v1/agents/{id}/explain`: why an agent's interval is what it is.

use axum::Json;
use axum::extract::State as FromState;
use pulsegate_core::cadence::{Bound, Trace};
use pulsegate_core::{Observation, Signals, VerdictSource};
use pulsegate_policy::PolicySet;
use pulsegate_wire::State as AgentState;
use pulsegate_wire::view::{
    AgentView, DeadlinesView, DecisionView, ExplainView, ObservationView, StepView, VerdictView,
    WatchedView,
};

use super::agents::{Id, Params, key, unknown};
use super::problem::Refused;
use super::{State, view};
use crate::shard::{Explained, Found, Shadowed};

/// Words of [`Signals`], in the order of their bits.
const SIGNALS: [&str; Signals::COUNT as usize] = [
    "first",
    "directive-seen",
    "beat-early",
    "was-suspect",
    "was-failed",
    "progress-overdue",
    "holds-lease",
    "idle",
    "has-queue-depth",
    "has-active-tasks",
    "has-cpu-percent",
    "has-memory-bytes",
    "has-error-count",
    "has-latency-ms",
    "has-progress",
];

/// `GET /v1/agents/{id}/explain`
pub(super) async fn show(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<Json<ExplainView>, Refused> {
    let (tenant, id) = key(&state, id, params)?;
    let config = state.config.load();
    let found = state.shards.find(tenant, &id, |found: Found<'_>| {
        (view::agent(&config, &found), found.explained.cloned(), found.shadow.cloned())
    });
    let (agent, explained, shadow) = found.ok_or_else(unknown)?;
    let policies = state.shards.policies();
    let decision = explained.as_ref().map(|explained| decision(explained, &policies));
    let deadlines = explained.as_ref().and_then(|explained| deadlines(&agent, explained));
    // What was in shadow before says nothing of what is now.
    let shadow = shadow.filter(|shadow| shadow.policies == policies.generation());
    let shadow = shadow.map(|shadow| watched(&shadow, &policies));
    let mut text = sentences(&agent, deadlines.as_ref(), decision.as_ref());
    text.extend(shadow.iter().flat_map(in_shadow));
    Ok(Json(ExplainView { agent, deadlines, decision, shadow, text }))
}

fn watched(shadow: &Shadowed, policies: &PolicySet) -> WatchedView {
    let watched = &shadow.watched;
    let verdict = |source: VerdictSource| {
        let text = policies.text(source);
        VerdictView {
            policy: text.policy.to_owned(),
            policy_revision: text.revision.to_owned(),
            reason: text.reason.to_owned(),
            health: None,
            score: None,
            interval_ms: None,
        }
    };
    WatchedView {
        number: shadow.number,
        health: watched.health.map(|(health, score, source)| VerdictView {
            health: Some(health),
            score: score.is_finite().then_some(score),
            ..verdict(source)
        }),
        cadence: watched.interval.map(|(interval_ms, source)| VerdictView {
            interval_ms: interval_ms.is_finite().then_some(interval_ms),
            ..verdict(source)
        }),
        health_differs: watched.health_differs,
        difference: watched.difference.map(|difference| difference.as_str().to_owned()),
    }
}

/// What policies in shadow would have said, for people.
fn in_shadow(watched: &WatchedView) -> Vec<String> {
    let health = watched.health.as_ref().map(|verdict| {
        let judged = verdict.health.unwrap_or_default();
        let differs = if watched.health_differs { ", which differs" } else { "" };
        format!("In shadow: {} says {judged}{differs}: {}.", named(verdict), verdict.reason)
    });
    let cadence = watched.cadence.as_ref().map(|verdict| {
        let proposed = verdict.interval_ms.map_or("no number".to_owned(), |ms| seconds(ms as u64));
        let difference = watched.difference.as_deref().unwrap_or_default().replace('_', " ");
        let (name, reason) = (named(verdict), &verdict.reason);
        format!("In shadow: {name} proposes {proposed} ({difference}): {reason}.")
    });
    health.into_iter().chain(cadence).collect()
}

fn deadlines(agent: &AgentView, explained: &Explained) -> Option<DeadlinesView> {
    if !matches!(agent.state, AgentState::Alive | AgentState::Suspect | AgentState::Failed) {
        return None;
    }
    let silent_ms = i64::try_from(agent.silent_ms?).unwrap_or(i64::MAX);
    let left = |after_ms: i64| after_ms.saturating_sub(silent_ms);
    Some(DeadlinesView {
        due_in_ms: left(i64::try_from(agent.in_force_ms).unwrap_or(i64::MAX)),
        suspect_in_ms: left(explained.decision.suspect_after_ms.into()),
        fail_in_ms: left(explained.decision.fail_after_ms.into()),
    })
}

fn decision(explained: &Explained, policies: &PolicySet) -> DecisionView {
    let decision = &explained.decision;
    let same_set = explained.policies == policies.generation();
    let verdict = |source: VerdictSource| {
        let known = same_set.then(|| policies.text(source));
        VerdictView {
            policy: known.map_or("", |text| text.policy).to_owned(),
            policy_revision: known.map_or("", |text| text.revision).to_owned(),
            reason: known
                .map_or("said by a policy that was replaced since", |text| text.reason)
                .to_owned(),
            health: None,
            score: None,
            interval_ms: None,
        }
    };
    let (health, score) = explained.judged;
    let hint_ms = explained.hint_ms;
    DecisionView {
        decided_at_unix_ms: explained.decided_at_unix_ms,
        observation: observation(&explained.observation),
        health: VerdictView {
            health: Some(health),
            score: score.is_finite().then_some(score),
            ..verdict(explained.health_source)
        },
        cadence: VerdictView {
            interval_ms: hint_ms.is_finite().then_some(hint_ms),
            ..verdict(decision.source)
        },
        steps: steps(&decision.trace),
        bound: decision.trace.bound.as_str().to_owned(),
        number: decision.number,
        outcome: decision.outcome,
        next_interval_ms: decision.next_interval_ms.into(),
        suspect_after_ms: decision.suspect_after_ms.into(),
        fail_after_ms: decision.fail_after_ms.into(),
    }
}

fn observation(seen: &Observation) -> ObservationView {
    let has = |signal, value: f64| seen.signals.has(signal).then_some(value);
    let words = SIGNALS.iter().enumerate().filter(|(bit, _)| seen.signals.has(Signals(1 << bit)));
    ObservationView {
        now_ms: seen.now_ms,
        status: seen.status,
        health: seen.health,
        signals: words.map(|(_, word)| (*word).to_owned()).collect(),
        interval_ms: seen.interval_ms.into(),
        lateness_ms: seen.lateness_ms,
        missed: seen.missed.into(),
        queue_depth: has(Signals::HAS_QUEUE_DEPTH, seen.queue_depth),
        queue_trend: seen.queue_trend,
        active_tasks: has(Signals::HAS_ACTIVE_TASKS, seen.active_tasks),
        cpu_percent: has(Signals::HAS_CPU_PERCENT, seen.cpu_percent),
        memory_bytes: has(Signals::HAS_MEMORY_BYTES, seen.memory_bytes),
        errors: seen.errors.into(),
        latency_ms: has(Signals::HAS_LATENCY_MS, seen.latency_ms),
        progress_age_ms: seen.signals.has(Signals::HAS_PROGRESS).then_some(seen.progress_age_ms),
        fleet_load: seen.fleet_load,
    }
}

/// What each guard did, in the order in which they work.
fn steps(trace: &Trace) -> Vec<StepView> {
    let step = |name: &str, before_ms: Option<u32>, after_ms: u32, text: String| StepView {
        step: name.to_owned(),
        before_ms: before_ms.map(u64::from),
        after_ms: after_ms.into(),
        text,
    };
    let hint = (trace.hint_ms.is_finite() && trace.hint_ms >= 0.0).then_some(trace.hint_ms as u32);
    let fitted = match hint {
        Some(hint) if hint == trace.clamped_ms => "the proposal is within the bounds".to_owned(),
        _ => format!(
            "the proposal was brought within the bounds, at most {}",
            seconds(trace.cap_ms.into())
        ),
    };
    let floored = if trace.effective_ms == trace.stored_ms {
        "the fleet's floor asks for nothing".to_owned()
    } else {
        let floor = seconds(trace.floor_ms.into());
        format!("the fleet is over its budget: the floor of this class is {floor}")
    };
    let jittered = "up to a tenth earlier, so that agents do not beat in step".to_owned();
    vec![
        step("clamp", hint, trace.clamped_ms, fitted),
        step("guard", Some(trace.clamped_ms), trace.stored_ms, guarded(trace)),
        step("floor", Some(trace.stored_ms), trace.effective_ms, floored),
        step("jitter", Some(trace.effective_ms), trace.sent_ms, jittered),
    ]
}

/// What the guard made of the clamped proposal.
fn guarded(trace: &Trace) -> String {
    let before = seconds(trace.before_ms.into());
    let stored = seconds(trace.stored_ms.into());
    let moved = match trace.stored_ms.cmp(&trace.before_ms) {
        std::cmp::Ordering::Less => format!("tightened at once from {before} to {stored}"),
        std::cmp::Ordering::Greater => format!("relaxed from {before} to {stored}"),
        std::cmp::Ordering::Equal => format!("kept at {before}"),
    };
    let why = match trace.bound {
        Bound::DeadBand => ": the proposal is within a fifth of it",
        Bound::Dwell => ": no relaxing so soon after a tightening",
        Bound::TurnBudget => ": it may turn only so often",
        Bound::Slew => ": relaxing goes one step of half as much again at a time",
        _ => "",
    };
    format!("{moved}{why}")
}

fn sentences(
    agent: &AgentView,
    deadlines: Option<&DeadlinesView>,
    decision: Option<&DecisionView>,
) -> Vec<String> {
    let mut text = vec![format!(
        "{} is {} and {}; it reports {}.",
        agent.agent_id, agent.state, agent.health, agent.status
    )];
    match decision {
        None => text.push("No heartbeat of it was judged since the gateway started.".to_owned()),
        Some(decision) => {
            let judged = decision.health.health.unwrap_or_default();
            text.push(format!(
                "Health: {} says {judged}: {}.",
                named(&decision.health),
                decision.health.reason
            ));
            let proposed = decision
                .cadence
                .interval_ms
                .map_or("no number".to_owned(), |ms| seconds(ms as u64));
            text.push(format!(
                "Cadence: {} proposes {proposed}: {}.",
                named(&decision.cadence),
                decision.cadence.reason
            ));
            text.extend(
                decision.steps.iter().map(|step| {
                    format!("{}: {}: {}.", step.step, seconds(step.after_ms), step.text)
                }),
            );
            text.push(format!(
                "Directive {}: beat again in {}; bound: {}.",
                decision.number,
                seconds(decision.next_interval_ms),
                decision.bound
            ));
        }
    }
    if let Some(deadlines) = deadlines {
        text.push(format!(
            "In force: {}. Due {}, suspect {}, failed {}.",
            seconds(agent.in_force_ms),
            from_now(deadlines.due_in_ms),
            from_now(deadlines.suspect_in_ms),
            from_now(deadlines.fail_in_ms)
        ));
    }
    if agent.flags.iter().any(|flag| flag == view::WITNESSED) {
        text.push("A probe found it gone as well: recovery acts as soon as it has failed.".into());
    }
    text
}

fn named(verdict: &VerdictView) -> String {
    match (verdict.policy.as_str(), verdict.policy_revision.as_str()) {
        ("", _) => "an earlier policy".to_owned(),
        (policy, "") => policy.to_owned(),
        (policy, revision) => format!("{policy} ({revision})"),
    }
}

fn from_now(in_ms: i64) -> String {
    let distance = seconds(in_ms.unsigned_abs());
    if in_ms < 0 { format!("{distance} ago") } else { format!("in {distance}") }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_starts_where_the_one_before_ended() {
        let trace = Trace {
            hint_ms: 400_000.0,
            clamped_ms: 70_000,
            cap_ms: 70_000,
            before_ms: 30_000,
            stored_ms: 45_000,
            floor_ms: 50_000,
            effective_ms: 50_000,
            sent_ms: 47_123,
            bound: Bound::Floor,
        };
        let steps = steps(&trace);
        for pair in steps.windows(2) {
            assert_eq!(pair[1].before_ms, Some(pair[0].after_ms));
        }
        assert_eq!(steps[0].before_ms, Some(400_000));
        assert_eq!(steps[3].after_ms, 47_123);
        assert_eq!(steps[1].text, "relaxed from 30.000 s to 45.000 s");
    }

    #[test]
    fn a_proposal_that_is_no_number_is_shown_as_none() {
        let trace = Trace { hint_ms: f64::NAN, ..Trace::default() };
        assert_eq!(steps(&trace)[0].before_ms, None);
    }

    #[test]
    fn each_bit_of_the_signals_has_its_word() {
        let seen = Observation {
            signals: Signals::IDLE.with(Signals::HAS_PROGRESS),
            ..Observation::default()
        };
        assert_eq!(observation(&seen).signals, ["idle", "has-progress"]);
    }
}
