//! Declarative test cases of policies: read from TOML, put to a policy, compared with what it was
//! expected to answer.
//!
//! A [`File`] is read once and may be run anywhere: `pulsegate policy test` puts its cases to a
//! component, and the SDK for Rust puts the same cases to the same functions natively, so that
//! `cargo test` and the command have one meaning. Whoever can be asked implements [`Policy`];
//! everything else, from what an absent field means to how memory passes from heartbeat to
//! heartbeat, is decided here and nowhere else.
//!
//! ```
//! let text = r#"
//!     [[case]]
//!     name = "a long queue beats faster"
//!     observation = { queue_depth = 1200 }
//!     expect = { interval_ms = { max = 10000 } }
//! "#;
//! let file = pulsegate_cases::File::read("cases.toml", text).unwrap();
//! assert_eq!(file.cases[0].name, "a long queue beats faster");
//! let error = pulsegate_cases::File::read("cases.toml", "[[case]]\nnmae = 3\n").unwrap_err();
//! assert!(error.to_string().starts_with("cases.toml:1: case[0].name: is needed"));
//! ```
//!
//! This room may touch `wire` and `core` for the words of policies. It knows no Wasm.

mod error;
mod expect;
mod read;
mod run;
mod steps;
mod told;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pulsegate_core::{Class, ClassId, Classes, Incident};
use pulsegate_wire::{Health, Status};

pub use error::{Error, Problem};
pub use expect::{Bounds, Expect, Expected, Rung};
pub use run::{Answers, Hint, Judgement, Kind, Miss, Policy, Shape, run};
pub use told::told;

/// Largest file, in bytes. Source: chosen; a thousand cases of a thousand bytes.
pub const FILE_BYTES: usize = 1 << 20;
/// Most cases of a file. Source: chosen.
pub const CASES_MAX: usize = 1_000;
/// Most steps of a case, and most repetitions of a step. Source: chosen; a day of heartbeats at
/// the default interval is 2,880.
pub const STEPS_MAX: usize = 1_000;

/// The cases of one file, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// What problems and failures call it.
    pub name: String,
    /// At least one.
    pub cases: Vec<Case>,
}

/// A sequence of heartbeats or incidents of one agent, and what shall be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it claims; unlike any other of its file.
    pub name: String,
    /// Line at which it begins.
    pub line: usize,
    /// Class of the agent.
    pub class: ClassChoice,
    /// What an operator would have written for the policy: a JSON object.
    pub settings: serde_json::Value,
    /// Configured executors: id, and the time each is given in milliseconds.
    pub executors: Vec<(String, u32)>,
    /// At least one.
    pub steps: Vec<Step>,
}

/// One thing that happens to the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Line at which it begins.
    pub line: usize,
    /// How many times in a row it happens, 1 to 1,000; what is expected is expected of the last.
    pub repeat: u32,
    /// What happens.
    pub asked: Asked,
    /// What shall be answered; may be nothing, for a step that only leads to the next.
    pub expect: Expect,
}

/// What a policy is asked about.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A heartbeat.
    Heartbeat {
        /// Fields that are out of the ordinary.
        fields: Vec<Field>,
        /// Custom metrics.
        metrics: BTreeMap<String, f64>,
    },
    /// An incident.
    Incident(Trouble),
}

/// One field of an observation with its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field {
    /// `now_ms`
    Now(u64),
    /// `status`
    Status(Status),
    /// `health`
    Health(Health),
    /// `signals`, without those that follow from other fields.
    Signals(pulsegate_core::Signals),
    /// `interval_ms`
    Interval(u32),
    /// `lateness_ms`
    Lateness(i64),
    /// `missed`
    Missed(u32),
    /// `queue_depth`
    QueueDepth(f64),
    /// `queue_trend`
    QueueTrend(f64),
    /// `active_tasks`
    ActiveTasks(f64),
    /// `cpu_percent`
    CpuPercent(f64),
    /// `memory_bytes`
    MemoryBytes(f64),
    /// `errors`
    Errors(u32),
    /// `latency_ms`
    Latency(f64),
    /// `progress_age_ms`
    ProgressAge(u64),
    /// `fleet_load`
    FleetLoad(f64),
}

/// Fields of an incident; what is absent is as in [`Incident::ordinary`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trouble {
    /// `kind`
    pub kind: Option<pulsegate_wire::IncidentKind>,
    /// `number`
    pub number: Option<u32>,
    /// `silent_ms`
    pub silent_ms: Option<u64>,
    /// `missed`
    pub missed: Option<u32>,
    /// `health`
    pub health: Option<Health>,
    /// `status`
    pub status: Option<Status>,
    /// `reachable`
    pub reachable: Option<bool>,
}

/// The class of a case's agent.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassChoice {
    /// One that is configured, or that everybody has by default.
    Named {
        /// Its name.
        name: String,
        /// Line that names it; 0 where no line does, and it is `normal`.
        line: usize,
    },
    /// One written out.
    Written(Class),
}

impl ClassChoice {
    /// The class, among those known.
    ///
    /// # Errors
    /// A text, and the line that it is about, when no class has this name.
    pub fn find(&self, known: &Classes) -> Result<Class, (usize, String)> {
        match self {
            Self::Written(class) => Ok(class.clone()),
            Self::Named { name, line } => match known.find(name) {
                Some(id) => Ok(known[id].clone()),
                None => {
                    let names: Vec<_> = known.iter().map(|(_, class)| class.name.clone()).collect();
                    let known = names.join(", ");
                    Err((*line, format!("no class is called {name:?}; known: {known}")))
                }
            },
        }
    }
}

impl Trouble {
    /// The incident that a policy is asked about.
    #[must_use]
    pub fn incident(&self, class: &Class) -> Incident {
        let kind = self.kind.unwrap_or(pulsegate_wire::IncidentKind::Silence);
        let usual = Incident::ordinary(kind, ClassId::default(), class);
        Incident {
            number: self.number.unwrap_or(usual.number),
            silent_ms: self.silent_ms.unwrap_or(usual.silent_ms),
            missed: self.missed.unwrap_or(usual.missed),
            health: self.health.unwrap_or(usual.health),
            status: self.status.unwrap_or(usual.status),
            reachable: self.reachable.unwrap_or(usual.reachable),
            ..usual
        }
    }
}

/// What a policy is handed for a case when it starts: documented in `wit/manifest.wit`.
#[must_use]
pub fn configuration(case: &Case, class: &Class) -> String {
    let executors = case.executors.iter();
    let executors: Vec<_> = executors
        .map(|(id, wait_ms)| serde_json::json!({ "id": id, "wait_ms": wait_ms }))
        .collect();
    serde_json::json!({
        "class": {
            "name": class.name,
            "interval_ms": class.interval_ms,
            "detect_within_ms": class.detect_within_ms,
            "suspect_grace_ms": class.suspect_grace_ms,
            "fail_grace_ms": class.fail_grace_ms,
            "cap_ms": class.cap_ms(),
        },
        "executors": executors,
        "settings": case.settings,
    })
    .to_string()
}
