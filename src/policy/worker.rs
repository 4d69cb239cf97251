//! One heartbeat's way through its policies, on one thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pulsegate_core::{ClassId, Incident, Observation, Plan, Verdict, VerdictSource, builtin};
use pulsegate_wire::Health;

use crate::loader::Policy;
use crate::rows::{self, HINT, JUDGEMENT};
use crate::warm::Warm;
use crate::{Assignment, Call, Evaluation, Fault, Memory, PolicySet, describe};

/// Which of a [`Memory`]'s parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Health,
    Cadence,
}

/// One thread's warm instances. Takes any set at any call; instances of the last one are kept.
/// Memory: one instance for each policy and class in use, 64 KiB to a megabyte each.
#[derive(Default)]
pub struct Worker {
    pub(crate) warm: Warm,
    /// The matrix of the next call; shared with the engine only while a call runs.
    pub(crate) rows: Arc<Vec<f64>>,
    pub(crate) batch: crate::batch::Scratch,
}

/// A health and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) health: Health,
    pub(crate) score: f64,
    pub(crate) source: VerdictSource,
}

/// An interval and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suggested {
    pub(crate) interval_ms: f64,
    pub(crate) source: VerdictSource,
}

impl Worker {
    /// A worker without instances.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Evaluates one heartbeat: health first, then cadence with the health just judged. Always
    /// answers: for a policy that fails, the built-in one does.
    pub fn evaluate(
        &mut self,
        set: &PolicySet,
        assignment: Assignment,
        class: ClassId,
        observation: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut Memory,
    ) -> Evaluation {
        self.warm.adopt(set);
        let entry = set.entry(assignment);
        let class = set.known_class(class);
        let mut seen = rows::clean_observation(observation);
        let mut calls = [None; 2];
        let mut judged = None;
        if let Some(policy) = set.policy(entry.health) {
            let policy = (entry.health, policy);
            let (outcome, call) = self.judge(set, policy, class, &seen, custom, memory);
            (judged, calls[0]) = (outcome.ok(), Some(call));
        }
        let judged = judged.unwrap_or_else(|| Judged::builtin(&seen));
        seen.health = judged.health;
        let mut suggested = None;
        if let Some(policy) = set.policy(entry.cadence) {
            let policy = (entry.cadence, policy);
            let (outcome, call) = self.suggest(set, policy, class, &seen, custom, memory);
            (suggested, calls[1]) = (outcome.ok(), Some(call));
        }
        let suggested = suggested.unwrap_or_else(|| Suggested::builtin(&seen, set, class));
        Evaluation {
            verdict: Verdict {
                health: judged.health,
                score: judged.score,
                interval_ms: suggested.interval_ms,
                source: suggested.source,
            },
            health_source: judged.source,
            calls,
        }
    }

    /// Plans for an incident. Always answers: for a policy that fails, the built-in one does.
    pub fn propose(
        &mut self,
        set: &PolicySet,
        assignment: Assignment,
        incident: &Incident,
    ) -> (Plan, Option<Call>) {
        self.warm.adopt(set);
        let index = set.entry(assignment).recovery;
        let Some(policy) = set.policy(index) else {
            return (builtin::propose(incident, &set.executors), None);
        };
        let class = set.known_class(incident.class);
        let (outcome, call) = self.warm.call(set, (index, policy), class, |instance| {
            let plan = instance.propose(incident.into())?;
            describe::check_plan(plan, &policy.shape.reasons, &set.executors)
                .ok_or(Fault::BadAnswer)
        });
        let plan = outcome.unwrap_or_else(|_| builtin::propose(incident, &set.executors));
        (plan, Some(call))
    }

    #[inline]
    fn judge(
        &mut self,
        set: &PolicySet,
        (index, policy): (u16, &Policy),
        class: ClassId,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut Memory,
    ) -> (Result<Judged, Fault>, Call) {
        if policy.shape.is_flat() {
            return self.warm.call(set, (index, policy), class, |instance| {
                let answer = instance.judge(seen.into())?;
                let reason = known_reason(answer.reason, policy)?;
                let source = VerdictSource { policy: index, reason };
                Ok(Judged { health: answer.health.into(), score: answer.score, source })
            });
        }
        let row = fill_row(&mut self.rows, policy, Part::Health, seen, custom, memory);
        self.warm.call(set, (index, policy), class, |instance| {
            let answer = instance.judge_rows(row)?;
            sized(&answer, 1, JUDGEMENT, policy)?;
            let judged = Judged::read(&answer, index, policy)?;
            keep(&answer[JUDGEMENT..], policy, Part::Health, memory);
            Ok(judged)
        })
    }

