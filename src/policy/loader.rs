//! Admission: makes a policy of a component, or says in one sentence why not.
//!
//! Nothing is believed that was not tried: an instance is made for every class, takes its
//! settings, describes itself and answers an ordinary observation through each of its exports,
//! before any agent depends on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pulsegate_core::{Class, ClassId, Classes, Incident, IncidentKind, Observation};
use pulsegate_wire::{EarlyRule, Health, Status, limits};
use wasmtime::component::types::ComponentItem;

use crate::breaker::Breaker;
use crate::describe::{self, Shape};
use crate::engine::{LOG, Shared};
use crate::instance::{Exports, Instance, Prepared, StartError, why};
use crate::revision::Spares;
use crate::tally::Tally;
use crate::{Digest, Error, Fault, Pool, Source, rows};

/// A policy that passed admission.
pub(crate) struct Policy {
    /// Differs between any two of one process: warm instances belong to one of them.
    pub(crate) id: u64,
    /// Name in the configuration.
    pub(crate) name: String,
    /// What identifies its component.
    pub(crate) digest: Digest,
    /// First 12 hexadecimal digits of its digest.
    pub(crate) revision: String,
    /// First eight bytes of its digest: tags the memory it writes.
    pub(crate) tag: u64,
    pub(crate) prepared: Prepared,
    pub(crate) shape: Shape,
    pub(crate) breaker: Breaker,
    /// By class.
    pub(crate) classes: Vec<ClassPart>,
    /// What became of it.
    pub(crate) tally: Tally,
    /// Instances that wait for their first call.
    pub(crate) spares: Spares,
}

/// What differs from class to class.
#[derive(Clone)]
pub(crate) struct ClassPart {
    /// What `configure` gets.
    pub(crate) settings: String,
    /// Its rules for early heartbeats.
    pub(crate) early: Vec<EarlyRule>,
}

/// Admits one policy.
pub(crate) fn admit(
    engine: &Arc<Shared>,
    source: Source,
    classes: &Classes,
    executors: &[(String, u32)],
) -> Result<Policy, Error> {
    let Source { name, bytes, settings, pool } = source;
    let digest = Digest::of(&bytes);
    let prepared = prepare(engine, &name, (&bytes, digest), pool)?;
    configure(prepared, digest, &settings, classes, executors)
}

/// Makes a policy of what was compiled: tries it for every class.
pub(crate) fn configure(
    prepared: Prepared,
    digest: Digest,
    settings: &serde_json::Value,
    classes: &Classes,
    executors: &[(String, u32)],
) -> Result<Policy, Error> {
    let name = prepared.policy.to_string();
    let mut shape: Option<Shape> = None;
    let mut parts = Vec::new();
    for (id, class) in classes.iter() {
        let settings = configuration(class, executors, settings);
        let refused = |error| start_error(&name, prepared.pool, class, error);
        let mut instance = prepared.start(&settings).map_err(refused)?;
        let described = instance.describe(&prepared.exports).map_err(refused)?;
        let refused = |reason| Error::Description { policy: name.clone(), reason };
        let (described, early) = describe::check(described).map_err(refused)?;
        let shape = shape.get_or_insert_with(|| described.clone());
        if *shape != described {
            return Err(refused("it is not the same for every class".into()));
        }
        try_canary(&name, &prepared, &mut instance, shape, (id, class), executors)?;
        parts.push(ClassPart { settings, early });
    }
    let limits = &prepared.engine.limits;
    let window_ms = u64::try_from(limits.breaker_window.as_millis()).unwrap_or(u64::MAX);
    Ok(Policy {
        id: Policy::next_id(),
        digest,
        revision: digest.short(),
        tag: digest.tag(),
        breaker: Breaker::new(limits.breaker_faults, window_ms),
        prepared,
        shape: shape.unwrap_or_default(),
        classes: parts,
        tally: Tally::default(),
        spares: Spares::default(),
        name,
    })
}

/// Refuses a name that no policy may have.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > limits::NAME_BYTES || !name.bytes().all(allowed) {
        let reason = "it must be 1 to 63 bytes of [A-Za-z0-9._-]";
        return Err(Error::Name { name: name.to_owned(), reason });
    }
    Ok(())
}

