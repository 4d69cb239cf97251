//! The cadence guard: makes any hint fit, and provably never oscillates.
//!
//! ```text
//! hint → clamp to [min, cap] → dead band → dwell → turning budget → slew → cap   = stored
//! stored → fleet floor, within the cap                                           = effective
//! effective → jitter, early only                                                 = sent
//! ```
//!
//! Invariants, for any sequence of hints and caps: what is stored, effective and sent is within
//! `[min, cap]`; a tightening is never delayed; stored turns in any window W are at most
//! 2·(1 + ⌈W / turn period⌉) + 1; a constant hint is reached in at most 15 moves (for the default
//! bounds), all in one direction, and then nothing moves; the same input gives the same bytes.

mod floor;
mod guard;
mod jitter;
#[cfg(test)]
mod tests;

pub use floor::{Floor, FloorReading, class_floor_ms};
pub use guard::{Guard, Step};
pub(crate) use jitter::mix;
pub use jitter::{early, spread};

/// What the guard did to a hint; the last step that changed it gives the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bound {
    /// The hint was taken as it stood.
    #[default]
    None,
    /// Raised to the shortest interval.
    Min,
    /// Lowered to the cap of the class, or of a held lease.
    Cap,
    /// Too close to the interval in force to act on.
    DeadBand,
    /// Relaxing waits for the dwell after the last tightening.
    Dwell,
    /// Relaxing waits for the turning budget.
    TurnBudget,
    /// Relaxing goes one step at a time.
    Slew,
    /// Raised to the fleet's floor.
    Floor,
}

impl Bound {
    /// Every bound.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Min,
        Self::Cap,
        Self::DeadBand,
        Self::Dwell,
        Self::TurnBudget,
        Self::Slew,
        Self::Floor,
    ];

    /// The word of directives and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Min => "min",
            Self::Cap => "cap",
            Self::DeadBand => "dead_band",
            Self::Dwell => "dwell",
            Self::TurnBudget => "turn_budget",
            Self::Slew => "slew",
            Self::Floor => "floor",
        }
    }
}

/// How the guard moves. All times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Shortest interval; 1 s. Shorter notices sooner and costs more heartbeats. At least 1.
    /// Source: chosen; below it the network's own jitter is as large as the interval.
    pub min_ms: u32,
    /// Longest interval, whatever a class says; 300 s. Source: chosen; the longest that common
    /// load balancers and address translators keep an idle mapping for.
    pub max_ms: u32,
    /// No relaxing until this long after the last tightening; 60 s. Longer keeps watch for longer
    /// after a scare. Source: chosen; a minute holds two beats of a normal agent.
    pub dwell_ms: u32,
    /// One relaxing after a tightening in this time; 20 min. Longer allows fewer turns.
    /// Source: chosen; at most nine turns an hour, whatever a policy says.
    pub turn_period_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { min_ms: 1_000, max_ms: 300_000, dwell_ms: 60_000, turn_period_ms: 1_200_000 }
    }
}

impl Config {
    /// Longest interval of an agent: of its class and, if it holds leases, a third of the smallest
    /// TTL, so that two renewals may be lost; never shorter than the shortest interval.
    #[must_use]
    pub fn cap_ms(&self, class_cap_ms: u32, smallest_lease_ms: Option<u32>) -> u32 {
        let lease_cap_ms = smallest_lease_ms.map_or(u32::MAX, |ttl_ms| ttl_ms / 3);
        self.min_ms.max(class_cap_ms.min(self.max_ms).min(lease_cap_ms))
    }
}

/// What each guard did to one hint, for `explain`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trace {
    /// The hint, in milliseconds.
    pub hint_ms: f64,
    /// After clamping to bounds and cap.
    pub clamped_ms: u32,
    /// The cap: of the class, or of a held lease.
    pub cap_ms: u32,
    /// Stored interval before.
    pub before_ms: u32,
    /// Stored interval now.
    pub stored_ms: u32,
    /// The fleet's floor for the class.
    pub floor_ms: u32,
    /// The larger of stored interval and floor, within the cap.
    pub effective_ms: u32,
    /// What was sent, after jitter.
    pub sent_ms: u32,
    /// The guard that had the last word.
    pub bound: Bound,
}