    #[inline]
    fn suggest(
        &mut self,
        set: &PolicySet,
        (index, policy): (u16, &Policy),
        class: ClassId,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut Memory,
    ) -> (Result<Suggested, Fault>, Call) {
        if policy.shape.is_flat() {
            return self.warm.call(set, (index, policy), class, |instance| {
                let answer = instance.suggest(seen.into())?;
                let reason = known_reason(answer.reason, policy)?;
                let source = VerdictSource { policy: index, reason };
                Ok(Suggested { interval_ms: answer.interval_ms, source })
            });
        }
        let row = fill_row(&mut self.rows, policy, Part::Cadence, seen, custom, memory);
        self.warm.call(set, (index, policy), class, |instance| {
            let answer = instance.suggest_rows(row)?;
            sized(&answer, 1, HINT, policy)?;
            let suggested = Suggested::read(&answer, index, policy)?;
            keep(&answer[HINT..], policy, Part::Cadence, memory);
            Ok(suggested)
        })
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Judged {
    /// What the built-in policy judges.
    pub(crate) fn builtin(seen: &Observation) -> Self {
        let (health, score, reason) = builtin::judge(seen);
        Self { health, score, source: VerdictSource { policy: 0, reason } }
    }

    /// The health of an answer's row.
    pub(crate) fn read(row: &[f64], index: u16, policy: &Policy) -> Result<Self, Fault> {
        let &[health, reason, score, ..] = row else { return Err(Fault::BadAnswer) };
        let health = rows::health(health).ok_or(Fault::BadAnswer)?;
        let reason = rows::reason(reason, policy.shape.reasons.len()).ok_or(Fault::BadAnswer)?;
        Ok(Self { health, score, source: VerdictSource { policy: index, reason } })
    }
}

impl Suggested {
    /// What the built-in policy proposes.
    pub(crate) fn builtin(seen: &Observation, set: &PolicySet, class: ClassId) -> Self {
        let (interval_ms, reason) = builtin::suggest(seen, &set.classes[class]);
        Self { interval_ms, source: VerdictSource { policy: 0, reason } }
    }

    /// The interval of an answer's row.
    pub(crate) fn read(row: &[f64], index: u16, policy: &Policy) -> Result<Self, Fault> {
        let &[interval_ms, reason, ..] = row else { return Err(Fault::BadAnswer) };
        let reason = rows::reason(reason, policy.shape.reasons.len()).ok_or(Fault::BadAnswer)?;
        Ok(Self { interval_ms, source: VerdictSource { policy: index, reason } })
    }
}

fn known_reason(reason: u32, policy: &Policy) -> Result<u16, Fault> {
    match u16::try_from(reason) {
        Ok(index) if usize::from(index) < policy.shape.reasons.len() => Ok(index),
        _ => Err(Fault::BadAnswer),
    }
}

/// Refuses an answer that has not exactly the numbers it should have.
pub(crate) fn sized(
    answer: &[f64],
    rows: usize,
    columns: usize,
    policy: &Policy,
) -> Result<(), Fault> {
    let wanted = rows * (columns + policy.shape.columns);
    if answer.len() == wanted { Ok(()) } else { Err(Fault::BadAnswer) }
}

fn fill_row<'a>(
    rows: &'a mut Arc<Vec<f64>>,
    policy: &Policy,
    part: Part,
    seen: &Observation,
    custom: &BTreeMap<String, f64>,
    memory: &Memory,
) -> &'a Arc<Vec<f64>> {
    let matrix = Arc::make_mut(rows);
    matrix.clear();
    push_row(matrix, policy, part, seen, custom, memory);
    rows
}

/// Appends one agent's row, with the memory that this revision kept.
pub(crate) fn push_row(
    matrix: &mut Vec<f64>,
    policy: &Policy,
    part: Part,
    seen: &Observation,
    custom: &BTreeMap<String, f64>,
    memory: &Memory,
) {
    const NOTHING: [f64; rows::COLUMNS_MAX] = [0.0; rows::COLUMNS_MAX];
    let part = part as usize;
    let ours = memory.revision[part] == policy.tag;
    let columns = if ours { &memory.columns[part] } else { &NOTHING };
    rows::push(matrix, &policy.shape, seen, custom, &columns[..policy.shape.columns]);
}

/// Keeps the memory columns of an answer's row.
pub(crate) fn keep(columns: &[f64], policy: &Policy, part: Part, memory: &mut Memory) {
    if policy.shape.columns > 0 {
        let part = part as usize;
        memory.revision[part] = policy.tag;
        memory.columns[part] = [0.0; rows::COLUMNS_MAX];
        memory.columns[part][..columns.len()].copy_from_slice(columns);
    }
}
