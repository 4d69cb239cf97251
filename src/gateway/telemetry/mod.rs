//! What operators see of the gateway: metrics and logs.
//!
//! Every metric stands once in `catalogue.rs`. Every happening has one method of [`Telemetry`],
//! which counts it and, where somebody may want to read of it, logs it. An agent's id is a field
//! of a log line and never a label of a metric.
//!
//! Levels: ERROR: an operator must act. WARN: odd but handled. INFO: what an operator asked for,
//! and what recovery does. DEBUG: what one agent went through. TRACE: every heartbeat.
//!
//! This room may touch `core`, `policy` and `config` for their vocabulary, and `/proc/self`.

mod catalogue;
mod cells;
mod happenings;
mod logs;
mod names;
mod process;
mod scrape;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use pulsegate_core::cadence::Bound;
use pulsegate_policy::{Call, Difference, Evaluation, Fault, Role, Watched};
use pulsegate_wire::{Code, Outcome};

use crate::config::Config;

use catalogue::{FAMILIES, Id};
use cells::Cells;
use names::Names;

pub use catalogue::{Described, describe};
pub use happenings::Restored;
pub(crate) use happenings::incident_word;
pub use logs::{LogError, Logs, init_logs};
pub use scrape::{CONTENT_TYPE, Figures, JournalFigures};

macro_rules! label {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant,)+ }

        impl $name {
            /// The words of the label, in order.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word of this one.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

label! {
    /// How a heartbeat came.
    Transport {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2.
        Http2 = "http2",
        /// HTTP/3.
        Http3 = "http3",
        /// The compact protocol, on a stream.
        QuicStream = "quic_stream",
        /// The compact protocol, in a datagram.
        QuicDatagram = "quic_datagram",
    }
}

label! {
    /// What became of a heartbeat.
    BeatOutcome {
        /// It renewed the deadline.
        Accepted = "accepted",
        /// Seen before.
        Duplicate = "duplicate",
        /// Older than the newest one.
        Stale = "stale",
        /// Over its quota: it renewed the deadline, and was not judged.
        Limited = "limited",
        /// Refused with a problem.
        Rejected = "rejected",
        /// Turned away unread.
        Shed = "shed",
    }
}

label! {
    /// Whose quota was spent.
    LimitedSource {
        /// That of a known agent.
        Agent = "agent",
        /// That of an address that sends heartbeats of unknown agents.
        Unknown = "unknown",
    }
}

label! {
    /// Why something was turned away.
    ShedReason {
        /// Too many requests at once.
        InFlight = "in_flight",
        /// Too many connections.
        Connections = "connections",
        /// Too many agents.
        Agents = "agents",
    }
}

label! {
    /// What a probe of a silent agent found.
    ProbeOutcome {
        /// A sign of life.
        Alive = "alive",
        /// None, in two tries: the silence is confirmed.
        Gone = "gone",
        /// Nothing that could be used: no place, no core time, a return, or a fault of our own.
        Skipped = "skipped",
    }
}

label! {
    /// What became of a connection that wanted to be opened over QUIC.
    Handshake {
        /// It is complete.
        Completed = "completed",
        /// The client was asked to prove its address first.
        Retried = "retried",
        /// There was no room.
        Refused = "refused",
        /// It did not come to its end, or not in time.
        Failed = "failed",
    }
}

label! {
    /// What became of a push.
    Pushed {
        /// It was handed to the connection of its agent.
        Sent = "sent",
        /// The connection could not take it: it comes with the next directive.
        Dropped = "dropped",
    }
}

label! {
    /// How what a policy in shadow said compares with what was enforced.
    Shadow {
        /// The same health, and an interval within the guard's dead band.
        Same = "same",
        /// Another health.
        Health = "health",
        /// Another interval.
        Interval = "interval",
        /// Another health and another interval.
        Both = "both",
        /// Another plan of recovery.
        Plan = "plan",
        /// It failed, or its breaker is open.
        Fault = "fault",
        /// It was not asked: there was no time left for shadows.
        Skipped = "skipped",
    }
}

label! {
    /// What a revision was before the gateway took it back.
    Returned {
        /// It was enforced for all of its agents.
        Enforced = "enforced",
        /// It was a canary.
        Canary = "canary",
    }
}

/// Words of [`Difference`], in its order.
const DIFFERENCES: &[&str] = &{
    let mut words = [""; Difference::ALL.len()];
    let mut place = 0;
    while place < words.len() {
        words[place] = Difference::ALL[place].as_str();
        place += 1;
    }
    words
};
/// Why a lease can end.
const LEASE_ENDS: &[&str] = &["released", "expired", "revoked", "undone"];
/// Words of [`Fault`], in its order.
const FAULTS: &[&str] = &{
    let mut words = [""; Fault::ALL.len()];
    let mut place = 0;
    while place < words.len() {
        words[place] = Fault::ALL[place].as_str();
        place += 1;
    }
    words
};
/// What an agent can become.
const TRANSITIONS: &[&str] = &["new", "alive", "suspect", "failed", "stopped", "forgotten"];
/// Words of [`pulsegate_core::ActionOutcome`], in its order.
const ACTION_OUTCOMES: &[&str] =
    &["done", "failed", "timed_out", "unreachable", "unknown", "superseded"];

impl From<Outcome> for BeatOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted => Self::Accepted,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::Stale => Self::Stale,
        }
    }
}

