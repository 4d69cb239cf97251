//! The two questions that a heartbeat puts to policies: how healthy is this agent, and when should
//! it beat next. Each is asked in the flat form or in rows, and answered by the built-in policy
//! where no other does; what differs between them stands here and nowhere else.

use std::sync::Arc;

use pulsegate_core::{ClassId, Observation, VerdictSource, builtin};
use pulsegate_wire::Health;

use crate::instance::Instance;
use crate::loader::Policy;
use crate::rows::{self, HINT, JUDGEMENT};
use crate::set::Entry;
use crate::{Evaluation, Fault, PolicySet};

/// Which of a [`Memory`](crate::Memory)'s parts, and of an [`Evaluation`]'s calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Health,
    Cadence,
}

/// A question, as the type of its answer.
pub(crate) trait Question: Sized {
    const PART: Part;
    /// Columns of an answer's row, before memory.
    const COLUMNS: usize;

    /// Index of the policy that is asked.
    fn policy(entry: &Entry) -> u16;

    /// Asks in the flat form.
    fn ask(
        instance: &mut Instance,
        seen: &Observation,
        asked: (u16, &Policy),
    ) -> Result<Self, Fault>;

    /// Asks in the rows form.
    fn ask_rows(instance: &mut Instance, rows: &Arc<Vec<f64>>) -> Result<Vec<f64>, Fault>;

    /// Reads the row of an answer.
    fn read(row: &[f64], asked: (u16, &Policy)) -> Result<Self, Fault>;

    /// What the built-in policy answers.
    fn builtin(seen: &Observation, set: &PolicySet, class: ClassId) -> Self;

    /// Enters the answer; `seen` is what the next question sees.
    fn enter(self, seen: &mut Observation, evaluation: &mut Evaluation);
}

/// A health and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    health: Health,
    score: f64,
    source: VerdictSource,
}

/// An interval and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suggested {
    interval_ms: f64,
    source: VerdictSource,
}

impl Question for Judged {
    const PART: Part = Part::Health;
    const COLUMNS: usize = JUDGEMENT;

    fn policy(entry: &Entry) -> u16 {
        entry.health
    }

    #[inline]
    fn ask(
        instance: &mut Instance,
        seen: &Observation,
        asked: (u16, &Policy),
    ) -> Result<Self, Fault> {
        let answer = instance.judge(seen.into())?;
        let source = known_source(answer.reason, asked)?;
        Ok(Self { health: answer.health.into(), score: answer.score, source })
    }

    fn ask_rows(instance: &mut Instance, rows: &Arc<Vec<f64>>) -> Result<Vec<f64>, Fault> {
        instance.judge_rows(rows)
    }

    fn read(row: &[f64], asked: (u16, &Policy)) -> Result<Self, Fault> {
        let &[health, reason, score, ..] = row else { return Err(Fault::BadAnswer) };
        let health = rows::health(health).ok_or(Fault::BadAnswer)?;
        Ok(Self { health, score, source: source(reason, asked)? })
    }

    fn builtin(seen: &Observation, _set: &PolicySet, _class: ClassId) -> Self {
        let (health, score, reason) = builtin::judge(seen);
        Self { health, score, source: VerdictSource { policy: 0, reason } }
    }

    fn enter(self, seen: &mut Observation, evaluation: &mut Evaluation) {
        seen.health = self.health;
        evaluation.verdict.health = self.health;
        evaluation.verdict.score = self.score;
        evaluation.health_source = self.source;
    }
}

impl Question for Suggested {
    const PART: Part = Part::Cadence;
    const COLUMNS: usize = HINT;

    fn policy(entry: &Entry) -> u16 {
        entry.cadence
    }

    #[inline]
    fn ask(
        instance: &mut Instance,
        seen: &Observation,
        asked: (u16, &Policy),
    ) -> Result<Self, Fault> {
        let answer = instance.suggest(seen.into())?;
        let source = known_source(answer.reason, asked)?;
        Ok(Self { interval_ms: answer.interval_ms, source })
    }

    fn ask_rows(instance: &mut Instance, rows: &Arc<Vec<f64>>) -> Result<Vec<f64>, Fault> {
        instance.suggest_rows(rows)
    }

    fn read(row: &[f64], asked: (u16, &Policy)) -> Result<Self, Fault> {
        let &[interval_ms, reason, ..] = row else { return Err(Fault::BadAnswer) };
        Ok(Self { interval_ms, source: source(reason, asked)? })
    }

    fn builtin(seen: &Observation, set: &PolicySet, class: ClassId) -> Self {
        let (interval_ms, reason) = builtin::suggest(seen, &set.classes[class]);
        Self { interval_ms, source: VerdictSource { policy: 0, reason } }
    }

    fn enter(self, _seen: &mut Observation, evaluation: &mut Evaluation) {
        evaluation.verdict.interval_ms = self.interval_ms;
        evaluation.verdict.source = self.source;
    }
}

/// The source of a flat answer, whose reason must be one of the policy's.
fn known_source(reason: u32, (policy, asked): (u16, &Policy)) -> Result<VerdictSource, Fault> {
    match u16::try_from(reason) {
        Ok(reason) if usize::from(reason) < asked.shape.reasons.len() => {
            Ok(VerdictSource { policy, reason })
        }
        _ => Err(Fault::BadAnswer),
    }
}

/// The same for a number of a row.
fn source(reason: f64, (policy, asked): (u16, &Policy)) -> Result<VerdictSource, Fault> {
    let reason = rows::reason(reason, asked.shape.reasons.len()).ok_or(Fault::BadAnswer)?;
    Ok(VerdictSource { policy, reason })
}
