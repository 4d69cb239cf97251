//! What recovery is about: incidents, and plans to end them.

use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::{Health, IncidentKind, Status};

use crate::ClassId;

/// What a recovery policy sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incident {
    /// Why it was opened.
    pub kind: IncidentKind,
    /// How many incidents this agent had before, within the time the gateway remembers it.
    pub number: u32,
    /// Silence up to now, in milliseconds; 0 for a health incident.
    pub silent_ms: u64,
    /// Heartbeats missing.
    pub missed: u32,
    /// The health judged last.
    pub health: Health,
    /// The status reported last.
    pub status: Status,
    /// Class of the agent.
    pub class: ClassId,
    /// Whether a command could reach the agent now.
    pub reachable: bool,
}

/// One step of a plan: a configured executor, and how long to wait for its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Id of a configured executor; never a command line or an address.
    pub executor: String,
    /// Time for the agent to come back before the next rung, in milliseconds.
    pub wait_ms: u32,
}

/// What recovery shall do, one rung at a time; at most [`Plan::MAX_RUNGS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The rungs in order.
    pub rungs: Vec<Rung>,
    /// Why, for people.
    pub reason: String,
}

impl Plan {
    /// Most rungs of a plan.
    pub const MAX_RUNGS: usize = 8;
}