/// A figure of the moment that its owner keeps up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Connections open.
    Connections,
    /// Heartbeat requests whose body is still on its way.
    InFlight,
    /// Programs of recovery that run.
    ActionsOpen,
    /// Programs of recovery that wait for their turn.
    ActionsQueued,
    /// The fleet's load, 0 to 1.
    FleetLoad,
    /// The fleet's floor for a class of weight 1, in seconds.
    FloorBase,
    /// 1 while the promise and the budget disagree.
    PromiseConflict,
    /// Starts in the ten minutes before the last start.
    StartsLately,
    /// Leases that are held, or about to be.
    Leases,
    /// Requests that wait in line for a lease.
    LeaseWaiters,
}

impl Gauge {
    const ALL: [(Self, Id); 10] = [
        (Self::Connections, Id::Connections),
        (Self::InFlight, Id::InFlight),
        (Self::ActionsOpen, Id::ActionsOpen),
        (Self::ActionsQueued, Id::ActionsQueued),
        (Self::FleetLoad, Id::FleetLoad),
        (Self::FloorBase, Id::FloorBase),
        (Self::PromiseConflict, Id::PromiseConflict),
        (Self::StartsLately, Id::StartsLately),
        (Self::Leases, Id::Leases),
        (Self::LeaseWaiters, Id::LeaseWaiters),
    ];
    /// Steps of one; kept as whole numbers so that adding needs no loop.
    const STEPS: f64 = 1e6;
}

/// The metrics and the log of one gateway; clones share the same numbers.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    cells: Cells,
    gauges: [AtomicI64; Gauge::ALL.len()],
    names: Names,
}

