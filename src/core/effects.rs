//! What the machine asks of the world: events to tell, incidents to plan, actions to start.

use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::{IncidentKind, Probe};

use crate::{ClassId, Event, Incident, Millis, Stamp, TenantId};

/// Everything that one call of the machine caused; reused from call to call.
#[derive(Debug, Default)]
pub struct Effects {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Incidents that want a plan: answer each with `Machine::handle_plan`.
    pub incidents: Vec<(Stamp, Incident)>,
    /// Actions to start: answer each with `Machine::handle_outcome`.
    pub actions: Vec<Action>,
    /// Silences that want a second witness: answer those that it confirms, and only those, with
    /// `Machine::handle_witness`.
    pub suspicions: Vec<Suspicion>,
}

/// Id of an action: a hash of agent, incarnation, incident number and rung, so that the same
/// action has the same id however often it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

impl ActionId {
    /// The id of these hexadecimal digits, as it is displayed; `None` when they are none.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

/// An action to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its id.
    pub id: ActionId,
    /// Stamp to answer with.
    pub stamp: Stamp,
    /// Tenant of the agent.
    pub tenant: TenantId,
    /// Name of the agent.
    pub agent_id: String,
    /// Class of the agent.
    pub class: ClassId,
    /// Id of the executor.
    pub executor: String,
    /// Why the incident was opened.
    pub incident: IncidentKind,
    /// Whether a command could reach the agent now.
    pub reachable: bool,
}

/// The silence of an agent that has said how it may be asked for a sign of life. There are at most
/// two in one silence: when the agent turns suspect, and when it has failed unconfirmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// Stamp of the agent when it was asked for.
    pub stamp: Stamp,
    /// Receipt of the heartbeat before the silence. A rate-limited heartbeat ends a silence and
    /// leaves the stamp as it is.
    pub last_receipt: Millis,
    /// Tenant of the agent.
    pub tenant: TenantId,
    /// Name of the agent.
    pub agent_id: String,
    /// Class of the agent.
    pub class: ClassId,
    /// How it may be asked.
    pub probe: Probe,
    /// Whether the answer moves anything: recovery acts sooner on a confirmed silence. Where it
    /// acts at the fail grace anyway, the answer is only there to be shown.
    pub is_decisive: bool,
}

impl Effects {
    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.incidents.is_empty()
            && self.actions.is_empty()
            && self.suspicions.is_empty()
    }

    /// Forgets everything; keeps the room.
    pub fn clear(&mut self) {
        self.events.clear();
        self.incidents.clear();
        self.actions.clear();
        self.suspicions.clear();
    }
}

impl core::fmt::Display for ActionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
