//! What a replay comes to: one document, for people and machines alike.
//!
//! Its JSON is stable: fields are only added, and `version` rises when one changes its meaning.

use pulsegate_policy::Fault;
use pulsegate_wire::Health;
use serde::Serialize;

use crate::estimate;
use crate::exact::{self, Kind, Shown};
use crate::replay::Replay;
use crate::spread::{Bin, Quantiles};
use crate::{Paced, agents};

/// Most agents that are named. Source: chosen; a screen has room for them.
const TOP: usize = 10;
/// Bins of a plot. Source: chosen.
const BINS: usize = 48;
/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// What a replay comes to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Version of this form: 1.
    pub version: u32,
    /// What was tried, beside what.
    pub policies: Against,
    /// What was read, and what was left out.
    pub scope: Scope,
    /// What the candidate answers to each recorded observation.
    pub exact: Exact,
    /// What would have come of it.
    pub estimate: Estimated,
}

/// What was tried, beside what.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// Name of the candidate.
    pub candidate: String,
    /// Its revision.
    pub revision: String,
    /// Whether it judges; otherwise the recorded healths stand.
    pub judges: bool,
    /// Who paced in the replay: the candidate, or `steady` for one that only judges.
    pub paced_by: String,
    /// Who paced in the records, as `name@revision`, with the heartbeats of each.
    pub enforced: Vec<(String, u64)>,
}

/// What was read, and what was left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scope {
    /// Heartbeats replayed.
    pub heartbeats: u64,
    /// Agents of them.
    pub agents: u64,
    /// Wall time of the first and the last, in Unix milliseconds; 0 where there is none.
    pub first_wall_ms: u64,
    /// See `first_wall_ms`.
    pub last_wall_ms: u64,
    /// Wall time of the oldest and the newest record, whatever the flags say; 0 where there is
    /// none.
    pub oldest_wall_ms: u64,
    /// See `oldest_wall_ms`.
    pub newest_wall_ms: u64,
    /// Time under watch, in agent-hours: from one heartbeat to the next, without silences.
    pub agent_hours: f64,
    /// Left out by the flags.
    pub filtered: u64,
    /// Records that are damaged.
    pub damaged: u64,
    /// Records without an observation.
    pub without_observation: u64,
    /// Heartbeats of agents beyond those that are kept.
    pub beyond_agents: u64,
    /// Heartbeats that only said where an agent's guard stands: its first that is there.
    pub met_mid_life: u64,
    /// Heartbeats of a class that the configuration does not have: taken for `normal`.
    pub unknown_class: u64,
    /// Heartbeats of a holder whose leases the events do not tell: the cap of its class was used.
    pub unknown_lease: u64,
    /// Heartbeats whose recorded interval is not what the guard makes of the recorded hint. More
    /// than a few: the configuration is not that of the recording.
    pub unexplained: u64,
    /// The candidate failed so often that the replay ended early.
    pub given_up: bool,
    /// What is lost, in sentences.
    pub losses: Vec<String>,
}

/// The exact part.
#[derive(Clone, Debug, Serialize)]
pub struct Exact {
    /// Heartbeats with another health or another guarded interval.
    pub differing: u64,
    /// Heartbeats by health, where there are any: enforced, candidate, how many.
    pub health: Vec<(Health, Health, u64)>,
    /// The guarded interval of the candidate beside the enforced one, fleet floor included, before
    /// jitter.
    pub interval: Difference,
    /// What was enforced.
    pub enforced: Side,
    /// The candidate.
    pub candidate: Side,
    /// What went wrong in the candidate.
    pub faults: Faults,
    /// Mean time of the candidate for a heartbeat in batches, in nanoseconds, the host's part
    /// included; measured, so it differs from run to run.
    pub policy_ns: f64,
    /// Agents with any difference.
    pub differing_agents: u64,
    /// Those with the largest.
    pub top: Vec<TopAgent>,
    /// One heartbeat for each kind of difference.
    pub examples: Vec<Example>,
}

