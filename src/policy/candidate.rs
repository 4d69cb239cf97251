//! A policy asked by hand: loaded by itself, without routes, breaker or fallback, so that whoever
//! tests it sees what it answers and how it fails.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pulsegate_core::{Class, Incident, Observation, Plan};
use pulsegate_wire::{EarlyRule, Health};

use crate::describe::{self, Shape};
use crate::instance::{Instance, Prepared};
use crate::loader::{self, start_error};
use crate::question::Part;
use crate::{Digest, Engine, Error, Fault, rows};

/// A component that was compiled and whose imports and exports are those of a policy; nothing of
/// it has run yet.
#[derive(Clone)]
pub struct Candidate {
    prepared: Prepared,
    name: String,
    digest: Digest,
}

/// One instance of a candidate, for one class, settings and list of executors. After a fault it
/// answers nothing but faults.
pub struct Trial {
    pub(crate) instance: Instance,
    pub(crate) shape: Shape,
    exports: Vec<&'static str>,
    early: Vec<EarlyRule>,
    executors: Vec<(String, u32)>,
}

/// What a policy says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it calls itself.
    pub name: String,
    /// Its author's version.
    pub version: String,
    /// Custom metrics that it reads.
    pub metrics: Vec<String>,
    /// Numbers that it keeps with an agent, for each of health and cadence.
    pub memory_columns: usize,
    /// Texts of its reasons.
    pub reasons: Vec<String>,
}

/// A health, as a policy answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The health.
    pub health: Health,
    /// Its score: 0 (worst) to 100, or any other number.
    pub score: f64,
    /// The text of its reason.
    pub reason: String,
}

/// An interval, as a policy proposed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// The interval, in milliseconds: any number at all.
    pub interval_ms: f64,
    /// The text of its reason.
    pub reason: String,
}

impl Candidate {
    /// Compiles a component. `name` stands in errors.
    ///
    /// # Errors
    /// When it is no component, imports what policies may not have, or answers no question.
    pub fn load(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let digest = Digest::of(bytes);
        let pool = engine.shared.limits.pool_for(bytes.len());
        let prepared = loader::prepare(&engine.shared, name, (bytes, digest), pool)?;
        Ok(Self { prepared, name: name.to_owned(), digest })
    }

    /// Makes an instance, hands it its settings, and asks what it says about itself.
    ///
    /// # Errors
    /// When it does not start, refuses its settings, or describes itself against the rules.
    pub fn start(
        &self,
        class: &Class,
        executors: &[(String, u32)],
        settings: &serde_json::Value,
    ) -> Result<Trial, Error> {
        let settings = loader::configuration(class, executors, settings);
        Trial::start(&self.prepared, &self.name, class, executors, &settings)
    }

    /// SHA-256 of the component, in 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// What explanations call this revision: the first 12 digits of [`Candidate::digest`].
    #[must_use]
    pub fn revision(&self) -> String {
        self.digest.short()
    }

    /// Bytes of the component.
    #[must_use]
    pub fn size(&self) -> usize {
        self.prepared.size
    }

    /// What it imports, by name.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        imports(&self.prepared)
    }

    /// The questions that it answers: any of `health`, `cadence` and `recovery`.
    #[must_use]
    pub fn exports(&self) -> Vec<&'static str> {
        exports(&self.prepared)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, revision) = (&self.name, self.revision());
        f.debug_struct("Candidate").field("name", name).field("revision", &revision).finish()
    }
}

impl Trial {
    /// An instance of what is prepared, with the text that `configure` gets.
    pub(crate) fn start(
        prepared: &Prepared,
        name: &str,
        class: &Class,
        executors: &[(String, u32)],
        settings: &str,
    ) -> Result<Self, Error> {
        let refused = |error| start_error(name, prepared.pool, class, error);
        let mut instance = prepared.start(settings).map_err(refused)?;
        let described = instance.describe(&prepared.exports).map_err(refused)?;
        let (shape, early) = describe::check(described)
            .map_err(|reason| Error::Description { policy: name.to_owned(), reason })?;
        let executors = executors.to_vec();
        Ok(Self { instance, shape, exports: exports(prepared), early, executors })
    }

    /// What it says about itself.
    #[must_use]
    pub fn description(&self) -> Description {
        self.shape.description()
    }

    /// Its rules for early heartbeats, for the class that it was started for.
    #[must_use]
    pub fn early_rules(&self) -> &[EarlyRule] {
        &self.early
    }

    /// The questions that it answers: any of `health`, `cadence` and `recovery`.
    #[must_use]
    pub fn exports(&self) -> &[&'static str] {
        &self.exports
    }

