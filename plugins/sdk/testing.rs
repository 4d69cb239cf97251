//! Tests of a policy without Wasm: the same cases that `pulsegate policy test` puts to the
//! component, put to the same functions by `cargo test`. Needs the feature `testing`.
//!
//! With that feature [`policy!`](crate::policy) makes a `POLICY` too, on every target but Wasm:
//!
//! ```toml
//! [dependencies]
//! pulsegate-sdk = "0.1"
//!
//! [dev-dependencies]
//! pulsegate-sdk = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use pulsegate_sdk::{Config, Hint, NoSettings, Observation, policy};
//!
//! fn suggest(config: &Config<NoSettings>, seen: &Observation) -> Hint {
//!     let usual = f64::from(config.class.interval_ms);
//!     if seen.queue_depth > 1_000.0 { Hint::new(usual / 3.0, 1) } else { Hint::new(usual, 0) }
//! }
//!
//! policy! {
//!     name: "busy-bees",
//!     reasons: ["as usual", "the queue is long"],
//!     cadence: suggest,
//! }
//!
//! // In a `#[test]`, with the text of `include_str!("cases.toml")`:
//! # fn main() {
//! pulsegate_sdk::testing::run(&POLICY, r#"
//!     [[case]]
//!     name = "a long queue beats three times as often"
//!     observation = { queue_depth = 1200 }
//!     expect = { interval_ms = 10000, interval_reason = "the queue is long" }
//! "#);
//! # }
//! ```
//!
//! A component answers as the native functions do, but for one thing: what the standard library
//! leaves to the machine (`powf`, `exp`, `sin` and their like) may differ in the last bit. Round
//! what comes from them, as an interval in milliseconds may well be.

use std::borrow::ToOwned;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use pulsegate_cases as cases;
use pulsegate_core as machine;
use serde::de::DeserializeOwned;

use crate::bindings::manifest_part::exports::pulsegate::policy::manifest::Description;
use crate::{Config, Health, Hint, Incident, IncidentKind, Judgement, Observation, Plan, Status};

/// Puts the cases of a text to a policy.
///
/// # Panics
/// When a case fails, with everything that is to be known about all that do; when the text holds
/// no cases, with everything that is wrong with it.
#[track_caller]
pub fn run(policy: &Policy, text: &str) {
    if let Err(failures) = outcome(policy, "cases.toml", text) {
        panic!("{failures}");
    }
}

/// Puts the cases of a text to a policy: how many hold.
///
/// # Errors
/// A text for people: every case that fails, or everything that is wrong with the file. `name`
/// is what it calls the file.
pub fn outcome(policy: &Policy, name: &str, text: &str) -> Result<usize, String> {
    let file = cases::File::read(name, text).map_err(|error| error.to_string())?;
    let known = machine::Classes::default();
    let mut failures = Vec::new();
    for case in &file.cases {
        let class = case.class.find(&known);
        let class = class.map_err(|(line, message)| format!("{name}:{line}: class: {message}"))?;
        let failed = |why: &str| format!("{}  ({name}:{})\n{why}", case.name, case.line);
        match policy.start(&cases::configuration(case, &class)) {
            Err(refused) => failures.push(failed(&format!("    it refuses: {refused}\n"))),
            Ok(native) => {
                let mut asked = Asked { native, executors: &case.executors };
                let answers = cases::run(case, &class, &mut asked);
                let missed = answers.iter().filter(|answers| !answers.is_passed());
                let told = missed.map(|answers| cases::told(answers, case.steps.len(), "    "));
                let told: String = told.collect();
                if !told.is_empty() {
                    failures.push(failed(&told));
                }
            }
        }
    }
    if failures.is_empty() {
        return Ok(file.cases.len());
    }
    let all = file.cases.len();
    Err(format!("{} of {all} cases failed\n{}", failures.len(), failures.concat()))
}

/// A policy as native tests have it: what [`policy!`](crate::policy) makes with the feature
/// `testing`.
#[derive(Debug)]
pub struct Policy {
    start: fn(&str) -> Result<Box<dyn Native>, String>,
}

impl Policy {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(start: fn(&str) -> Result<Box<dyn Native>, String>) -> Self {
        Self { start }
    }

    /// A new instance, with what the host hands to `configure`.
    ///
    /// # Errors
    /// Its text, when it refuses its settings.
    pub fn start(&self, configuration: &str) -> Result<Box<dyn Native>, String> {
        (self.start)(configuration)
    }
}

/// A native instance: what a component exports, asked without Wasm. An answer is `None` where the
/// policy does not answer the question.
pub trait Native {
    /// What it says about itself.
    fn describe(&self) -> Description;
    /// Judges in the flat form.
    fn judge(&self, seen: &Observation) -> Option<Judgement>;
    /// Judges rows.
    fn judge_rows(&self, rows: Vec<f64>) -> Option<Vec<f64>>;
    /// Proposes in the flat form.
    fn suggest(&self, seen: &Observation) -> Option<Hint>;
    /// Proposes for rows.
    fn suggest_rows(&self, rows: Vec<f64>) -> Option<Vec<f64>>;
    /// Plans for an incident.
    fn propose(&self, incident: &Incident) -> Option<Plan>;
}

