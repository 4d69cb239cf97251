//! What recovery is about: incidents, and plans to end them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use pulsegate_wire::{Health, IncidentKind, Status};

use crate::{Class, ClassId};

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

impl Incident {
    /// The first incident of this kind of an agent that cannot be reached, as it is most of the
    /// time.
    #[must_use]
    pub fn ordinary(kind: IncidentKind, class: ClassId, of: &Class) -> Self {
        let is_silent = kind == IncidentKind::Silence;
        let silent_ms = u64::from(of.interval_ms) + u64::from(of.fail_grace_ms);
        Self {
            kind,
            number: 0,
            silent_ms: if is_silent { silent_ms } else { 0 },
            missed: if is_silent { 3 } else { 0 },
            health: if is_silent { Health::Healthy } else { Health::Unhealthy },
            status: Status::Healthy,
            class,
            reachable: false,
        }
    }
}

impl fmt::Display for Incident {
    /// As the test cases of a policy write it: `kind = "silence", number = 0, …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, number, silent_ms, missed, health, status, class: _, reachable } = self;
        write!(
            f,
            "kind = \"{kind}\", number = {number}, silent_ms = {silent_ms}, missed = {missed}, \
             health = \"{health}\", status = \"{status}\", reachable = {reachable}"
        )
    }
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
