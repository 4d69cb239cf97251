//! What happened: one form for the journal's records, the watch stream and exports.
//!
//! Every event of an agent carries how the agent stood afterwards ([`Standing`]), so that
//! whoever keeps the newest event of each agent knows its durable state, and rebuilding it needs
//! no rule of the state machine.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::enums;
use crate::{AckOutcome, ActionOutcome, Command, Health, IncidentKind, Registration, State};

/// A fact, with its place in the journal.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Start of the gateway that recorded it, counted from the journal's creation.
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    /// Place in the journal: rises by one with every event, over all epochs.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// When, in core time: milliseconds since the journal was created, downtime not counted.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    /// When, by the wall clock, in Unix milliseconds; for display and retention only.
    #[prost(uint64, tag = "4")]
    pub wall_ms: u64,
    /// Tenant of the agent, lease or policy; empty when the whole gateway is concerned.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// Agent that it is about; empty when it is about none.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// Class of the agent in force.
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// How the agent stands after it; absent when it is about none, or the agent is forgotten.
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// What happened; `None` for a kind that a newer version recorded.
    #[prost(
        oneof = "EventKind",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, \
                48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58"
    )]
    #[serde(flatten)]
    pub kind: Option<EventKind>,
}

/// What is durable of every agent, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// What was concluded from silence: a [`State`].
    #[prost(enumeration = "State", tag = "1")]
    #[serde(with = "enums::state")]
    pub state: i32,
    /// What was judged: a [`Health`].
    #[prost(enumeration = "Health", tag = "2")]
    #[serde(with = "enums::health")]
    pub health: i32,
    /// Number that the agent raised at its last start; 0 before its first heartbeat.
    #[prost(uint64, tag = "3")]
    pub incarnation: u64,
    /// Interval that the guard stores, in milliseconds.
    #[prost(uint32, tag = "4")]
    pub interval_ms: u32,
    /// Longest interval that the agent may be keeping, in milliseconds.
    #[prost(uint32, tag = "5")]
    pub in_force_ms: u32,
    /// An operator paused it.
    #[prost(bool, tag = "6")]
    pub paused: bool,
    /// Since when its silence counts, in core time: receipt of its last heartbeat as far as it was
    /// recorded; registration of a `new` agent; leaving of a `stopped` one.
    #[prost(uint64, tag = "7")]
    pub since_ms: u64,
    /// It was heard at least once. The state does not say so: one that was never heard may have
    /// failed or left too.
    #[prost(bool, tag = "8")]
    pub heard: bool,
    /// It said that it is about to leave: the silence that follows is a graceful stop.
    #[prost(bool, tag = "9")]
    pub leaving: bool,
}