/// Functions in the two forms of a call.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "made and used by the macro")]
pub struct Forms<S, A> {
    pub flat: fn(&Config<S>, &Observation) -> A,
    pub rows: fn(&Config<S>, Vec<f64>) -> Vec<f64>,
}

#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "made and used by the macro")]
pub struct Functions<S> {
    pub describe: fn(&Config<S>) -> Description,
    pub health: Option<Forms<S, Judgement>>,
    pub cadence: Option<Forms<S, Hint>>,
    pub recovery: Option<fn(&Config<S>, &Incident) -> Plan>,
}

/// Starts an instance of these functions.
#[doc(hidden)]
pub fn start<S: DeserializeOwned + 'static>(
    configuration: &str,
    functions: Functions<S>,
) -> Result<Box<dyn Native>, String> {
    let config = Config::read(configuration)?;
    Ok(Box::new(Started { config, functions }))
}

struct Started<S> {
    config: Config<S>,
    functions: Functions<S>,
}

impl<S> Native for Started<S> {
    fn describe(&self) -> Description {
        (self.functions.describe)(&self.config)
    }

    fn judge(&self, seen: &Observation) -> Option<Judgement> {
        Some((self.functions.health.as_ref()?.flat)(&self.config, seen))
    }

    fn judge_rows(&self, rows: Vec<f64>) -> Option<Vec<f64>> {
        Some((self.functions.health.as_ref()?.rows)(&self.config, rows))
    }

    fn suggest(&self, seen: &Observation) -> Option<Hint> {
        Some((self.functions.cadence.as_ref()?.flat)(&self.config, seen))
    }

    fn suggest_rows(&self, rows: Vec<f64>) -> Option<Vec<f64>> {
        Some((self.functions.cadence.as_ref()?.rows)(&self.config, rows))
    }

    fn propose(&self, incident: &Incident) -> Option<Plan> {
        Some((self.functions.recovery?)(&self.config, incident))
    }
}

/// A native instance as the cases ask it: in the form that a gateway would take.
struct Asked<'a> {
    native: Box<dyn Native>,
    executors: &'a [(String, u32)],
}

const NO_ANSWER: &str = "its answer is none: a reason or executor that there is not, or not as \
                         many numbers as there should be";

impl Asked<'_> {
    /// Asks for the numbers of one row's answer; what a policy keeps is changed.
    fn row(
        &self,
        ask: fn(&dyn Native, Vec<f64>) -> Option<Vec<f64>>,
        seen: &machine::Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Vec<f64>, String> {
        let names = self.native.describe().metrics;
        let mut row = numbers(&observation(seen));
        row.extend(names.iter().map(|name| metrics.get(name).copied().unwrap_or(f64::NAN)));
        row.extend_from_slice(memory);
        let answer = caught(|| ask(&*self.native, row))?.ok_or(NO_ANSWER)?;
        let own = answer.len().checked_sub(memory.len()).ok_or(NO_ANSWER)?;
        memory.copy_from_slice(&answer[own..]);
        Ok(answer[..own].to_vec())
    }

    fn is_flat(&self) -> bool {
        let described = self.native.describe();
        described.metrics.is_empty() && described.memory_columns == 0
    }

    fn reason(&self, index: u32) -> Result<String, String> {
        let reasons = self.native.describe().reasons;
        reasons.get(index as usize).cloned().ok_or_else(|| NO_ANSWER.to_owned())
    }
}

