//! Whether a policy is a function of what it is asked.
//!
//! The first pass asks every question once, one at a time, on a fresh instance, and passes memory
//! from heartbeat to heartbeat; what goes in and what comes out is kept. Every further pass asks
//! the same questions with the same memory in another way, and must get the same bytes.
//!
//! Each question is timed each time it is asked alone, and its quickest time counts: a machine
//! that does something else in between is no fault of the policy.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pulsegate_core::{Class, ClassId, Incident, Observation};

use super::Slowest;
use super::corpus::{self, Beat};
use crate::bindings;
use crate::candidate::Trial;
use crate::describe;
use crate::limits::ROWS_PER_CALL;
use crate::loader::{self, Policy};
use crate::question::Part;
use crate::{Error, Fault, rows};

/// Times that the instance of the first pass is asked everything again: about two thousand calls
/// in all, for habits that need some. Source: chosen.
const AGAIN: usize = 2;

/// How a question was asked again.
const REVERSED: &str = "on a fresh instance, asked in reverse,";
const ONCE_MORE: &str = "asked once more";
/// Executors to plan over where few are configured, with their times in milliseconds. Source: the
/// words that `ladder` knows.
const STAND_INS: [(&str, u32); 4] =
    [("command", 10_000), ("restart", 30_000), ("replace", 120_000), ("alert", 60_000)];

/// What all classes come to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) questions: usize,
    pub(super) answers: usize,
    pub(super) memory_bytes: usize,
    pub(super) slowest: Slowest,
}

impl Tally {
    /// Counts one class's questions in.
    fn add(&mut self, asked: &[Asked], planned: &[Planned]) {
        self.questions += asked.len() + planned.len();
        let asked = asked.iter().map(|asked| (asked.part.name(), &asked.quickest));
        let planned = planned.iter().map(|planned| (PROPOSE, &planned.quickest));
        for (function, quickest) in asked.chain(planned) {
            if quickest.get() > self.slowest.elapsed {
                self.slowest = Slowest { function, elapsed: quickest.get() };
            }
        }
    }
}

/// Calls, and keeps the time where it is the shortest so far.
fn timed<T>(quickest: &Cell<Duration>, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let answer = call();
    quickest.set(quickest.get().min(began.elapsed()));
    answer
}

/// One incident and the first plan for it.
struct Planned {
    incident: Incident,
    plan: bindings::Plan,
    quickest: Cell<Duration>,
}

/// One question and its first answer.
struct Asked {
    part: Part,
    seen: Observation,
    /// Position of its heartbeat.
    beat: usize,
    row: Vec<f64>,
    answer: Vec<f64>,
    quickest: Cell<Duration>,
}

/// One class of one policy under test.
struct Subject<'a> {
    policy: &'a Policy,
    class: &'a Class,
    executors: &'a [(String, u32)],
    settings: &'a str,
    beats: Vec<Beat>,
}

/// Puts the corpus to a policy for one class.
pub(super) fn check(
    policy: &Policy,
    (id, class): (ClassId, &Class),
    executors: &[(String, u32)],
    settings: &str,
    tally: &mut Tally,
) -> Result<(), Error> {
    let beats = corpus::beats(class, &policy.shape.metrics);
    let subject = Subject { policy, class, executors, settings, beats };
    let exports = &policy.prepared.exports;
    let mut parts = Vec::new();
    parts.extend(exports.health.is_some().then_some(Part::Health));
    parts.extend(exports.cadence.is_some().then_some(Part::Cadence));
    let incidents = if exports.recovery.is_some() { corpus::incidents(id, class) } else { vec![] };
    let mut first = subject.start()?;
    let asked = subject.ask_first(&mut first, &parts)?;
    let planned = subject.plan_first(&mut first, &incidents)?;

    let mut fresh = subject.start()?;
    subject.compare_each(&mut fresh, asked.iter().rev(), REVERSED, tally)?;
    subject.compare_plans(&mut fresh, planned.iter().rev(), REVERSED, tally)?;

    let mut batched = subject.start()?;
    for part in &parts {
        subject.compare_rows(&mut batched, &asked, *part, tally)?;
    }
    for _ in 0..AGAIN {
        subject.compare_each(&mut first, asked.iter(), ONCE_MORE, tally)?;
        subject.compare_plans(&mut first, planned.iter(), ONCE_MORE, tally)?;
    }
    subject.compare_description(&mut first)?;
    tally.add(&asked, &planned);
    let used = [&first, &fresh, &batched].map(Trial::memory_bytes);
    tally.memory_bytes = used.into_iter().fold(tally.memory_bytes, usize::max);
    if exports.recovery.is_some() && executors.len() < STAND_INS.len() {
        check_plans(&subject, &incidents, tally)?;
    }
    Ok(())
}