/// Two intervals of the same heartbeats.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The same to the millisecond.
    pub same: u64,
    /// The candidate's is shorter.
    pub shorter: u64,
    /// The candidate's is longer.
    pub longer: u64,
    /// Candidate less enforced, in seconds.
    pub seconds: Quantiles,
    /// The same, for a plot.
    pub seconds_bins: Vec<Bin>,
    /// Candidate by enforced, of those that differ.
    pub ratio_bins: Vec<Bin>,
}

/// One of the two, by the same real guard.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Side {
    /// Mean guarded interval over heartbeats, in seconds.
    pub mean_interval: f64,
    /// Changes of health, for each agent and hour.
    pub health_changes_per_agent_hour: f64,
    /// Moves of the stored interval, for each agent and hour.
    pub moves_per_agent_hour: f64,
    /// Changes of direction, for each agent and hour.
    pub turns_per_agent_hour: f64,
    /// Changes of health.
    pub health_changes: u64,
    /// Moves.
    pub moves: u64,
    /// Changes of direction.
    pub turns: u64,
}

/// What went wrong in the candidate.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Faults {
    /// By kind, where there are any.
    pub kinds: Vec<(String, u64)>,
    /// All.
    pub count: u64,
    /// How often its breaker would have opened for these faults alone: ten in a minute.
    pub breaker_trips: u64,
}

/// An agent that the candidate treats otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct TopAgent {
    /// Tenant of the agent.
    pub tenant: String,
    /// Its name.
    pub agent_id: String,
    /// Its heartbeats.
    pub heartbeats: u32,
    /// Those with any difference.
    pub differing: u32,
    /// Those with another health.
    pub other_health: u32,
    /// Geometric mean of the candidate's interval by the enforced one.
    pub mean_ratio: f64,
    /// Heartbeats that the candidate would have had of it (estimated).
    pub estimated_heartbeats: u32,
}

/// A heartbeat that shows a kind of difference.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// The kind, in words.
    pub kind: String,
    /// Tenant of the agent.
    pub tenant: String,
    /// Its name.
    pub agent_id: String,
    /// Wall time, in Unix milliseconds.
    pub wall_ms: u64,
    /// Sequence of the heartbeat.
    pub sequence: u64,
    /// What was seen, by the names of the observation.
    pub seen: serde_json::Value,
    /// What was enforced: health, hint and interval in milliseconds, policy, reason.
    pub enforced: Opinion,
    /// What the candidate says.
    pub candidate: Opinion,
}

impl Example {
    /// What was seen, in words: without what is nought or absent, and numbers in four digits.
    #[must_use]
    pub fn seen_in_words(&self) -> Vec<String> {
        let seen = self.seen.as_object().into_iter().flatten();
        let told = seen.filter(|(_, value)| !value.is_null() && value.as_f64() != Some(0.0));
        told.map(|(name, value)| match value.as_f64() {
            Some(number) => format!("{name} {}", four_digits(number)),
            None => format!("{name} {}", value.to_string().replace('"', "")),
        })
        .collect()
    }
}

