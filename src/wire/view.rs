//! What operators and their tools read: the JSON of listings and summaries.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Health, State, Status};

/// One agent, as `GET /v1/agents/{id}` and listings show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    /// Name of the agent within its tenant.
    pub agent_id: String,
    /// Tenant of the credential that the agent came with.
    pub tenant: String,
    /// What the gateway concluded from silence.
    pub state: State,
    /// What the policy judged.
    pub health: Health,
    /// What the agent reported.
    pub status: Status,
    /// Class in force.
    pub class: String,
    /// Class that the agent asked for, when it is not known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_unknown: Option<String>,
    /// Labels of the agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the agent can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Where the agent can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Number that the agent raised at its last start.
    pub incarnation: u64,
    /// Newest sequence of that incarnation.
    pub sequence: u64,
    /// Interval that the guard stored, before floor and jitter, in milliseconds.
    pub interval_ms: u64,
    /// Longest interval that the agent may be keeping, in milliseconds.
    pub in_force_ms: u64,
    /// Silence up to now, in milliseconds; absent before the first heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// Heartbeats that are missing in the present silence.
    pub missed: u64,
    /// Flags: paused, draining, flapping.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Difference of the agent's wall clock to ours at its last heartbeat, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// Recovery under way, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
}

/// A page of agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentPage {
    /// The agents of this page.
    pub agents: Vec<AgentView>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The fleet at a glance: `GET /health/agents`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetView {
    /// All agents known.
    pub total: u64,
    /// Those alive and judged healthy.
    pub healthy: u64,
    /// Those suspect: silent past their deadline.
    pub missing: u64,
    /// Those failed.
    pub failed: u64,
    /// Those that left gracefully.
    pub stopped: u64,
    /// The agents by name, with their state, at most [`PAGE_ITEMS`](crate::limits::PAGE_ITEMS).
    pub agents: Vec<AgentGlance>,
    /// Where the list goes on; absent when it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One agent at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentGlance {
    /// Name of the agent within its tenant.
    pub agent_id: String,
    /// What the gateway concluded from silence.
    pub state: State,
    /// What the policy judged.
    pub health: Health,
}
