//! Who judges and paces: the built-in policy, the reference policies in Wasm, or one that says
//! anything at all.

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_core::{
    ClassId, Classes, Incident, Observation, Plan, TenantId, Verdict, VerdictSource, builtin,
};
use pulsegate_policy::{
    Assignment, Engine, Error, Limits, Match, Memory, PolicySet, Pool, Route, Source, Worker,
    reference,
};
use pulsegate_wire::Health;

use crate::random::Random;
use crate::server::EarlyRule;

/// Which policies judge, pace and recover the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policies {
    /// The built-in one, as native code.
    #[default]
    Builtin,
    /// Reference policies by name, in Wasm as in the gateway: for health, cadence and recovery;
    /// an empty name is the built-in one.
    Reference {
        /// Judges health.
        health: String,
        /// Paces.
        cadence: String,
        /// Plans recovery.
        recovery: String,
    },
    /// `steady` judges, and a reference policy with these settings paces.
    Tuned {
        /// Paces.
        cadence: String,
        /// Its settings.
        settings: serde_json::Value,
    },
    /// Any health and any hint, numbers that are none included.
    Erratic,
}

impl Policies {
    /// Reference policies by name.
    #[must_use]
    pub fn reference(health: &str, cadence: &str, recovery: &str) -> Self {
        Self::Reference {
            health: health.to_owned(),
            cadence: cadence.to_owned(),
            recovery: recovery.to_owned(),
        }
    }
}

/// Judges where settings are for the one that paces.
const JUDGE: &str = "steady";

/// A policy call never ends for the time that it takes: that would make a run depend on the
/// machine. Source: chosen; no reference policy takes a millionth of it.
const CALL: Duration = Duration::from_secs(60);

/// The policies at work.
pub(super) enum Judge {
    Builtin { executors: Vec<(String, u32)> },
    Wasm(Box<Wasm>),
    Erratic { random: Random, executors: Vec<(String, u32)> },
}

/// Components, and what one thread needs to call them.
pub(super) struct Wasm {
    set: PolicySet,
    worker: Worker,
    assignments: Vec<Assignment>,
    custom: BTreeMap<String, f64>,
    /// Memory columns: no reference policy has any.
    memory: Memory,
}

impl Judge {
    pub(super) fn new(
        policies: &Policies,
        classes: &Classes,
        executors: &[(String, u32)],
        seed: u64,
    ) -> Result<Self, Error> {
        let executors = executors.to_vec();
        match policies {
            Policies::Builtin => Ok(Self::Builtin { executors }),
            Policies::Erratic => {
                Ok(Self::Erratic { random: Random::new(seed, "policy"), executors })
            }
            Policies::Reference { health, cadence, recovery } => {
                let plain = serde_json::Value::Null;
                Wasm::load([health, cadence, recovery], &plain, classes, &executors)
                    .map(|wasm| Self::Wasm(Box::new(wasm)))
            }
            Policies::Tuned { cadence, settings } => {
                let names = [&JUDGE.to_owned(), cadence, &String::new()];
                Wasm::load(names, settings, classes, &executors)
                    .map(|wasm| Self::Wasm(Box::new(wasm)))
            }
        }
    }

    #[inline]
    pub(super) fn decide(
        &mut self,
        observation: &Observation,
        classes: &Classes,
        class: ClassId,
    ) -> Verdict {
        match self {
            Self::Builtin { .. } => builtin::decide(observation, &classes[class]),
            Self::Wasm(wasm) => wasm.decide(observation, class),
            Self::Erratic { random, .. } => anything(random),
        }
    }

    pub(super) fn propose(&mut self, incident: &Incident) -> Plan {
        match self {
            Self::Builtin { executors } | Self::Erratic { executors, .. } => {
                builtin::propose(incident, executors)
            }
            Self::Wasm(wasm) => {
                let class = usize::from(incident.class.0);
                let assignment = wasm.assignments.get(class).copied().unwrap_or_default();
                wasm.worker.propose(&wasm.set, assignment, incident).0
            }
        }
    }

    /// Rules for early heartbeats of a class.
    pub(super) fn early_rules(&self, class: ClassId) -> Vec<EarlyRule> {
        let Self::Wasm(wasm) = self else { return Vec::new() };
        let assignment = wasm.assignments.get(usize::from(class.0)).copied().unwrap_or_default();
        let rules = wasm.set.early_rules(assignment).iter();
        let of_queue = rules.filter(|rule| rule.metric == "queue_depth");
        of_queue
            .filter_map(|rule| rule.above.map(|above| EarlyRule { above, rearm: rule.rearm }))
            .collect()
    }
}

impl Wasm {
    /// The policy that paces gets the settings.
    fn load(
        names: [&String; 3],
        settings: &serde_json::Value,
        classes: &Classes,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        let engine = Engine::new(Limits { call: CALL, batch: CALL, ..Limits::default() })?;
        let sources = reference::ALL.iter().filter(|(known, _)| names.iter().any(|n| *n == known));
        let sources = sources.map(|(name, bytes)| Source {
            name: (*name).to_owned(),
            bytes: bytes.to_vec(),
            settings: if *name == names[1].as_str() {
                settings.clone()
            } else {
                serde_json::Value::Null
            },
            pool: Pool::Native,
        });
        let named = |name: &String| (!name.is_empty()).then(|| name.clone());
        let route = Route {
            agents: Match::default(),
            health: named(names[0]),
            cadence: named(names[1]),
            recovery: named(names[2]),
        };
        let set = PolicySet::load(&engine, classes, sources.collect(), vec![route], executors)?;
        let labels = BTreeMap::new();
        let assignments =
            classes.iter().map(|(class, _)| set.assign(TenantId(0), class, &labels)).collect();
        Ok(Self {
            set,
            worker: Worker::new(),
            assignments,
            custom: BTreeMap::new(),
            memory: Memory::default(),
        })
    }

    fn decide(&mut self, observation: &Observation, class: ClassId) -> Verdict {
        let assignment = self.assignments.get(usize::from(class.0)).copied().unwrap_or_default();
        let evaluation = self.worker.evaluate(
            &self.set,
            assignment,
            class,
            observation,
            &self.custom,
            &mut self.memory,
        );
        evaluation.verdict
    }
}

/// What a policy that has lost its mind says.
fn anything(random: &mut Random) -> Verdict {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e300, 1_000.0, 300_000.0];
    let interval_ms = match random.below(4) {
        0 => random.pick(&odd).copied().unwrap_or(0.0),
        1 => 30_000.0,
        _ => random.share() * 400_000.0,
    };
    // Mostly well, so that recovery has quiet times too.
    let health = match random.below(12) {
        0 => Health::Unhealthy,
        1 => Health::Stalled,
        2 => Health::Degraded,
        _ => Health::Healthy,
    };
    Verdict { health, score: 50.0, interval_ms, source: VerdictSource::default() }
}