fn four_digits(number: f64) -> String {
    let places = 3 - number.abs().log10().floor().clamp(-9.0, 3.0) as i32;
    let text = format!("{number:.*}", places.max(0) as usize);
    let is_fraction = text.contains('.');
    if is_fraction { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What somebody said to a heartbeat.
#[derive(Clone, Debug, Serialize)]
pub struct Opinion {
    /// Health judged.
    pub health: Health,
    /// Why; empty where it was not recorded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub health_reason: String,
    /// Interval proposed, in milliseconds; absent where it is no number.
    pub hint_ms: Option<f64>,
    /// Interval after the guard, in milliseconds.
    pub interval_ms: u32,
    /// Who proposed it.
    pub policy: String,
    /// Why.
    pub reason: String,
    /// What went wrong, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// The estimate.
#[derive(Clone, Debug, Serialize)]
pub struct Estimated {
    /// Heartbeats of the recorded time.
    pub recorded: u64,
    /// Heartbeats under the candidate.
    pub heartbeats: Bounds,
    /// Heartbeats for each agent and hour: recorded.
    pub recorded_per_agent_hour: f64,
    /// Heartbeats for each agent and hour under the candidate: the middle.
    pub per_agent_hour: f64,
    /// Early heartbeats that were recorded.
    pub recorded_early: u64,
    /// Early ones by the rules of the candidate.
    pub early: u64,
    /// Recorded heartbeats that came over a second before they were due, by no rule: their agents
    /// keep a cadence of their own, and would not obey the candidate either.
    pub undirected: u64,
    /// Changes of direction in the closed loop, for each agent and hour.
    pub turns_per_agent_hour: f64,
    /// Real silences.
    pub detection: Detection,
    /// Living agents that are suspected.
    pub false_suspicions: Mistakes,
    /// Living agents that are failed.
    pub false_failures: Mistakes,
    /// Stretches without records, which are left out.
    pub breaks: u64,
    /// Heartbeats over time.
    pub timeline: Timeline,
}

/// An estimate: what it cannot be below, what it is when each possibility is equally likely, and
/// what it cannot be above, as far as the records show what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bounds {
    /// Lower bound.
    pub low: f64,
    /// Middle.
    pub middle: f64,
    /// Upper bound.
    pub high: f64,
}

/// Real silences: agents that were suspected and did not come back as they were.
#[derive(Clone, Debug, Serialize)]
pub struct Detection {
    /// How many were noticed.
    pub silences: u64,
    /// Of them, agents that had not come back when the records end.
    pub not_back: u64,
    /// Noticed earlier under the candidate, by more than half a second.
    pub earlier: u64,
    /// Noticed later.
    pub later: u64,
    /// Not noticed under the candidate: the agent would have been back first.
    pub unnoticed: u64,
    /// Mean shift, in seconds; below zero: the candidate notices earlier.
    pub shift: Bounds,
    /// The middle, silence by silence.
    pub seconds: Quantiles,
    /// The same, for a plot.
    pub seconds_bins: Vec<Bin>,
}

/// Living agents that are taken for gone.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Mistakes {
    /// Recorded.
    pub recorded: u64,
    /// Under the candidate.
    pub estimated: Bounds,
    /// Recorded ones that would not have been.
    pub gone: Bounds,
    /// Ones that would have been, and were not.
    pub come: Bounds,
}

/// Heartbeats over time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Wall time of the beginning, in Unix milliseconds.
    pub start_wall_ms: u64,
    /// Length of a span, in milliseconds of core time.
    pub step_ms: u64,
    /// Recorded heartbeats in each span.
    pub recorded: Vec<f64>,
    /// Those of the candidate, estimated.
    pub estimated: Vec<f64>,
}

pub(crate) fn of(replay: &Replay) -> Report {
    Report {
        version: 1,
        policies: against(replay),
        scope: scope(replay),
        exact: exact_part(replay),
        estimate: estimate_part(replay),
    }
}

fn against(replay: &Replay) -> Against {
    let candidate = &replay.candidate;
    let mut enforced: Vec<(String, u64)> =
        replay.met.enforced.iter().map(|(name, count)| (name.clone(), *count)).collect();
    enforced.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Against {
        candidate: candidate.name.clone(),
        revision: candidate.revision.clone(),
        judges: candidate.judges,
        paced_by: match candidate.paced {
            Paced::Candidate => candidate.name.clone(),
            Paced::Steady => "steady".to_owned(),
        },
        enforced,
    }
}

fn scope(replay: &Replay) -> Scope {
    let met = &replay.met;
    let (oldest_wall_ms, newest_wall_ms) = met.records_ms.unwrap_or_default();
    Scope {
        oldest_wall_ms,
        newest_wall_ms,
        heartbeats: replay.exact.beats,
        agents: replay.agents.list.len() as u64,
        first_wall_ms: met.first_wall_ms.unwrap_or(0),
        last_wall_ms: met.last_wall_ms,
        agent_hours: replay.exact.watched_ms as f64 / HOUR_MS,
        filtered: met.filtered,
        damaged: met.damaged,
        without_observation: met.unseen,
        beyond_agents: met.beyond,
        met_mid_life: replay.exact.met_mid_life,
        unknown_class: met.unknown_class,
        unknown_lease: met.unknown_lease,
        unexplained: replay.exact.unexplained,
        given_up: replay.has_given_up(),
        losses: met.losses.clone(),
    }
}

