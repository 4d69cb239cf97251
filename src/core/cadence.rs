//! The cadence guard: makes any hint fit, and provably never oscillates.

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
    /// Shortest interval; 1 s.
    pub min_ms: u32,
    /// Longest interval, whatever a class says; 300 s.
    pub max_ms: u32,
    /// No relaxing until this long after the last tightening; 60 s.
    pub dwell_ms: u32,
    /// One relaxing after a tightening in this time; 20 min.
    pub turn_period_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { min_ms: 1_000, max_ms: 300_000, dwell_ms: 60_000, turn_period_ms: 1_200_000 }
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

/// The fleet's floor: the shortest intervals that keep the whole fleet within its budget, from
/// counts of agents and never from measured load. One for all machines of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Floor {}

/// What the floor is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FloorReading {
    /// Floor of a class of weight 1, in milliseconds; 0 for none. For `Machine::set_floor`.
    pub base_ms: u32,
    /// Heartbeats that the fleet is expected to send, as a share of the budget: 0 to 1.
    pub load: f64,
    /// Some class would need a floor above its cap: the promise and the budget disagree, and what
    /// does not fit will be shed.
    pub promise_conflict: bool,
}

impl Floor {
    /// Takes how many agents of each class (by [`ClassId`](crate::ClassId)) are expected to beat:
    /// [`Census::beating`](crate::Census::beating) summed over all machines; about once a second.
    pub fn update(
        &mut self,
        _now: crate::Millis,
        _beating: &[u32],
        _classes: &crate::Classes,
        _budget_per_second: f64,
        _config: &Config,
    ) -> FloorReading {
        unimplemented!()
    }
}