    /// Bytes of its linear memories, which never shrink.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.instance.memory_bytes()
    }

    /// Judges one observation as a gateway would: in the flat form where that carries all that
    /// the policy needs, else as one row. `memory` holds its memory columns, at least as many as
    /// it names, and is changed.
    ///
    /// # Errors
    /// How it failed; the instance is spent.
    pub fn judge(
        &mut self,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Judgement, Fault> {
        let answer = self.ask(Part::Health, seen, custom, memory)?;
        let [health, reason, score] = answer[..] else { return Err(Fault::BadAnswer) };
        let health = rows::health(health).ok_or(Fault::BadAnswer)?;
        Ok(Judgement { health, score, reason: self.reason(reason)? })
    }

    /// Proposes an interval for one observation, likewise.
    ///
    /// # Errors
    /// How it failed; the instance is spent.
    pub fn suggest(
        &mut self,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Hint, Fault> {
        let answer = self.ask(Part::Cadence, seen, custom, memory)?;
        let [interval_ms, reason] = answer[..] else { return Err(Fault::BadAnswer) };
        Ok(Hint { interval_ms, reason: self.reason(reason)? })
    }

    /// Plans for an incident.
    ///
    /// # Errors
    /// How it failed; the instance is spent.
    pub fn propose(&mut self, incident: &Incident) -> Result<Plan, Fault> {
        let plan = self.instance.propose(incident.into())?;
        describe::check_plan(plan, &self.shape.reasons, &self.executors).ok_or(Fault::BadAnswer)
    }

    fn ask(
        &mut self,
        part: Part,
        seen: &Observation,
        custom: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Vec<f64>, Fault> {
        let seen = rows::clean_observation(seen);
        if self.shape.is_flat() {
            return self.flat(part, &seen);
        }
        let columns = self.shape.columns;
        let memory = memory.get_mut(..columns).ok_or(Fault::BadAnswer)?;
        let mut row = Vec::new();
        rows::push(&mut row, &self.shape, &seen, custom, memory);
        let mut answer = self.rows(part, row, 1)?;
        memory.copy_from_slice(&answer[part.columns()..]);
        answer.truncate(part.columns());
        Ok(answer)
    }

    /// Asks in the flat form; the answer as the numbers of a row.
    pub(crate) fn flat(&mut self, part: Part, seen: &Observation) -> Result<Vec<f64>, Fault> {
        let answer = match part {
            Part::Health => {
                let answer = self.instance.judge(seen.into())?;
                let health = Health::from(answer.health) as i32;
                vec![f64::from(health), f64::from(answer.reason), answer.score]
            }
            Part::Cadence => {
                let answer = self.instance.suggest(seen.into())?;
                vec![answer.interval_ms, f64::from(answer.reason)]
            }
        };
        self.valid(part, &answer)?;
        Ok(answer)
    }

    /// Asks in the rows form; the answer has the right number of numbers, and each row is one.
    pub(crate) fn rows(
        &mut self,
        part: Part,
        matrix: Vec<f64>,
        count: usize,
    ) -> Result<Vec<f64>, Fault> {
        let matrix = Arc::new(matrix);
        let answer = match part {
            Part::Health => self.instance.judge_rows(&matrix)?,
            Part::Cadence => self.instance.suggest_rows(&matrix)?,
        };
        let width = part.columns() + self.shape.columns;
        if answer.len() != count * width {
            return Err(Fault::BadAnswer);
        }
        answer.chunks_exact(width).try_for_each(|row| self.valid(part, row))?;
        Ok(answer)
    }

    fn valid(&self, part: Part, row: &[f64]) -> Result<(), Fault> {
        if part == Part::Health {
            rows::health(row[0]).ok_or(Fault::BadAnswer)?;
        }
        self.reason(row[1]).map(|_| ())
    }

    fn reason(&self, number: f64) -> Result<String, Fault> {
        let reasons = &self.shape.reasons;
        let index = rows::reason(number, reasons.len()).ok_or(Fault::BadAnswer)?;
        Ok(reasons[usize::from(index)].clone())
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Shape {
    /// What the policy says about itself, for people.
    pub(crate) fn description(&self) -> Description {
        Description {
            name: self.name.clone(),
            version: self.version.clone(),
            metrics: self.metrics.clone(),
            memory_columns: self.columns,
            reasons: self.reasons.clone(),
        }
    }
}

/// What a component imports, by name.
pub(crate) fn imports(prepared: &Prepared) -> Vec<String> {
    let component = prepared.pre.component().component_type();
    component.imports(&prepared.engine.wasm).map(|(name, _)| name.to_owned()).collect()
}

/// The questions that a component answers.
pub(crate) fn exports(prepared: &Prepared) -> Vec<&'static str> {
    let exports = &prepared.exports;
    let named = [
        ("health", exports.health.is_some()),
        ("cadence", exports.cadence.is_some()),
        ("recovery", exports.recovery.is_some()),
    ];
    named.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}
