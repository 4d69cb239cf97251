//! The host and real components: reference policies, misbehaving ones, and some made by hand.

mod admission;
mod check;
mod contract;
mod equality;
mod faults;
mod native;
mod pools;
mod routes;
mod rows_form;
mod trials;

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_core::{ClassId, Classes, Observation, Signals, TenantId};

use crate::*;

pub(crate) const NORMAL: ClassId = ClassId(1);

/// Limits under which a test takes no time and a loaded machine changes nothing.
pub(crate) fn limits() -> Limits {
    Limits { batch: Duration::from_secs(60), ..Limits::default() }
}

pub(crate) fn component(name: &str) -> Vec<u8> {
    let all = reference::ALL.iter().chain(fixtures::ALL);
    all.into_iter().find(|(known, _)| *known == name).expect("it is embedded").1.to_vec()
}

pub(crate) fn source(name: &str) -> Source {
    let settings = serde_json::Value::Null;
    Source { name: name.into(), bytes: component(name), settings, pool: Pool::Native }
}

pub(crate) fn executors() -> Vec<(String, u32)> {
    vec![("alert".into(), 1), ("restart".into(), 2)]
}

/// A set in which one policy paces everybody.
pub(crate) fn paced_by(limits: Limits, name: &str) -> PolicySet {
    let engine = Engine::new(limits).expect("an engine");
    let route = Route { cadence: Some(name.into()), ..Route::default() };
    PolicySet::load(&engine, &Classes::default(), vec![source(name)], vec![route], &executors())
        .expect("a set")
}

pub(crate) fn assign(set: &PolicySet, class: ClassId) -> Assignment {
    set.assign(TenantId(0), class, &BTreeMap::new())
}

pub(crate) fn with_queue(depth: f64) -> Observation {
    Observation {
        queue_depth: depth,
        interval_ms: 30_000,
        signals: Signals::HAS_QUEUE_DEPTH,
        ..Observation::default()
    }
}

/// Evaluates one observation of a normal agent.
pub(crate) fn evaluate(worker: &mut Worker, set: &PolicySet, seen: &Observation) -> Evaluation {
    let mut memory = Memory::default();
    let assignment = assign(set, NORMAL);
    worker.evaluate(set, assignment, NORMAL, seen, &BTreeMap::new(), &mut memory)
}