/// Plans over executors that a gateway may well have, where few are configured: with none, or
/// with one, a policy can hardly plan two ways. One that refuses them is left alone.
fn check_plans(of: &Subject<'_>, incidents: &[Incident], tally: &mut Tally) -> Result<(), Error> {
    let executors = STAND_INS.map(|(id, wait_ms)| (id.to_owned(), wait_ms));
    let settings = loader::with_executors(of.settings, &executors);
    let beats = Vec::new();
    let subject = Subject { executors: &executors, settings: &settings, beats, ..*of };
    let Ok(mut first) = subject.start() else { return Ok(()) };
    let planned = subject.plan_first(&mut first, incidents)?;
    let mut fresh = subject.start()?;
    subject.compare_plans(&mut fresh, planned.iter().rev(), REVERSED, tally)?;
    subject.compare_plans(&mut first, planned.iter(), ONCE_MORE, tally)?;
    tally.add(&[], &planned);
    Ok(())
}

impl Subject<'_> {
    fn start(&self) -> Result<Trial, Error> {
        let Policy { prepared, name, .. } = self.policy;
        Trial::start(prepared, name, self.class, self.executors, self.settings)
    }

    /// Asks everything, one row at a time; cadence sees the health just judged.
    fn ask_first(&self, trial: &mut Trial, parts: &[Part]) -> Result<Vec<Asked>, Error> {
        let shape = &self.policy.shape;
        let mut all: Vec<Asked> = Vec::new();
        let mut memory = [[0.0; rows::COLUMNS_MAX]; 2];
        let mut agent = usize::MAX;
        for (index, beat) in self.beats.iter().enumerate() {
            if beat.agent != agent {
                agent = beat.agent;
                memory = Default::default();
            }
            let mut seen = rows::clean_observation(&beat.seen);
            for &part in parts {
                let kept = &mut memory[part as usize][..shape.columns];
                let mut row = Vec::new();
                rows::push(&mut row, shape, &seen, &beat.custom, kept);
                let input = row.clone();
                let quickest = Cell::new(Duration::MAX);
                let outcome = timed(&quickest, || trial.rows(part, input, 1));
                let answer = outcome.map_err(|fault| {
                    self.faulty(part.rows_name(), self.shown(&seen, index), fault)
                })?;
                kept.copy_from_slice(&answer[part.columns()..]);
                let asked = Asked { part, seen, beat: index, row, answer, quickest };
                if part == Part::Health {
                    seen.health = rows::health(asked.answer[0]).unwrap_or(seen.health);
                }
                all.push(asked);
            }
        }
        Ok(all)
    }

    /// Asks one at a time again: in the flat form where a gateway would, else as one row.
    fn compare_each<'q>(
        &self,
        trial: &mut Trial,
        questions: impl Iterator<Item = &'q Asked>,
        how: &'static str,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let is_flat = self.policy.shape.is_flat();
        let mut found = Simplest::default();
        for asked in questions {
            let part = asked.part;
            let function = if is_flat { part.name() } else { part.rows_name() };
            let outcome = timed(&asked.quickest, || match is_flat {
                true => trial.flat(part, &asked.seen),
                false => trial.rows(part, asked.row.clone(), 1),
            });
            let answer = outcome.map_err(|fault| {
                self.faulty(function, self.shown(&asked.seen, asked.beat), fault)
            })?;
            found.note(self.compare(asked, &answer, function, how));
            tally.answers += 1;
        }
        found.outcome()
    }

    /// Asks many at once, every agent's questions far apart.
    fn compare_rows(
        &self,
        trial: &mut Trial,
        asked: &[Asked],
        part: Part,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let mine: Vec<&Asked> = asked.iter().filter(|asked| asked.part == part).collect();
        let width = part.columns() + self.policy.shape.columns;
        let function = part.rows_name();
        let mut found = Simplest::default();
        for chunk in shuffled(&mine).chunks(ROWS_PER_CALL) {
            let matrix: Vec<f64> = chunk.iter().flat_map(|asked| asked.row.clone()).collect();
            let rows = chunk.len();
            let answers = trial.rows(part, matrix, rows).map_err(|fault| {
                let (first, more) = (chunk[0], chunk.len() - 1);
                let shown = self.shown(&first.seen, first.beat);
                self.faulty(function, format!("{shown} with {more} rows more in the call"), fault)
            })?;
            for (asked, answer) in chunk.iter().zip(answers.chunks_exact(width)) {
                found.note(self.compare(asked, answer, function, "among other rows"));
                tally.answers += 1;
            }
        }
        found.outcome()
    }

    fn plan_first(&self, trial: &mut Trial, incidents: &[Incident]) -> Result<Vec<Planned>, Error> {
        let plan = |incident: &Incident| {
            let quickest = Cell::new(Duration::MAX);
            let plan = self.plan(trial, incident, &quickest)?;
            Ok(Planned { incident: *incident, plan, quickest })
        };
        incidents.iter().map(plan).collect()
    }

    fn plan(
        &self,
        trial: &mut Trial,
        incident: &Incident,
        quickest: &Cell<Duration>,
    ) -> Result<bindings::Plan, Error> {
        let plan = timed(quickest, || trial.instance.propose(incident.into()));
        let reasons = &self.policy.shape.reasons;
        let checked = plan.and_then(|plan| {
            describe::check_plan(plan.clone(), reasons, self.executors)
                .map(|_| plan)
                .ok_or(Fault::BadAnswer)
        });
        checked.map_err(|fault| self.faulty(PROPOSE, incident.to_string(), fault))
    }

    fn compare_plans<'q>(
        &self,
        trial: &mut Trial,
        planned: impl Iterator<Item = &'q Planned>,
        how: &'static str,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        for Planned { incident, plan: first, quickest } in planned {
            let then = self.plan(trial, incident, quickest)?;
            if then != *first {
                let seen = incident.to_string();
                let [first, then] = [first, &then].map(|plan| self.told_plan(plan));
                return Err(self.impure(PROPOSE, seen, (first, how, then)));
            }
            tally.answers += 1;
        }
        Ok(())
    }

    /// A policy describes itself as it did when it was admitted, after all these questions.
    fn compare_description(&self, trial: &mut Trial) -> Result<(), Error> {
        let policy = self.policy.name.clone();
        let outcome = trial.instance.describe(&self.policy.prepared.exports);
        let described = outcome
            .map_err(|error| {
                loader::start_error(&policy, self.policy.prepared.pool, self.class, error)
            })
            .map(describe::check)?;
        match described {
            Ok((shape, early)) if shape == self.policy.shape && early == *trial.early_rules() => {
                Ok(())
            }
            _ => {
                let reason = "it is not the same after some calls".to_owned();
                Err(Error::Description { policy, reason })
            }
        }
    }

    fn compare(
        &self,
        asked: &Asked,
        answer: &[f64],
        function: &'static str,
        how: &'static str,
    ) -> Option<Difference> {
        // The flat form carries no memory, and a policy with memory is not asked in it.
        if asked.answer.len() == answer.len() && asked.answer.iter().zip(answer).all(is_same) {
            return None;
        }
        let seen = self.shown(&asked.seen, asked.beat);
        let [first, then] = [&asked.answer, answer].map(|row| self.told(asked.part, row));
        let size = seen.len();
        Some(Difference { size, error: self.impure(function, seen, (first, how, then)) })
    }

    /// An observation with its custom metrics, by what is out of the ordinary.
    fn shown(&self, seen: &Observation, beat: usize) -> String {
        let mut text = seen.beside(&Observation::ordinary(self.class)).to_string();
        for (name, value) in &self.beats[beat].custom {
            text.push_str(&format!(", metrics.{name} = {value:?}"));
        }
        text
    }

    fn told(&self, part: Part, row: &[f64]) -> String {
        let reason = |number: f64| {
            let reasons = &self.policy.shape.reasons;
            let index = rows::reason(number, reasons.len()).map_or(0, usize::from);
            reasons.get(index).cloned().unwrap_or_default()
        };
        let mut text = match part {
            Part::Health => {
                let health = rows::health(row[0]).map_or("none", |health| health.as_str());
                format!("{health}, score {:?}, {:?}", row[2], reason(row[1]))
            }
            Part::Cadence => format!("{:?} ms, {:?}", row[0], reason(row[1])),
        };
        if row.len() > part.columns() {
            text.push_str(&format!(", memory {:?}", &row[part.columns()..]));
        }
        text
    }

    fn told_plan(&self, plan: &bindings::Plan) -> String {
        let rungs: Vec<_> = plan.rungs.iter().map(|rung| rung.executor.as_str()).collect();
        let reasons = &self.policy.shape.reasons;
        let reason = reasons.get(plan.reason as usize).cloned().unwrap_or_default();
        format!("[{}], {reason:?}", rungs.join(", "))
    }

    fn faulty(&self, function: &'static str, seen: String, fault: Fault) -> Error {
        Error::Faulty {
            policy: self.policy.name.clone(),
            function,
            class: self.class.name.clone(),
            seen,
            reason: fault.as_str().to_owned(),
        }
    }

    fn impure(
        &self,
        function: &'static str,
        seen: String,
        (first, how, then): (String, &'static str, String),
    ) -> Error {
        let (policy, class) = (self.policy.name.clone(), self.class.name.clone());
        Error::Impure { policy, function, class, seen, first, how, then }
    }
}