fn exact_part(replay: &Replay) -> Exact {
    let tally = &replay.exact;
    let asker = &replay.askers[0];
    let hours = tally.watched_ms as f64 / HOUR_MS;
    let side = |side: &exact::Side| Side {
        mean_interval: per(side.interval_ms / 1_000.0, tally.beats as f64),
        health_changes_per_agent_hour: per(side.health_changes as f64, hours),
        moves_per_agent_hour: per(side.moves as f64, hours),
        turns_per_agent_hour: per(side.turns as f64, hours),
        health_changes: side.health_changes,
        moves: side.moves,
        turns: side.turns,
    };
    let pairs = Health::ALL.iter().flat_map(|from| Health::ALL.iter().map(move |to| (*from, *to)));
    let counted = pairs.map(|(from, to)| (from, to, tally.confusion[from as usize][to as usize]));
    let kinds = Fault::ALL.iter().zip(asker.faults).filter(|(_, count)| *count > 0);
    let differing = replay.agents.list.iter().filter(|agent| agent.exact.differing > 0);
    Exact {
        differing: tally.differing,
        health: counted.filter(|(.., count)| *count > 0).collect(),
        interval: Difference {
            same: tally.ratios.equal,
            shorter: tally.ratios.below,
            longer: tally.ratios.above,
            seconds: tally.differences.quantiles(),
            seconds_bins: tally.differences.bins(BINS),
            ratio_bins: tally.ratios.bins(),
        },
        enforced: side(&tally.sides[0]),
        candidate: side(&tally.sides[1]),
        faults: Faults {
            kinds: kinds.map(|(fault, count)| (fault.as_str().to_owned(), count)).collect(),
            count: asker.all_faults(),
            breaker_trips: asker.trips,
        },
        policy_ns: per(asker.elapsed.as_nanos() as f64, asker.asked as f64),
        differing_agents: differing.count() as u64,
        top: top(replay),
        examples: tally
            .examples
            .iter()
            .map(|(kind, shown)| example(replay, *kind, shown))
            .collect(),
    }
}

fn per(count: f64, of: f64) -> f64 {
    if of > 0.0 { count / of } else { 0.0 }
}

/// Agents whose intervals differ most, whichever way; those of another health first where two
/// differ alike.
fn top(replay: &Replay) -> Vec<TopAgent> {
    let weight = |agent: &&agents::Agent| {
        let exact = &agent.exact;
        (f64::from(exact.log_ratio).abs() / f64::from(exact.beats.max(1)), exact.other_health)
    };
    let mut agents: Vec<&agents::Agent> =
        replay.agents.list.iter().filter(|agent| agent.exact.differing > 0).collect();
    agents.sort_by(|left, right| {
        let (left_weight, right_weight) = (weight(left), weight(right));
        let by_ratio = right_weight.0.total_cmp(&left_weight.0);
        by_ratio.then(right_weight.1.cmp(&left_weight.1)).then(left.key.cmp(&right.key))
    });
    let named = agents.into_iter().take(TOP);
    named
        .map(|agent| TopAgent {
            tenant: agent.tenant().to_owned(),
            agent_id: agent.id().to_owned(),
            heartbeats: agent.exact.beats,
            differing: agent.exact.differing,
            other_health: agent.exact.other_health,
            mean_ratio: per(agent.exact.log_ratio.into(), agent.exact.beats.into()).exp(),
            estimated_heartbeats: agent.run.estimated,
        })
        .collect()
}