impl Telemetry {
    /// Metrics at zero, with the names of this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let telemetry = Self {
            inner: Arc::new(Inner {
                cells: Cells::new(),
                gauges: Default::default(),
                names: Names::default(),
            }),
        };
        telemetry.set_config(config);
        telemetry
    }

    /// Takes the names of classes, tenants and executors of a configuration.
    pub fn set_config(&self, config: &Config) {
        self.inner.names.set_config(config);
    }

    /// Takes the names of policies by their index in a set: call it when a set takes over.
    pub fn set_policies(&self, names: &[String], role: impl Fn(u16) -> Role) {
        self.inner.names.set_policies(names, role);
    }

    /// A heartbeat was answered. Hot.
    pub fn heartbeat(&self, transport: Transport, outcome: BeatOutcome) {
        let labels = transport as usize * BeatOutcome::WORDS.len() + outcome as usize;
        self.inner.cells.add(Id::Heartbeats, labels, 1);
    }

    /// Many heartbeats of a batch had the same outcome.
    pub fn heartbeats(&self, transport: Transport, outcome: BeatOutcome, count: u64) {
        let labels = transport as usize * BeatOutcome::WORDS.len() + outcome as usize;
        self.inner.cells.add(Id::Heartbeats, labels, count);
    }

    /// A request with heartbeats took this long from being read to its answer. Hot.
    pub fn handled(&self, took: Duration) {
        self.inner.cells.observe(Id::Handling, 0, nanos(took));
    }

    /// A directive was given. Hot.
    pub fn directive(&self, bound: Bound, interval_ms: u32) {
        self.inner.cells.add(Id::Directives, bound as usize, 1);
        self.inner.cells.observe(Id::Interval, 0, u64::from(interval_ms) * 1_000_000);
    }

    /// Policies judged and paced a heartbeat. Hot.
    pub fn policy_calls(&self, evaluation: &Evaluation) {
        for call in evaluation.calls.iter().flatten() {
            self.policy_call(call);
        }
    }

    /// A policy was called. Hot.
    pub fn policy_call(&self, call: &Call) {
        let policy = self.inner.names.policy(call.policy);
        // A policy whose breaker is open, or whose batch had no time left, was not called.
        if !matches!(call.fault, Some(Fault::BreakerOpen | Fault::BatchTime)) {
            self.inner.cells.add(Id::PolicyCalls, policy, 1);
        }
        if let Some(fault) = call.fault {
            self.inner.cells.add(Id::PolicyFaults, policy * FAULTS.len() + fault as usize, 1);
        }
        if let Some(elapsed) = call.elapsed {
            self.inner.cells.observe(Id::PolicySeconds, policy, nanos(elapsed));
        }
        if self.inner.names.is_canary(call.policy) {
            self.inner.cells.add(Id::CanaryCalls, policy, 1);
            self.inner.cells.add(Id::CanaryFaults, policy, u64::from(call.fault.is_some()));
        }
    }

    /// A policy in shadow was compared, or could not be.
    pub fn shadowed(&self, policy: u16, shadow: Shadow) {
        let policy = self.inner.names.policy(policy);
        self.inner.cells.add(Id::Shadows, policy * Shadow::WORDS.len() + shadow as usize, 1);
    }

    /// Policies in shadow were asked of a heartbeat.
    pub fn watched(&self, watched: &Watched) {
        let [health, cadence] = watched.calls;
        let is_one = health.zip(cadence).is_some_and(|(one, other)| one.policy == other.policy);
        let paced = watched.difference.map(|difference| difference != Difference::Same);
        let judged = watched.health.map(|_| watched.health_differs);
        if let (Some(call), Some(difference)) = (cadence, watched.difference) {
            let place = self.inner.names.policy(call.policy) * DIFFERENCES.len();
            self.inner.cells.add(Id::ShadowIntervals, place + difference as usize, 1);
        }
        let compared = |judged: Option<bool>, paced: Option<bool>, is_fault: bool| match () {
            () if is_fault => Shadow::Fault,
            () if judged == Some(true) && paced == Some(true) => Shadow::Both,
            () if judged == Some(true) => Shadow::Health,
            () if paced == Some(true) => Shadow::Interval,
            () => Shadow::Same,
        };
        let failed = |call: Option<Call>| call.is_some_and(|call| call.fault.is_some());
        match (health, cadence) {
            (Some(call), _) if is_one => {
                let is_fault = failed(health) || failed(cadence);
                self.shadowed(call.policy, compared(judged, paced, is_fault));
            }
            _ => {
                for (call, judged, paced) in [(health, judged, None), (cadence, None, paced)] {
                    if let Some(one) = call {
                        self.shadowed(one.policy, compared(judged, paced, failed(call)));
                    }
                }
            }
        }
    }

    /// An answer was a problem document.
    pub fn rejected(&self, code: Code) {
        self.inner.cells.add(Id::Problems, code as usize, 1);
    }

    /// Something could not be handled; whether it is kept as a dead letter.
    pub fn dead_letter(&self, is_kept: bool) {
        self.inner.cells.add(Id::DeadLettersMade, usize::from(!is_kept), 1);
    }

    /// A heartbeat was over a quota.
    pub fn limited(&self, source: LimitedSource) {
        self.inner.cells.add(Id::Limited, source as usize, 1);
    }

    /// A connection wanted to be opened over QUIC.
    pub fn handshake(&self, handshake: Handshake) {
        self.inner.cells.add(Id::Handshakes, handshake as usize, 1);
    }

    /// Something was pushed to an agent, or could not be.
    pub fn pushed(&self, pushed: Pushed) {
        self.inner.cells.add(Id::Pushes, pushed as usize, 1);
    }

    /// A request or a connection was turned away.
    pub fn shed(&self, reason: ShedReason) {
        self.inner.cells.add(Id::Shed, reason as usize, 1);
    }

    /// Sets a figure of the moment.
    pub fn set(&self, gauge: Gauge, value: f64) {
        self.inner.gauges[gauge as usize].store((value * Gauge::STEPS) as i64, Relaxed);
    }

    /// Changes a figure of the moment by one up (`true`) or down.
    pub fn step(&self, gauge: Gauge, up: bool) {
        let step = Gauge::STEPS as i64;
        self.inner.gauges[gauge as usize].fetch_add(if up { step } else { -step }, Relaxed);
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("metrics", &FAMILIES.len()).finish_non_exhaustive()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
