//! What single values mean: fields of observations and incidents, words, bounds, rungs.
//!
//! Values are JSON whatever they were written in, so that a file, a flag and standard input are
//! read alike. A hyphen counts as an underscore: WIT's own spelling is understood.

use pulsegate_core::Signals;
use pulsegate_wire::{Health, IncidentKind, Status, UnknownName};
use serde_json::Value;

use crate::{Bounds, Field, Rung, Trouble};

/// Largest whole number on the wire and in an observation. Source: `wit/types.wit`.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// Names of the fields of an observation, in the order of `wit/types.wit`.
pub(crate) const OBSERVATION: [&str; 16] = [
    "now_ms",
    "status",
    "health",
    "signals",
    "interval_ms",
    "lateness_ms",
    "missed",
    "queue_depth",
    "queue_trend",
    "active_tasks",
    "cpu_percent",
    "memory_bytes",
    "errors",
    "latency_ms",
    "progress_age_ms",
    "fleet_load",
];

/// Names of the fields of an incident, in the order of `wit/recovery.wit`.
pub(crate) const INCIDENT: [&str; 7] =
    ["kind", "number", "silent_ms", "missed", "health", "status", "reachable"];

/// A name as this crate spells it.
pub(crate) fn plain(name: &str) -> String {
    name.replace('-', "_")
}

impl Field {
    /// One field of an observation; `Ok(None)` where there is none of this name.
    ///
    /// # Errors
    /// A text that says what it must be.
    pub fn read(name: &str, value: &Value) -> Result<Option<Self>, String> {
        let most = f64::from(u32::MAX);
        Ok(Some(match plain(name).as_str() {
            "now_ms" => Self::Now(whole(value, 0.0, WHOLE_MAX)? as u64),
            "status" => Self::Status(word(value)?),
            "health" => Self::Health(word(value)?),
            "signals" => Self::Signals(signals(value)?),
            "interval_ms" => Self::Interval(whole(value, 1_000.0, 300_000.0)? as u32),
            "lateness_ms" => Self::Lateness(whole(value, -WHOLE_MAX, WHOLE_MAX)? as i64),
            "missed" => Self::Missed(whole(value, 0.0, most)? as u32),
            "queue_depth" => Self::QueueDepth(number(value, 0.0, f64::MAX)?),
            "queue_trend" => Self::QueueTrend(number(value, f64::MIN, f64::MAX)?),
            "active_tasks" => Self::ActiveTasks(number(value, 0.0, f64::MAX)?),
            "cpu_percent" => Self::CpuPercent(number(value, 0.0, 100.0)?),
            "memory_bytes" => Self::MemoryBytes(number(value, 0.0, f64::MAX)?),
            "errors" => Self::Errors(whole(value, 0.0, most)? as u32),
            "latency_ms" => Self::Latency(number(value, 0.0, f64::MAX)?),
            "progress_age_ms" => Self::ProgressAge(whole(value, 0.0, WHOLE_MAX)? as u64),
            "fleet_load" => Self::FleetLoad(number(value, 0.0, 1.0)?),
            _ => return Ok(None),
        }))
    }

    /// What to say of a field that there is none of.
    #[must_use]
    pub fn unknown(name: &str) -> String {
        crate::read::nearest(&plain(name), &OBSERVATION)
    }
}