fn example(replay: &Replay, kind: Kind, shown: &Shown) -> Example {
    let agent = &replay.agents.list[shown.lane.agent as usize];
    let (seen, answer) = (&shown.lane.seen, &shown.answer);
    let (policy, reason) = replay.reason(answer.cadence_source);
    let number = |hint: f64| hint.is_finite().then_some(hint);
    let health_reason =
        if replay.candidate.judges { replay.reason(answer.health_source).1 } else { String::new() };
    Example {
        kind: match kind {
            Kind::Health(from, to) => {
                let word = |number: u8| Health::from_number(number.into()).as_str();
                format!("{} becomes {}", word(from), word(to))
            }
            Kind::Tighter => "the interval is shorter".to_owned(),
            Kind::Relaxed => "the interval is longer".to_owned(),
            Kind::Fault => "the candidate fails, and the built-in policy answers".to_owned(),
        },
        tenant: agent.tenant().to_owned(),
        agent_id: agent.id().to_owned(),
        wall_ms: shown.lane.wall_ms,
        sequence: shown.lane.sequence,
        seen: serde_json::json!({
            "now_ms": seen.now_ms,
            "status": seen.status,
            "health": seen.health,
            "signals": signals(seen.signals.0),
            "interval_ms": seen.interval_ms,
            "lateness_ms": seen.lateness_ms,
            "missed": seen.missed,
            "queue_depth": seen.queue_depth,
            "queue_trend": seen.queue_trend,
            "active_tasks": seen.active_tasks,
            "cpu_percent": seen.cpu_percent,
            "memory_bytes": seen.memory_bytes,
            "errors": seen.errors,
            "latency_ms": seen.latency_ms,
            "progress_age_ms": seen.progress_age_ms,
            "fleet_load": seen.fleet_load,
            "custom": shown.lane.custom.as_deref(),
        }),
        enforced: Opinion {
            health: shown.lane.judged,
            health_reason: String::new(),
            hint_ms: number(shown.lane.hint_ms),
            interval_ms: shown.lane.effective_ms,
            policy: shown.policy.clone(),
            reason: shown.reason.clone(),
            fault: None,
        },
        candidate: Opinion {
            health: answer.health,
            health_reason,
            hint_ms: number(answer.hint_ms),
            interval_ms: shown.effective_ms,
            policy,
            reason,
            fault: answer.fault.map(|fault| fault.as_str().to_owned()),
        },
    }
}

/// Names of the flags, in the order of their bits.
const SIGNALS: [&str; 15] = [
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

fn signals(bits: u32) -> Vec<&'static str> {
    let numbered = SIGNALS.iter().enumerate();
    numbered.filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

fn estimate_part(replay: &Replay) -> Estimated {
    let tally = &replay.estimate;
    let hours = tally.lived_ms as f64 / HOUR_MS;
    let (high, uncertain) = (tally.estimated as f64, tally.uncertain as f64);
    let heartbeats = Bounds { low: high - uncertain, middle: high - uncertain / 2.0, high };
    let [low, middle, upper] = &tally.detection.shifts;
    let line = tally.timeline.as_ref();
    Estimated {
        recorded: tally.recorded,
        heartbeats,
        recorded_per_agent_hour: per(tally.recorded as f64, hours),
        per_agent_hour: per(heartbeats.middle, hours),
        recorded_early: tally.early[0],
        early: tally.early[1],
        undirected: tally.disobedient,
        turns_per_agent_hour: per(tally.turns as f64, hours),
        detection: Detection {
            silences: middle.quantiles().count + tally.detection.unnoticed,
            not_back: tally.detection.open,
            earlier: tally.detection.earlier,
            later: tally.detection.later,
            unnoticed: tally.detection.unnoticed,
            shift: Bounds {
                low: low.quantiles().mean,
                middle: middle.quantiles().mean,
                high: upper.quantiles().mean,
            },
            seconds: middle.quantiles(),
            seconds_bins: middle.bins(BINS),
        },
        false_suspicions: mistakes(&tally.mistakes[0]),
        false_failures: mistakes(&tally.mistakes[1]),
        breaks: tally.breaks,
        timeline: line.map_or_else(Timeline::default, |line| Timeline {
            start_wall_ms: replay.met.first_wall_ms.unwrap_or(0),
            step_ms: line.step_ms,
            recorded: line.recorded.clone(),
            estimated: line.estimated.clone(),
        }),
    }
}

fn mistakes(counted: &estimate::Mistakes) -> Mistakes {
    let bounds = |counts: [u64; 3]| {
        let [low, middle, high] = counts.map(|count| count as f64);
        Bounds { low, middle, high }
    };
    Mistakes {
        recorded: counted.recorded,
        estimated: bounds(counted.estimated),
        gone: bounds(counted.gone),
        come: bounds(counted.come),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_four_digits_at_most() {
        let said = [0.000_316_67, 23.656_32, 2_000.0, -26.0, 1_234_567.8, 0.5].map(four_digits);
        assert_eq!(said, ["0.0003167", "23.66", "2000", "-26", "1234568", "0.5"]);
    }
}