/// Compiles a component and checks what can be checked without running it.
pub(crate) fn prepare(
    engine: &Arc<Shared>,
    name: &str,
    (bytes, digest): (&[u8], Digest),
    pool: Pool,
) -> Result<Prepared, Error> {
    let policy = || name.to_owned();
    let most = engine.limits.of(pool).component_bytes;
    if bytes.len() > most {
        let hint = hint(pool, bytes.len() <= engine.limits.interpreted.component_bytes);
        return Err(Error::TooLarge { policy: policy(), bytes: bytes.len(), most, pool, hint });
    }
    let component = engine
        .compile(bytes, digest)
        .map_err(|reason| Error::NotAComponent { policy: policy(), reason })?;
    for (import, item) in component.component_type().imports(&engine.wasm) {
        if import != LOG && !holds_only_types(engine, &item.ty) {
            return Err(Error::ForeignImport { policy: policy(), import: import.into() });
        }
    }
    let missing = |export| Error::MissingExport { policy: policy(), export };
    let function = |interface: &str, name: &str| {
        let instance = component.get_export_index(None, interface)?;
        component.get_export_index(Some(&instance), name)
    };
    let pair = |interface, [flat, rows]: [&'static str; 2]| -> Result<_, Error> {
        if component.get_export_index(None, interface).is_none() {
            return Ok(None);
        }
        let find = |name| function(interface, name).ok_or_else(|| missing(name));
        Ok(Some([find(flat)?, find(rows)?]))
    };
    let manifest = "pulsegate:policy/manifest@1.0.0";
    let recovery = "pulsegate:policy/recovery@1.0.0";
    let exports = Exports {
        describe: function(manifest, "describe").ok_or_else(|| missing("manifest.describe"))?,
        configure: function(manifest, "configure").ok_or_else(|| missing("manifest.configure"))?,
        health: pair("pulsegate:policy/health@1.0.0", ["judge", "judge-rows"])?,
        cadence: pair("pulsegate:policy/cadence@1.0.0", ["suggest", "suggest-rows"])?,
        recovery: function(recovery, "propose"),
    };
    if exports.health.is_none() && exports.cadence.is_none() && exports.recovery.is_none() {
        return Err(missing("any of health, cadence and recovery"));
    }
    let pre = engine.linker.instantiate_pre(&component).map_err(|error| Error::WrongType {
        policy: policy(),
        item: "the import log",
        reason: why(&error),
    })?;
    let (engine, policy, size) = (Arc::clone(engine), name.into(), bytes.len());
    Ok(Prepared { engine, policy, size, pool, _component: component, pre, exports })
}

fn holds_only_types(engine: &Arc<Shared>, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => instance
            .exports(&engine.wasm)
            .all(|(_, export)| matches!(export.ty, ComponentItem::Type(_))),
        _ => false,
    }
}

/// What `configure` gets: documented in `wit/manifest.wit`.
pub(crate) fn configuration(
    class: &Class,
    executors: &[(String, u32)],
    settings: &serde_json::Value,
) -> String {
    let empty = || serde_json::Value::Object(serde_json::Map::new());
    let settings = if settings.is_null() { empty() } else { settings.clone() };
    serde_json::json!({
        "class": {
            "name": class.name,
            "interval_ms": class.interval_ms,
            "detect_within_ms": class.detect_within_ms,
            "suspect_grace_ms": class.suspect_grace_ms,
            "fail_grace_ms": class.fail_grace_ms,
            "cap_ms": class.cap_ms(),
        },
        "executors": told_executors(executors),
        "settings": settings,
    })
    .to_string()
}

fn told_executors(executors: &[(String, u32)]) -> serde_json::Value {
    let executors = executors.iter();
    executors.map(|(id, wait_ms)| serde_json::json!({ "id": id, "wait_ms": wait_ms })).collect()
}

/// A text of [`configuration`] with other executors.
pub(crate) fn with_executors(configuration: &str, executors: &[(String, u32)]) -> String {
    let mut told: serde_json::Value = serde_json::from_str(configuration).unwrap_or_default();
    told["executors"] = told_executors(executors);
    told.to_string()
}