/// What can happen.
#[derive(Clone, PartialEq, prost::Oneof, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// First known, by its first heartbeat (`alive`) or by an operator (`new`).
    #[prost(message, tag = "16")]
    Registered(Registered),
    /// First heartbeat of an agent that an operator had registered.
    #[prost(message, tag = "17")]
    Heard(Heard),
    /// Registration fields changed.
    #[prost(message, tag = "18")]
    Updated(Updated),
    /// A newer incarnation took over.
    #[prost(message, tag = "19")]
    Restarted(Restarted),
    /// Silent past its deadline.
    #[prost(message, tag = "20")]
    Suspected(Silent),
    /// Silent for so long that recovery may act.
    #[prost(message, tag = "21")]
    Failed(Silent),
    /// Beats again after being suspect or failed.
    #[prost(message, tag = "22")]
    Recovered(Recovered),
    /// Left gracefully.
    #[prost(message, tag = "23")]
    Stopped(Stopped),
    /// No longer known.
    #[prost(message, tag = "24")]
    Forgotten(Forgotten),
    /// A policy judged otherwise than before.
    #[prost(message, tag = "25")]
    HealthChanged(HealthChanged),
    /// The stored interval moved.
    #[prost(message, tag = "26")]
    CadenceMoved(CadenceMoved),
    /// The interval in force changed without a move of the stored one: the fleet's floor raised
    /// it, or the agent echoed a shorter one.
    #[prost(message, tag = "27")]
    InForce(InForce),
    /// Paused or resumed by an operator.
    #[prost(message, tag = "28")]
    Paused(Paused),
    /// A command waits for the agent's next directive.
    #[prost(message, tag = "29")]
    CommandQueued(CommandQueued),
    /// A command is no longer repeated.
    #[prost(message, tag = "30")]
    CommandEnded(CommandEnded),
    /// An incident was opened.
    #[prost(message, tag = "31")]
    IncidentOpened(IncidentOpened),
    /// An action was started.
    #[prost(message, tag = "32")]
    ActionStarted(ActionStarted),
    /// An action came to its end.
    #[prost(message, tag = "33")]
    ActionEnded(ActionEnded),
    /// An incident ended.
    #[prost(message, tag = "34")]
    IncidentClosed(IncidentClosed),
    /// Said that it is about to leave, or that it stays after all.
    #[prost(message, tag = "35")]
    Leaving(Leaving),

    /// A gateway began to serve from this journal.
    #[prost(message, tag = "48")]
    GatewayStarted(GatewayStarted),
    /// A gateway ended in order.
    #[prost(message, tag = "49")]
    GatewayEnded(GatewayEnded),
    /// Other policies, or other revisions of them, are in use.
    #[prost(message, tag = "50")]
    PoliciesChanged(PoliciesChanged),
    /// The breaker of a policy opened or closed.
    #[prost(message, tag = "51")]
    PolicyTripped(PolicyTripped),
    /// The journal could not be written for a while.
    #[prost(message, tag = "52")]
    ReadOnly(ReadOnly),
    /// The fleet's floor moved.
    #[prost(message, tag = "53")]
    FloorMoved(FloorMoved),
    /// Core time stood still.
    #[prost(message, tag = "54")]
    TimeHeld(TimeHeld),
    /// A lease was granted, or changed its time to live.
    #[prost(message, tag = "55")]
    LeaseGranted(LeaseGranted),
    /// A lease is free: released by its holder, expired, or taken back by an operator.
    #[prost(message, tag = "56")]
    LeaseEnded(LeaseEnded),
    /// The configuration was read again.
    #[prost(message, tag = "57")]
    Reconfigured(Reconfigured),
    /// Older events were removed, by age or size, or were lost.
    #[prost(message, tag = "58")]
    Truncated(Truncated),
}

