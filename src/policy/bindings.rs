//! The words of `wit/` as Rust types, in the order and with the names that the engine checks
//! against a component's own types when an instance is made.
//!
//! They are written out instead of generated because nothing generated fits the hot path: flags
//! must be made from bits at once, and WIT has no optional exports, so each function is looked up
//! by itself anyway.

use pulsegate_core as machine;
use pulsegate_core::IncidentKind as CoreKind;
use pulsegate_wire::{Health as WireHealth, Status as WireStatus};
use wasmtime::component::{ComponentType, Lift, Lower, flags};

use crate::LogLevel as LineLevel;

macro_rules! same_enum {
    ($name:ident from $source:ident { $($variant:ident = $word:literal,)+ }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
        #[component(enum)]
        #[repr(u8)]
        pub(crate) enum $name { $(#[component(name = $word)] $variant,)+ }

        impl From<$source> for $name {
            fn from(value: $source) -> Self {
                match value { $($source::$variant => Self::$variant,)+ }
            }
        }

        impl From<$name> for $source {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => Self::$variant,)+ }
            }
        }
    };
}

same_enum!(Status from WireStatus {
    Healthy = "healthy",
    Degraded = "degraded",
    Busy = "busy",
    Recovering = "recovering",
    Stopping = "stopping",
});

same_enum!(Health from WireHealth {
    Healthy = "healthy",
    Degraded = "degraded",
    Unhealthy = "unhealthy",
    Stalled = "stalled",
});

same_enum!(IncidentKind from CoreKind {
    Silence = "silence",
    Health = "health",
});

same_enum!(LogLevel from LineLevel {
    Debug = "debug",
    Info = "info",
    Warn = "warn",
    Error = "error",
});

flags! {
    Signals {
        #[component(name = "first")] const FIRST;
        #[component(name = "directive-seen")] const DIRECTIVE_SEEN;
        #[component(name = "beat-early")] const BEAT_EARLY;
        #[component(name = "was-suspect")] const WAS_SUSPECT;
        #[component(name = "was-failed")] const WAS_FAILED;
        #[component(name = "progress-overdue")] const PROGRESS_OVERDUE;
        #[component(name = "holds-lease")] const HOLDS_LEASE;
        #[component(name = "idle")] const IDLE;
        #[component(name = "has-queue-depth")] const HAS_QUEUE_DEPTH;
        #[component(name = "has-active-tasks")] const HAS_ACTIVE_TASKS;
        #[component(name = "has-cpu-percent")] const HAS_CPU_PERCENT;
        #[component(name = "has-memory-bytes")] const HAS_MEMORY_BYTES;
        #[component(name = "has-error-count")] const HAS_ERROR_COUNT;
        #[component(name = "has-latency-ms")] const HAS_LATENCY_MS;
        #[component(name = "has-progress")] const HAS_PROGRESS;
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Observation {
    #[component(name = "now-ms")]
    now_ms: u64,
    status: Status,
    health: Health,
    signals: Signals,
    #[component(name = "interval-ms")]
    interval_ms: u32,
    #[component(name = "lateness-ms")]
    lateness_ms: i64,
    missed: u32,
    #[component(name = "queue-depth")]
    queue_depth: f64,
    #[component(name = "queue-trend")]
    queue_trend: f64,
    #[component(name = "active-tasks")]
    active_tasks: f64,
    #[component(name = "cpu-percent")]
    cpu_percent: f64,
    #[component(name = "memory-bytes")]
    memory_bytes: f64,
    errors: u32,
    #[component(name = "latency-ms")]
    latency_ms: f64,
    #[component(name = "progress-age-ms")]
    progress_age_ms: u64,
    #[component(name = "fleet-load")]
    fleet_load: f64,
}

impl From<&machine::Observation> for Observation {
    fn from(seen: &machine::Observation) -> Self {
        Self {
            now_ms: seen.now_ms,
            status: seen.status.into(),
            health: seen.health.into(),
            signals: Signals { __inner0: seen.signals.0 as u16 },
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
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Judgement {
    pub(crate) health: Health,
    pub(crate) reason: u32,
    pub(crate) score: f64,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Hint {
    #[component(name = "interval-ms")]
    pub(crate) interval_ms: f64,
    pub(crate) reason: u32,
}

#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Incident {
    kind: IncidentKind,
    number: u32,
    #[component(name = "silent-ms")]
    silent_ms: u64,
    missed: u32,
    health: Health,
    status: Status,
    reachable: bool,
}

impl From<&machine::Incident> for Incident {
    fn from(incident: &machine::Incident) -> Self {
        Self {
            kind: incident.kind.into(),
            number: incident.number,
            silent_ms: incident.silent_ms,
            missed: incident.missed,
            health: incident.health.into(),
            status: incident.status.into(),
            reachable: incident.reachable,
        }
    }
}

#[derive(Clone, Debug, PartialEq, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Rung {
    pub(crate) executor: String,
    #[component(name = "wait-ms")]
    pub(crate) wait_ms: u32,
}

#[derive(Clone, Debug, PartialEq, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Plan {
    pub(crate) rungs: Vec<Rung>,
    pub(crate) reason: u32,
}

#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct EarlyRule {
    pub(crate) metric: String,
    pub(crate) above: Option<f64>,
    pub(crate) below: Option<f64>,
    pub(crate) rearm: f64,
}

#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) metrics: Vec<String>,
    #[component(name = "memory-columns")]
    pub(crate) memory_columns: u32,
    #[component(name = "early-rules")]
    pub(crate) early_rules: Vec<EarlyRule>,
    pub(crate) reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_keep_their_bits() {
        let observed = machine::Observation {
            signals: machine::Signals::FIRST.with(machine::Signals::HAS_PROGRESS),
            ..Default::default()
        };
        let passed = Observation::from(&observed).signals;
        assert_eq!(passed, Signals::FIRST | Signals::HAS_PROGRESS);
        assert_eq!(machine::Signals::COUNT, 15);
    }
}