/// An answer that was not the same, and how much there is to say about its observation.
struct Difference {
    size: usize,
    error: Error,
}

/// Of all that differs in one pass, what is easiest to read.
#[derive(Default)]
struct Simplest(Option<Difference>);

impl Simplest {
    fn note(&mut self, difference: Option<Difference>) {
        let Some(difference) = difference else { return };
        if self.0.as_ref().is_none_or(|known| difference.size < known.size) {
            self.0 = Some(difference);
        }
    }

    fn outcome(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |difference| Err(difference.error))
    }
}

const PROPOSE: &str = "recovery.propose";

impl Part {
    /// Its function in the flat form.
    const fn name(self) -> &'static str {
        match self {
            Self::Health => "health.judge",
            Self::Cadence => "cadence.suggest",
        }
    }

    /// Its function in the rows form.
    const fn rows_name(self) -> &'static str {
        match self {
            Self::Health => "health.judge-rows",
            Self::Cadence => "cadence.suggest-rows",
        }
    }

    /// Columns of an answer's row, before memory.
    pub(crate) const fn columns(self) -> usize {
        match self {
            Self::Health => rows::JUDGEMENT,
            Self::Cadence => rows::HINT,
        }
    }
}

/// Whether two numbers have the same bytes; which NaN it is, no machine is asked to agree on.
fn is_same((first, then): (&f64, &f64)) -> bool {
    first.to_bits() == then.to_bits() || first.is_nan() && then.is_nan()
}

/// The same items in another order: every seventeenth, from each start in turn.
fn shuffled<T: Copy>(items: &[T]) -> Vec<T> {
    (0..17).flat_map(|start| items.iter().skip(start).step_by(17).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_holds_every_item_once() {
        let items: Vec<u32> = (0..100).collect();
        let mut shuffled = shuffled(&items);
        assert_ne!(shuffled, items);
        shuffled.sort_unstable();
        assert_eq!(shuffled, items);
    }

    #[test]
    fn only_the_same_bytes_are_the_same() {
        assert!(is_same((&1.0, &1.0)) && is_same((&f64::NAN, &-f64::NAN)));
        assert!(!is_same((&0.0, &-0.0)) && !is_same((&1.0, &f64::NAN)));
    }
}