macro_rules! bodies {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
            #[serde(default)]
            pub struct $name { $($(#[$field_attribute])* pub $field: $type,)* }
        )+
    };
}

bodies! {
    /// Of [`EventKind::Registered`].
    Registered {
        /// What the agent or the operator told of it.
        #[prost(message, optional, tag = "1")]
        #[serde(skip_serializing_if = "Option::is_none")]
        registration: Option<Registration>,
    }

    /// Of [`EventKind::Heard`].
    Heard {}

    /// Of [`EventKind::Updated`].
    Updated {
        /// All that is known now.
        #[prost(message, optional, tag = "1")]
        registration: Option<Registration>,
    }

    /// Of [`EventKind::Restarted`].
    Restarted {}

    /// Of [`EventKind::Suspected`] and [`EventKind::Failed`]: what the silence was judged by. It is
    /// due at `last_receipt_ms + in_force_ms + grace_ms`, in core time, and not before.
    Silent {
        /// Since when the silence counts, in core time: receipt of the last heartbeat; registration
        /// of an agent that was never heard; after a restart, no earlier than that.
        #[prost(uint64, tag = "1")]
        last_receipt_ms: u64,
        /// Longest interval that the agent may have been keeping, in milliseconds.
        #[prost(uint32, tag = "2")]
        in_force_ms: u32,
        /// Slack past the due time, in milliseconds.
        #[prost(uint32, tag = "3")]
        grace_ms: u32,
        /// Heartbeats missing, counted since the last event that counted them.
        #[prost(uint32, tag = "4")]
        missed: u32,
        /// The journal could not be written when it was found: marked, and not acted upon.
        #[prost(bool, tag = "5")]
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        undurable: bool,
    }

    /// Of [`EventKind::Recovered`].
    Recovered {
        /// State it was in: a [`State`].
        #[prost(enumeration = "State", tag = "1")]
        #[serde(with = "enums::state")]
        from: i32,
        /// Length of the silence, in milliseconds.
        #[prost(uint64, tag = "2")]
        silent_ms: u64,
        /// Heartbeats missing, counted since the last event that counted them.
        #[prost(uint32, tag = "3")]
        missed: u32,
    }

    /// Of [`EventKind::Stopped`].
    Stopped {}

    /// Of [`EventKind::Forgotten`].
    Forgotten {
        /// State it was in: a [`State`].
        #[prost(enumeration = "State", tag = "1")]
        #[serde(with = "enums::state")]
        from: i32,
    }

    /// Of [`EventKind::HealthChanged`].
    HealthChanged {
        /// Before: a [`Health`].
        #[prost(enumeration = "Health", tag = "1")]
        #[serde(with = "enums::health")]
        from: i32,
        /// Now: a [`Health`].
        #[prost(enumeration = "Health", tag = "2")]
        #[serde(with = "enums::health")]
        to: i32,
    }

    /// Of [`EventKind::CadenceMoved`].
    CadenceMoved {
        /// Before, in milliseconds.
        #[prost(uint32, tag = "1")]
        from_ms: u32,
        /// Now, in milliseconds.
        #[prost(uint32, tag = "2")]
        to_ms: u32,
        /// Whether the direction changed.
        #[prost(bool, tag = "3")]
        turned: bool,
        /// What the guard remembers of it.
        #[prost(message, optional, tag = "4")]
        #[serde(skip_serializing_if = "Option::is_none")]
        guard: Option<GuardMemory>,
    }

    /// Of [`EventKind::InForce`].
    InForce {
        /// Before, in milliseconds; the new one stands in the standing.
        #[prost(uint32, tag = "1")]
        from_ms: u32,
    }

    /// Of [`EventKind::Paused`]; which of the two stands in the standing.
    Paused {}

    /// Of [`EventKind::Leaving`]; which of the two stands in the standing.
    Leaving {}

    /// Of [`EventKind::CommandQueued`].
    CommandQueued {
        /// The command.
        #[prost(message, optional, tag = "1")]
        command: Option<Command>,
    }

    /// Of [`EventKind::CommandEnded`].
    CommandEnded {
        /// Id of the command.
        #[prost(string, tag = "1")]
        id: String,
        /// What the agent answered, an [`AckOutcome`]; absent when the command gave way to newer
        /// ones, or the agent left.
        #[prost(enumeration = "AckOutcome", optional, tag = "2")]
        #[serde(with = "enums::ack_outcome_option", skip_serializing_if = "Option::is_none")]
        outcome: Option<i32>,
    }

    /// Of [`EventKind::IncidentOpened`].
    IncidentOpened {
        /// Why: an [`IncidentKind`].
        #[prost(enumeration = "IncidentKind", tag = "1")]
        #[serde(with = "enums::incident_kind")]
        reason: i32,
        /// Incidents of this agent before.
        #[prost(uint32, tag = "2")]
        number: u32,
    }

    /// Of [`EventKind::ActionStarted`].
    ActionStarted {
        /// Id of the action, in hexadecimal digits.
        #[prost(string, tag = "1")]
        action: String,
        /// Executor that carries it out.
        #[prost(string, tag = "2")]
        executor: String,
        /// Number of the incident.
        #[prost(uint32, tag = "3")]
        incident: u32,
        /// Time for the agent to come back before the next rung, in milliseconds.
        #[prost(uint32, tag = "4")]
        wait_ms: u32,
        /// Place of the rung in its plan, from 0.
        #[prost(uint32, tag = "5")]
        rung: u32,
    }

    /// Of [`EventKind::ActionEnded`].
    ActionEnded {
        /// Id of the action, in hexadecimal digits.
        #[prost(string, tag = "1")]
        action: String,
        /// Executor that carried it out.
        #[prost(string, tag = "2")]
        executor: String,
        /// What became of it: an [`ActionOutcome`].
        #[prost(enumeration = "ActionOutcome", tag = "3")]
        #[serde(with = "enums::action_outcome")]
        outcome: i32,
    }

    /// Of [`EventKind::IncidentClosed`].
    IncidentClosed {
        /// Whether the agent beats well again.
        #[prost(bool, tag = "1")]
        recovered: bool,
        /// Actions that were started.
        #[prost(uint32, tag = "2")]
        actions: u32,
        /// From opening to closing, in milliseconds.
        #[prost(uint64, tag = "3")]
        lasted_ms: u64,
    }

    /// Of [`EventKind::GatewayStarted`].
    GatewayStarted {
        /// Version of the gateway.
        #[prost(string, tag = "1")]
        version: String,
        /// Agents that were restored.
        #[prost(uint64, tag = "2")]
        agents: u64,
        /// Wall time since the last record, in milliseconds: what nobody could observe.
        #[prost(uint64, tag = "3")]
        down_ms: u64,
    }

    /// Of [`EventKind::GatewayEnded`].
    GatewayEnded {
        /// Agents known.
        #[prost(uint64, tag = "1")]
        agents: u64,
        /// Digest of the durable state, in hexadecimal digits; `journal replay` prints the same.
        #[prost(string, tag = "2")]
        digest: String,
    }

    /// Of [`EventKind::PoliciesChanged`].
    PoliciesChanged {
        /// Every policy in use, as `name@revision`.
        #[prost(string, repeated, tag = "1")]
        policies: Vec<String>,
    }

    /// Of [`EventKind::PolicyTripped`].
    PolicyTripped {
        /// Name of the policy.
        #[prost(string, tag = "1")]
        policy: String,
        /// Whether the breaker opened; otherwise it closed again.
        #[prost(bool, tag = "2")]
        open: bool,
        /// The revision: the first 12 digits of its digest.
        #[prost(string, tag = "3")]
        #[serde(skip_serializing_if = "String::is_empty")]
        revision: String,
        /// The revision that is obeyed from now on in its place, `none` where none is; empty where
        /// nothing was taken back.
        #[prost(string, tag = "4")]
        #[serde(skip_serializing_if = "String::is_empty")]
        returned_to: String,
    }

    /// Of [`EventKind::ReadOnly`]. It is written when writing is possible again.
    ReadOnly {
        /// Why.
        #[prost(string, tag = "1")]
        reason: String,
        /// How long, in milliseconds.
        #[prost(uint64, tag = "2")]
        lasted_ms: u64,
    }

    /// Of [`EventKind::FloorMoved`].
    FloorMoved {
        /// Floor of a class of weight 1, in milliseconds; 0 for none.
        #[prost(uint32, tag = "1")]
        base_ms: u32,
    }

    /// Of [`EventKind::TimeHeld`].
    TimeHeld {
        /// How long, in milliseconds.
        #[prost(uint64, tag = "2")]
        lasted_ms: u64,
    }

    /// Of [`EventKind::LeaseGranted`].
    LeaseGranted {
        /// Name of the lease within the tenant.
        #[prost(string, tag = "1")]
        name: String,
        /// Who holds it.
        #[prost(string, tag = "2")]
        holder: String,
        /// Fencing token: rises with every grant.
        #[prost(uint64, tag = "3")]
        token: u64,
        /// How long it holds without renewal, in milliseconds.
        #[prost(uint64, tag = "4")]
        ttl_ms: u64,
    }

    /// Of [`EventKind::LeaseEnded`].
    LeaseEnded {
        /// Name of the lease within the tenant.
        #[prost(string, tag = "1")]
        name: String,
        /// Who held it.
        #[prost(string, tag = "2")]
        holder: String,
        /// The token that it was held with.
        #[prost(uint64, tag = "3")]
        token: u64,
        /// `released`, `expired`, `revoked`; `undone` for a grant that nobody was told of, because
        /// the journal was too slow.
        #[prost(string, tag = "4")]
        reason: String,
    }

    /// Of [`EventKind::Reconfigured`].
    Reconfigured {
        /// Options that keep their value until a restart.
        #[prost(string, repeated, tag = "1")]
        kept: Vec<String>,
    }

    /// Of [`EventKind::Truncated`].
    Truncated {
        /// First event that is gone.
        #[prost(uint64, tag = "1")]
        from_seq: u64,
        /// First event that is there again.
        #[prost(uint64, tag = "2")]
        to_seq: u64,
        /// Why: `retention`, or what was found.
        #[prost(string, tag = "3")]
        reason: String,
    }

    /// What the cadence guard remembers beside the interval, in core time.
    GuardMemory {
        /// No relaxing before.
        #[prost(uint64, tag = "1")]
        dwell_until_ms: u64,
        /// No further step of relaxing before.
        #[prost(uint64, tag = "2")]
        step_at_ms: u64,
        /// No relaxing after a tightening before.
        #[prost(uint64, tag = "3")]
        turn_at_ms: u64,
        /// The last move was a relaxing; otherwise a tightening.
        #[prost(bool, tag = "4")]
        relaxed: bool,
    }

    /// The durable state of one agent: what a snapshot holds, and what its events add up to.
    AgentRecord {
        /// Tenant of the agent.
        #[prost(string, tag = "1")]
        tenant: String,
        /// Name of the agent.
        #[prost(string, tag = "2")]
        agent_id: String,
        /// Class in force.
        #[prost(string, tag = "3")]
        class: String,
        /// Its numbers.
        #[prost(message, optional, tag = "4")]
        standing: Option<Standing>,
        /// What the guard remembers; absent before its first move.
        #[prost(message, optional, tag = "5")]
        guard: Option<GuardMemory>,
        /// What was told of it.
        #[prost(message, optional, tag = "6")]
        registration: Option<Registration>,
        /// Commands that wait, the oldest first.
        #[prost(message, repeated, tag = "7")]
        commands: Vec<Command>,
        /// Incidents so far.
        #[prost(uint32, tag = "8")]
        incidents: u32,
        /// The incident under way.
        #[prost(message, optional, tag = "9")]
        incident: Option<IncidentRecord>,
        /// The one open action.
        #[prost(message, optional, tag = "10")]
        action: Option<ActionStarted>,
    }

    /// An incident under way.
    IncidentRecord {
        /// Why: an [`IncidentKind`].
        #[prost(enumeration = "IncidentKind", tag = "1")]
        #[serde(with = "enums::incident_kind")]
        reason: i32,
        /// Incidents of this agent before.
        #[prost(uint32, tag = "2")]
        number: u32,
        /// When it was opened, in core time.
        #[prost(uint64, tag = "3")]
        opened_ms: u64,
        /// Rungs started.
        #[prost(uint32, tag = "4")]
        rungs: u32,
    }
}

impl EventKind {
    /// The word of JSON, filters and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Registered(_) => "registered",
            Self::Heard(_) => "heard",
            Self::Updated(_) => "updated",
            Self::Restarted(_) => "restarted",
            Self::Suspected(_) => "suspected",
            Self::Failed(_) => "failed",
            Self::Recovered(_) => "recovered",
            Self::Stopped(_) => "stopped",
            Self::Forgotten(_) => "forgotten",
            Self::HealthChanged(_) => "health_changed",
            Self::CadenceMoved(_) => "cadence_moved",
            Self::InForce(_) => "in_force",
            Self::Paused(_) => "paused",
            Self::CommandQueued(_) => "command_queued",
            Self::CommandEnded(_) => "command_ended",
            Self::IncidentOpened(_) => "incident_opened",
            Self::ActionStarted(_) => "action_started",
            Self::ActionEnded(_) => "action_ended",
            Self::IncidentClosed(_) => "incident_closed",
            Self::Leaving(_) => "leaving",
            Self::GatewayStarted(_) => "gateway_started",
            Self::GatewayEnded(_) => "gateway_ended",
            Self::PoliciesChanged(_) => "policies_changed",
            Self::PolicyTripped(_) => "policy_tripped",
            Self::ReadOnly(_) => "read_only",
            Self::FloorMoved(_) => "floor_moved",
            Self::TimeHeld(_) => "time_held",
            Self::LeaseGranted(_) => "lease_granted",
            Self::LeaseEnded(_) => "lease_ended",
            Self::Reconfigured(_) => "reconfigured",
            Self::Truncated(_) => "truncated",
        }
    }
}

#[cfg(test)]
mod tests;