pub(crate) fn start_error(policy: &str, pool: Pool, class: &Class, error: StartError) -> Error {
    let policy = policy.to_owned();
    match error {
        StartError::Type(item, reason) => Error::WrongType { policy, item, reason },
        StartError::Start(reason, is_limited) => {
            Error::Start { policy, reason: format!("{reason}{}", hint(pool, is_limited)) }
        }
        StartError::Settings(reason) => {
            Error::Settings { policy, class: class.name.clone(), reason }
        }
    }
}

/// What to tell whoever gave a policy to the wrong pool.
fn hint(pool: Pool, would_help: bool) -> &'static str {
    match (pool, would_help) {
        (Pool::Native, true) => {
            "; a guest that brings an interpreter, as for Python and JavaScript, needs \
             pool = \"interpreted\""
        }
        _ => "",
    }
}

/// An agent as it is most of the time.
fn ordinary(class: &Class) -> Observation {
    Observation { now_ms: 3_600_000, interval_ms: class.interval_ms, ..Observation::default() }
}

/// Calls each export once. A call that goes wrong now would go wrong for every agent.
fn try_canary(
    name: &str,
    prepared: &Prepared,
    instance: &mut Instance,
    shape: &Shape,
    of: (ClassId, &Class),
    executors: &[(String, u32)],
) -> Result<(), Error> {
    call_each(prepared, instance, shape, of, executors).map_err(|(function, fault)| {
        let is_limited = fault == Fault::Timeout || instance.wanted_more();
        let reason = format!("{}{}", fault.as_str(), hint(prepared.pool, is_limited));
        Error::Canary { policy: name.to_owned(), function, reason }
    })
}

fn call_each(
    prepared: &Prepared,
    instance: &mut Instance,
    shape: &Shape,
    (id, class): (ClassId, &Class),
    executors: &[(String, u32)],
) -> Result<(), (&'static str, Fault)> {
    let seen = ordinary(class);
    let mut row = Vec::new();
    rows::push(&mut row, shape, &seen, &BTreeMap::new(), &[0.0; 8][..shape.columns]);
    let row = Arc::new(row);
    if prepared.exports.health.is_some() {
        let answer = instance.judge((&seen).into()).map_err(|f| ("health.judge", f))?;
        known_reason(answer.reason, shape).map_err(|f| ("health.judge", f))?;
        let rows = instance.judge_rows(&row).and_then(|rows| {
            rows::health(*rows.first().ok_or(Fault::BadAnswer)?).ok_or(Fault::BadAnswer)?;
            sized(&rows, rows::JUDGEMENT, shape)
        });
        rows.map_err(|f| ("health.judge-rows", f))?;
    }
    if prepared.exports.cadence.is_some() {
        let answer = instance.suggest((&seen).into()).map_err(|f| ("cadence.suggest", f))?;
        known_reason(answer.reason, shape).map_err(|f| ("cadence.suggest", f))?;
        let rows = instance.suggest_rows(&row).and_then(|rows| sized(&rows, rows::HINT, shape));
        rows.map_err(|f| ("cadence.suggest-rows", f))?;
    }
    if prepared.exports.recovery.is_some() {
        let incident = Incident {
            kind: IncidentKind::Silence,
            number: 0,
            silent_ms: u64::from(class.interval_ms) + u64::from(class.fail_grace_ms),
            missed: 3,
            health: Health::Healthy,
            status: Status::Healthy,
            class: id,
            reachable: true,
        };
        let plan = instance.propose((&incident).into()).and_then(|plan| {
            describe::check_plan(plan, &shape.reasons, executors).ok_or(Fault::BadAnswer)
        });
        plan.map_err(|f| ("recovery.propose", f))?;
    }
    Ok(())
}

fn known_reason(reason: u32, shape: &Shape) -> Result<(), Fault> {
    rows::reason(f64::from(reason), shape.reasons.len()).map(|_| ()).ok_or(Fault::BadAnswer)
}

fn sized(answer: &[f64], columns: usize, shape: &Shape) -> Result<(), Fault> {
    if answer.len() == columns + shape.columns { Ok(()) } else { Err(Fault::BadAnswer) }
}
