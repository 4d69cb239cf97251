//! What may happen to a machine, one thing at a time.

use crate::ActionOutcome;

/// One thing that may happen. The first number is the agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Input {
    /// A unit of time goes by, and all that is due is handled.
    Step,
    /// A unit of time goes by, and nothing is handled.
    Late,
    Beat(u8, Beaten),
    /// A rate-limited heartbeat: incarnation and sequence, relative to what is known.
    Limited(u8, i8, i8),
    /// A verdict for the newest heartbeat.
    Judge(u8, Judged),
    /// A verdict for a heartbeat before.
    JudgeOld(u8),
    Put(u8),
    Stop(u8),
    Pause(u8, bool),
    Freeze(bool),
    /// A plan of so many rungs.
    Plan(u8, u8),
    Outcome(u8, ActionOutcome),
    /// The outcome of an action that is over.
    OldOutcome(u8),
    Witness(u8),
    /// The process ends, with the loss of so many of what need not be durable, and another begins.
    Crash(u8),
}

/// A heartbeat: incarnation and sequence relative to what is known, whether it echoes the newest
/// directive, whether the agent leaves; and its verdict, if it comes at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beaten {
    pub(super) run: i8,
    pub(super) number: i8,
    pub(super) echo: bool,
    pub(super) leaves: bool,
    pub(super) judged: Option<Judged>,
}

/// Whether it is well, and the interval proposed, in units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judged(pub(super) bool, pub(super) u8);
