//! What the machine answers.

use pulsegate_wire::{Health, Outcome, Registration, State, Status};

use crate::{ClassId, Millis, Observation, Slot, TenantId, VerdictSource, cadence};

/// What a late answer must still match: a newer heartbeat, incarnation or agent makes it stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Slot of the agent.
    pub slot: Slot,
    /// Raised each time the slot is given to another agent.
    pub generation: u32,
    /// Incarnation of the agent.
    pub incarnation: u64,
    /// Sequence of the heartbeat, or number of the incident.
    pub sequence: u64,
}

/// A heartbeat that waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticket {
    /// What the verdict must match.
    pub stamp: Stamp,
    /// Class of the agent.
    pub class: ClassId,
    /// What policies may see.
    pub observation: Observation,
}

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "made and consumed on the stack, once a heartbeat")]
pub enum Handled {
    /// It renewed the deadline: get a verdict, then call
    /// [`Machine::decide`](crate::Machine::decide).
    Observe(Ticket),
    /// It changed nothing (duplicate or stale): here is the current directive.
    Repeat(Decision),
}

/// Why something was refused; what is durable has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A newer incarnation is known.
    IncarnationStale {
        /// The one known.
        known: u64,
    },
    /// This incarnation has left.
    Stopped,
    /// There is no room for another agent.
    Full,
    /// Nothing can be recorded, and this would have to be: see
    /// [`Machine::set_frozen`](crate::Machine::set_frozen).
    ReadOnly,
}

/// The machine's part of a directive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Slot of the agent, for what the shell keeps beside it.
    pub slot: Slot,
    /// The sequence that it answers.
    pub number: u64,
    /// What became of the heartbeat.
    pub outcome: Outcome,
    /// When to beat next, after jitter, in milliseconds.
    pub next_interval_ms: u32,
    /// Silence after which the agent is suspect, in milliseconds.
    pub suspect_after_ms: u32,
    /// Silence after which the agent has failed, in milliseconds.
    pub fail_after_ms: u32,
    /// Who proposed the interval, and why.
    pub source: VerdictSource,
    /// What the guard did; only its bound is known for a repeated directive.
    pub trace: cadence::Trace,
    /// Health in force.
    pub health: Health,
    /// Class of the agent.
    pub class: ClassId,
    /// Whether commands wait for the agent: see [`Machine::commands`](crate::Machine::commands).
    pub has_commands: bool,
    /// Whether the agent holds leases: an accepted heartbeat renews them, see
    /// [`Leases::renew_held`](crate::lease::Leases::renew_held), if the agent is neither stopping
    /// nor stalled nor unhealthy.
    pub holds_leases: bool,
}

/// One agent, for listings.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentInfo<'a> {
    /// Slot of the agent.
    pub slot: Slot,
    /// Tenant of the agent.
    pub tenant: TenantId,
    /// Name of the agent.
    pub id: &'a str,
    /// State.
    pub state: State,
    /// Health in force.
    pub health: Health,
    /// Status reported last.
    pub status: Status,
    /// Class.
    pub class: ClassId,
    /// Incarnation.
    pub incarnation: u64,
    /// Newest sequence.
    pub sequence: u64,
    /// Stored interval, in milliseconds.
    pub interval_ms: u32,
    /// Interval in force, in milliseconds.
    pub in_force_ms: u32,
    /// Receipt of the last heartbeat; of a stopped agent, when it left; until the first heartbeat
    /// after a restart, the restart; `None` if never heard.
    pub last_receipt: Option<Millis>,
    /// Heartbeats missing in the present silence.
    pub missed: u32,
    /// Paused by an operator.
    pub paused: bool,
    /// A second witness has confirmed the present silence.
    pub witnessed: bool,
    /// Its silence was found while nothing could be recorded: nothing is done about it yet.
    pub undurable: bool,
    /// Registration fields known.
    pub registration: Option<&'a Registration>,
    /// Recovery under way: executor of the current or last rung, and whether it is open.
    pub recovery: Option<(&'a str, bool)>,
}