impl cases::Policy for Asked<'_> {
    fn shape(&self) -> cases::Shape {
        let described = self.native.describe();
        // Asking without rows, or for no incident in particular, only tells who would answer.
        cases::Shape {
            judges: self.native.judge_rows(Vec::new()).is_some(),
            paces: self.native.suggest_rows(Vec::new()).is_some(),
            plans: caught(|| self.native.propose(&Incident::default()).is_some()).unwrap_or(true),
            metrics: described.metrics,
            memory_columns: described.memory_columns as usize,
        }
    }

    fn judge(
        &mut self,
        seen: &machine::Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<cases::Judgement, String> {
        let answer = if self.is_flat() {
            let seen = observation(seen);
            let answer = caught(|| self.native.judge(&seen))?.ok_or(NO_ANSWER)?;
            vec![f64::from(answer.health as u8), f64::from(answer.reason), answer.score]
        } else {
            self.row(|native, rows| native.judge_rows(rows), seen, metrics, memory)?
        };
        let [health, reason, score] = answer[..] else { return Err(NO_ANSWER.to_owned()) };
        let healths = pulsegate_wire::Health::ALL;
        let health = healths.get(health as usize).copied().ok_or(NO_ANSWER)?;
        Ok(cases::Judgement { health, score, reason: self.reason(reason as u32)? })
    }

    fn suggest(
        &mut self,
        seen: &machine::Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<cases::Hint, String> {
        let answer = if self.is_flat() {
            let seen = observation(seen);
            let answer = caught(|| self.native.suggest(&seen))?.ok_or(NO_ANSWER)?;
            vec![answer.interval_ms, f64::from(answer.reason)]
        } else {
            self.row(|native, rows| native.suggest_rows(rows), seen, metrics, memory)?
        };
        let [interval_ms, reason] = answer[..] else { return Err(NO_ANSWER.to_owned()) };
        Ok(cases::Hint { interval_ms, reason: self.reason(reason as u32)? })
    }

    fn propose(&mut self, incident: &machine::Incident) -> Result<machine::Plan, String> {
        let incident = self::incident(incident);
        let plan = caught(|| self.native.propose(&incident))?.ok_or(NO_ANSWER)?;
        if plan.rungs.len() > machine::Plan::MAX_RUNGS {
            return Err(format!(
                "{} rungs, at most {}",
                plan.rungs.len(),
                machine::Plan::MAX_RUNGS
            ));
        }
        let mut rungs = Vec::new();
        for rung in plan.rungs {
            let known = self.executors.iter().find(|(id, _)| *id == rung.executor);
            let (_, usual) = known.ok_or_else(|| {
                format!("it plans {:?}, and no executor of the case has this id", rung.executor)
            })?;
            let wait_ms = if rung.wait_ms == 0 { *usual } else { rung.wait_ms };
            rungs.push(machine::Rung { executor: rung.executor, wait_ms });
        }
        Ok(machine::Plan { rungs, reason: self.reason(plan.reason)? })
    }
}

/// What a panic says, which in Wasm is a trap.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("it trapped: {}", text.unwrap_or_else(|| "a panic".to_owned()))
    })
}

/// An observation of the gateway as policies see it.
#[must_use]
pub fn observation(seen: &machine::Observation) -> Observation {
    Observation {
        now_ms: seen.now_ms,
        status: status(seen.status),
        health: health(seen.health),
        signals: crate::Signals::from_bits_truncate(seen.signals.0 as u16),
        interval_ms: seen.interval_ms,
        lateness_ms: seen.lateness_ms,
        missed: seen.missed,
        queue_depth: seen.queue_depth,
        queue_trend: seen.queue_trend,
        active_tasks: seen.active_tasks,
        cpu_percent: seen.cpu_percent,
        memory_bytes: seen.memory_bytes,
        errors: seen.errors,
        latency_ms: seen.latency_ms,
        progress_age_ms: seen.progress_age_ms,
        fleet_load: seen.fleet_load,
    }
}

/// An incident of the gateway as policies see it.
#[must_use]
pub fn incident(incident: &machine::Incident) -> Incident {
    Incident {
        kind: match incident.kind {
            pulsegate_wire::IncidentKind::Silence => IncidentKind::Silence,
            pulsegate_wire::IncidentKind::Health => IncidentKind::Health,
        },
        number: incident.number,
        silent_ms: incident.silent_ms,
        missed: incident.missed,
        health: health(incident.health),
        status: status(incident.status),
        reachable: incident.reachable,
    }
}

/// An observation as the first sixteen numbers of a row.
#[must_use]
pub fn numbers(seen: &Observation) -> Vec<f64> {
    vec![
        seen.now_ms as f64,
        f64::from(seen.status as u8),
        f64::from(seen.health as u8),
        f64::from(seen.signals.bits()),
        f64::from(seen.interval_ms),
        seen.lateness_ms as f64,
        f64::from(seen.missed),
        seen.queue_depth,
        seen.queue_trend,
        seen.active_tasks,
        seen.cpu_percent,
        seen.memory_bytes,
        f64::from(seen.errors),
        seen.latency_ms,
        seen.progress_age_ms as f64,
        seen.fleet_load,
    ]
}

fn status(status: pulsegate_wire::Status) -> Status {
    use pulsegate_wire::Status as Wire;
    match status {
        Wire::Healthy => Status::Healthy,
        Wire::Degraded => Status::Degraded,
        Wire::Busy => Status::Busy,
        Wire::Recovering => Status::Recovering,
        Wire::Stopping => Status::Stopping,
    }
}

fn health(health: pulsegate_wire::Health) -> Health {
    use pulsegate_wire::Health as Wire;
    match health {
        Wire::Healthy => Health::Healthy,
        Wire::Degraded => Health::Degraded,
        Wire::Unhealthy => Health::Unhealthy,
        Wire::Stalled => Health::Stalled,
    }
}
