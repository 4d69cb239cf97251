//! What the machine asks of the world: events to tell, incidents to plan, actions to start.

use alloc::string::String;
use alloc::vec::Vec;

use pulsegate_wire::{AckOutcome, Health, Probe, State};

use crate::{ClassId, Incident, IncidentKind, Millis, Slot, Stamp, TenantId};

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

/// A fact about one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, in core time.
    pub at: Millis,
    /// Slot of the agent at that time.
    pub slot: Slot,
    /// Tenant of the agent.
    pub tenant: TenantId,
    /// Name of the agent.
    pub agent_id: String,
    /// Class of the agent.
    pub class: ClassId,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen to an agent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// First known, by its first heartbeat (`alive`) or by an operator (`new`).
    Registered {
        /// State it begins in.
        state: State,
    },
    /// First heartbeat of an agent that an operator had registered.
    Heard,
    /// Registration fields changed.
    Updated,
    /// A newer incarnation took over.
    Restarted {
        /// The new incarnation.
        incarnation: u64,
    },
    /// Silent past its deadline.
    Suspected {
        /// Receipt of its last heartbeat.
        last_receipt: Millis,
        /// Longest interval that it may have been keeping, in milliseconds.
        in_force_ms: u32,
        /// Grace in force, in milliseconds.
        grace_ms: u32,
        /// Heartbeats missing, counted since the last event that counted them.
        missed: u32,
    },
    /// Silent for so long that recovery may act.
    Failed {
        /// Receipt of its last heartbeat; for one never heard, its registration.
        last_receipt: Millis,
        /// Longest interval that it may have been keeping, in milliseconds.
        in_force_ms: u32,
        /// Grace in force, in milliseconds.
        grace_ms: u32,
        /// Heartbeats missing, counted since the last event that counted them.
        missed: u32,
    },
    /// Beats again after being suspect or failed.
    Recovered {
        /// State it was in.
        from: State,
        /// Length of the silence, in milliseconds.
        silent_ms: u64,
        /// Heartbeats missing, counted since the last event that counted them.
        missed: u32,
    },
    /// Left gracefully.
    Stopped,
    /// No longer known.
    Forgotten {
        /// State it was in.
        from: State,
    },
    /// A policy judged otherwise than before.
    HealthChanged {
        /// Before.
        from: Health,
        /// Now.
        to: Health,
    },
    /// The stored interval moved.
    CadenceMoved {
        /// Before, in milliseconds.
        from_ms: u32,
        /// Now, in milliseconds.
        to_ms: u32,
        /// Whether the direction changed.
        turned: bool,
    },
    /// Paused, or resumed, by an operator.
    Paused(bool),
    /// A command waits for the agent's next directive.
    CommandQueued {
        /// Its id.
        id: String,
    },
    /// A command is no longer repeated.
    CommandEnded {
        /// Its id.
        id: String,
        /// What the agent answered; `None` when it gave way to newer ones, or the agent left.
        outcome: Option<AckOutcome>,
    },
    /// An incident was opened.
    IncidentOpened {
        /// Why.
        kind: IncidentKind,
        /// Incidents of this agent before.
        number: u32,
    },
    /// An action was started.
    ActionStarted {
        /// Its id.
        action: ActionId,
        /// Executor that carries it out.
        executor: String,
    },
    /// An action came to its end.
    ActionEnded {
        /// Its id.
        action: ActionId,
        /// Executor that carried it out.
        executor: String,
        /// What became of it.
        outcome: crate::ActionOutcome,
    },
    /// An incident ended.
    IncidentClosed {
        /// Whether the agent beats well again; otherwise the plan came to its end, or an
        /// operator or a newer incarnation closed it.
        recovered: bool,
        /// Actions that were started.
        actions: u32,
        /// From opening to closing, in milliseconds.
        lasted_ms: u64,
    },
}

/// Id of an action: a hash of agent, incarnation, incident number and rung, so that the same
/// action has the same id however often it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

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
