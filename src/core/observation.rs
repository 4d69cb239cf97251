//! What a policy sees, and what it answers.

use pulsegate_wire::{Health, Status};

/// Facts about an observation, one bit each, in the order of the WIT flags `signals`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(pub u32);

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)+) => {
        impl Signals { $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+ }
    };
}

signals! {
    /// The first heartbeat of this incarnation.
    FIRST = 0;
    /// The agent echoed the newest directive.
    DIRECTIVE_SEEN = 1;
    /// A rule of `beat_early` made the agent beat now.
    BEAT_EARLY = 2;
    /// The agent was suspect until this heartbeat.
    WAS_SUSPECT = 3;
    /// The agent had failed until this heartbeat.
    WAS_FAILED = 4;
    /// The watermark has not risen for `stall_after_ms`.
    PROGRESS_OVERDUE = 5;
    /// The agent holds a lease.
    HOLDS_LEASE = 6;
    /// The agent has reported neither queue nor active tasks for five minutes or more.
    IDLE = 7;
    /// `queue_depth` was reported.
    HAS_QUEUE_DEPTH = 8;
    /// `active_tasks` was reported.
    HAS_ACTIVE_TASKS = 9;
    /// `cpu_percent` was reported.
    HAS_CPU_PERCENT = 10;
    /// `memory_bytes` was reported.
    HAS_MEMORY_BYTES = 11;
    /// `error_count` was reported.
    HAS_ERROR_COUNT = 12;
    /// `latency_ms` was reported.
    HAS_LATENCY_MS = 13;
    /// `progress` was reported.
    HAS_PROGRESS = 14;
}

impl Signals {
    /// Number of bits in use.
    pub const COUNT: u32 = 15;

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These, and `other` as well where `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }
}

/// What a policy sees: exactly sixteen scalars, in the order of the WIT record `observation`.
/// A seventeenth would double the price of a call (it would pass through memory).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Core time, in milliseconds.
    pub now_ms: u64,
    /// What the agent reports.
    pub status: Status,
    /// The health judged before; for cadence, the one just judged.
    pub health: Health,
    /// Facts, one bit each.
    pub signals: Signals,
    /// Interval in force, in milliseconds.
    pub interval_ms: u32,
    /// Arrival after the directed due time, in milliseconds; negative when early.
    pub lateness_ms: i64,
    /// Heartbeats that did not come in the silence before this one.
    pub missed: u32,
    /// Pieces of work that wait; 0 when not reported.
    pub queue_depth: f64,
    /// Change of the queue, in pieces per second, over the last window.
    pub queue_trend: f64,
    /// Pieces of work under way; 0 when not reported.
    pub active_tasks: f64,
    /// Processor use of the host, 0 to 100; 0 when not reported.
    pub cpu_percent: f64,
    /// Resident memory, in bytes; 0 when not reported.
    pub memory_bytes: f64,
    /// Errors in the window (the current and the last full minute).
    pub errors: u32,
    /// Typical time of one piece of work, in milliseconds; 0 when not reported.
    pub latency_ms: f64,
    /// Time since the watermark rose, in milliseconds; 0 when no progress is reported.
    pub progress_age_ms: u64,
    /// The fleet's heartbeats, as a share of the gateway's budget: 0 to 1.
    pub fleet_load: f64,
}

/// Who gave a verdict; kept in four bytes with the agent so that a duplicate is explained alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictSource {
    /// Index of the policy that proposed the cadence; 0 is the built-in one.
    pub policy: u16,
    /// Index of its reason text.
    pub reason: u16,
}

/// What policies propose for one heartbeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The health judged.
    pub health: Health,
    /// How good it is, 0 (worst) to 100; shown, never used.
    pub score: f64,
    /// The interval proposed, in milliseconds: anything at all; the guard makes it fit.
    pub interval_ms: f64,
    /// Who proposed that interval, and why.
    pub source: VerdictSource,
}