impl Trouble {
    /// Sets one field of an incident; `Ok(false)` where there is none of this name.
    ///
    /// # Errors
    /// A text that says what it must be.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<bool, String> {
        let most = f64::from(u32::MAX);
        match plain(name).as_str() {
            "kind" => self.kind = Some(word::<IncidentKind>(value)?),
            "number" => self.number = Some(whole(value, 0.0, most)? as u32),
            "silent_ms" => self.silent_ms = Some(whole(value, 0.0, WHOLE_MAX)? as u64),
            "missed" => self.missed = Some(whole(value, 0.0, most)? as u32),
            "health" => self.health = Some(word::<Health>(value)?),
            "status" => self.status = Some(word::<Status>(value)?),
            "reachable" => {
                self.reachable = Some(value.as_bool().ok_or("must be true or false")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What to say of a field that there is none of.
    #[must_use]
    pub fn unknown(name: &str) -> String {
        crate::read::nearest(&plain(name), &INCIDENT)
    }
}

/// A finite number within a range.
pub(crate) fn number(value: &Value, least: f64, most: f64) -> Result<f64, String> {
    let number = value.as_f64().filter(|number| number.is_normal() || *number == 0.0);
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ if (least, most) == (f64::MIN, f64::MAX) => Err("must be a finite number".into()),
        _ if most == f64::MAX => Err(format!("must be a finite number from {least}")),
        _ => Err(format!("must be a number from {least} to {most}")),
    }
}

/// A whole number within a range.
pub(crate) fn whole(value: &Value, least: f64, most: f64) -> Result<f64, String> {
    match number(value, least, most) {
        Ok(number) if number.fract() == 0.0 => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// A word of a closed set.
pub(crate) fn word<T: std::str::FromStr<Err = UnknownName>>(value: &Value) -> Result<T, String> {
    let said = value.as_str().ok_or("must be a text")?;
    plain(said).parse().map_err(|unknown| {
        let UnknownName { expected } = unknown;
        format!("{said:?} is not one of {}", expected.join(", "))
    })
}

fn signals(value: &Value) -> Result<Signals, String> {
    let list = value.as_array().ok_or("must be a list of words, such as [\"idle\"]")?;
    let mut all = Signals::default();
    for item in list {
        let word = plain(item.as_str().ok_or("must be a list of words, such as [\"idle\"]")?);
        let signal = Signals::find(&word)
            .ok_or_else(|| format!("{word:?} is not one of {}", Signals::WORDS.join(", ")))?;
        all = all.with(signal);
    }
    Ok(all)
}

/// A number that must be met exactly, or a table of `min` and `max`.
pub(crate) fn bounds(value: &Value) -> Result<Bounds, String> {
    const FORM: &str = "must be a number, or a table of min and max, or of one of them";
    let finite = |value: &Value| number(value, f64::MIN, f64::MAX);
    let Value::Object(table) = value else {
        let exactly = finite(value).map_err(|_| FORM)?;
        return Ok(Bounds { min: exactly, max: exactly });
    };
    let mut bounds = Bounds { min: f64::NEG_INFINITY, max: f64::INFINITY };
    for (key, value) in table {
        let place = match key.as_str() {
            "min" => &mut bounds.min,
            "max" => &mut bounds.max,
            _ => return Err(format!("{FORM}; {key:?} is neither")),
        };
        *place = finite(value).map_err(|message| format!("{key} {message}"))?;
    }
    if table.is_empty() {
        return Err(FORM.into());
    }
    if bounds.min > bounds.max {
        return Err(format!("no number is from {} to {}", bounds.min, bounds.max));
    }
    Ok(bounds)
}

/// One or more healths.
pub(crate) fn healths(value: &Value) -> Result<Vec<Health>, String> {
    match value {
        Value::Array(list) if list.is_empty() => Err("is a list of nothing".into()),
        Value::Array(list) => list.iter().map(word).collect(),
        one => Ok(vec![word(one)?]),
    }
}

/// The rungs of a plan.
pub(crate) fn rungs(value: &Value) -> Result<Vec<Rung>, String> {
    const FORM: &str = "must be a list of ids of executors, or of tables of executor and wait_ms";
    let list = value.as_array().ok_or(FORM)?;
    let rung = |item: &Value| match item {
        Value::String(executor) => Ok(Rung { executor: executor.clone(), wait_ms: None }),
        Value::Object(table) => {
            let (executor, wait_ms) = entry(table, ["executor", "wait_ms"])?;
            Ok(Rung { executor, wait_ms })
        }
        _ => Err(FORM.to_owned()),
    };
    list.iter().map(rung).collect()
}

/// Configured executors.
pub(crate) fn executors(value: &Value) -> Result<Vec<(String, u32)>, String> {
    const FORM: &str = "must be a list of tables of id and wait_ms";
    let list = value.as_array().ok_or(FORM)?;
    let mut all: Vec<(String, u32)> = Vec::new();
    for item in list {
        let table = item.as_object().ok_or(FORM)?;
        let (id, wait_ms) = entry(table, ["id", "wait_ms"])?;
        if all.iter().any(|(other, _)| *other == id) {
            return Err(format!("two executors are called {id:?}"));
        }
        all.push((id, wait_ms.unwrap_or(EXECUTOR_WAIT_MS)));
    }
    Ok(all)
}

/// What an executor is given where a case does not say, in milliseconds. Source: the default of
/// `wait_ms` in the configuration.
const EXECUTOR_WAIT_MS: u32 = 60_000;

/// A table of an id and, perhaps, a time.
fn entry(
    table: &serde_json::Map<String, Value>,
    [id, wait]: [&str; 2],
) -> Result<(String, Option<u32>), String> {
    let mut said = None;
    let mut wait_ms = None;
    for (key, value) in table {
        match plain(key) {
            key if key == id => said = value.as_str().map(str::to_owned),
            key if key == wait => {
                let most = f64::from(u32::MAX);
                let read =
                    whole(value, 0.0, most).map_err(|message| format!("{wait} {message}"))?;
                wait_ms = Some(read as u32);
            }
            key => return Err(format!("unknown key {key:?}; known here: {id}, {wait}")),
        }
    }
    Ok((said.ok_or_else(|| format!("{id} is needed, a text"))?, wait_ms))
}
