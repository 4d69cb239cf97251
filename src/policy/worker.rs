//! One heartbeat's way through its policies, on one thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pulsegate_core::{ClassId, Incident, Observation, Plan, builtin};

use crate::loader::Policy;
use crate::question::{Judged, Part, Question, Suggested};
use crate::rows;
use crate::set::Entry;
use crate::warm::Warm;
use crate::{Assignment, Call, Evaluation, Fault, Memory, PolicySet, describe};

/// One thread's warm instances. Takes any set at any call; instances of the last one are kept.
/// Memory: one instance for each policy and class in use, 64 KiB to a megabyte each.
#[derive(Default)]
pub struct Worker {
    pub(crate) warm: Warm,
    /// The matrix of the next call; shared with the engine only while a call runs.
    pub(crate) rows: Arc<Vec<f64>>,
    pub(crate) batch: crate::batch::Scratch,
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
        let mut evaluation = Evaluation::pending(&seen);
        let (judged, call) = self.ask::<Judged>(set, entry, class, &seen, custom, memory);
        judged.enter(&mut seen, &mut evaluation);
        evaluation.calls[Part::Health as usize] = call;
        let (suggested, call) = self.ask::<Suggested>(set, entry, class, &seen, custom, memory);
        suggested.enter(&mut seen, &mut evaluation);
        evaluation.calls[Part::Cadence as usize] = call;
        evaluation
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

    /// Puts one question, to the policy of this entry or to the built-in one.
    #[inline]
    fn ask<Q: Question>(
        &mut self,
        set: &PolicySet,
        entry: &Entry,
        class: ClassId,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut Memory,
    ) -> (Q, Option<Call>) {
        match self.try_ask::<Q>(set, Q::policy(entry), class, seen, custom, memory) {
            None => (Q::builtin(seen, set, class), None),
            Some((outcome, call)) => {
                (outcome.unwrap_or_else(|_| Q::builtin(seen, set, class)), Some(call))
            }
        }
    }

    /// Puts one question to the policy of this index; `None` for the built-in one.
    #[inline]
    pub(crate) fn try_ask<Q: Question>(
        &mut self,
        set: &PolicySet,
        index: u16,
        class: ClassId,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut Memory,
    ) -> Option<(Result<Q, Fault>, Call)> {
        let policy = set.policy(index)?;
        let asked = (index, policy);
        Some(if policy.shape.is_flat() {
            self.warm.call(set, asked, class, |instance| Q::ask(instance, seen, asked))
        } else {
            let row = fill_row(&mut self.rows, policy, Q::PART, seen, custom, memory);
            self.warm.call(set, asked, class, |instance| {
                let answer = Q::ask_rows(instance, row)?;
                sized(&answer, 1, Q::COLUMNS, policy)?;
                let read = Q::read(&answer, asked)?;
                keep(&answer[Q::COLUMNS..], policy, Q::PART, memory);
                Ok(read)
            })
        })
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
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
