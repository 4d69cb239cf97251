//! What operators and their tools read: the JSON of listings and summaries.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

mod journal;
mod policies;

pub use journal::{DeadLetterPage, DeadLetterView, JournalView, PurgeView, ReplayView};
pub use policies::{
    FaultsView, PolicyCanary, PolicyMode, PolicyPage, PolicyView, RevisionView, ShadowView,
    TrialView,
};

use crate::{Event, Health, State, Status};

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
    /// Flags: paused, draining, flapping; witnessed: a probe confirmed the present silence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The address that its last heartbeat was observed to come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
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
    /// Where to go on with `GET /v1/watch?since=`: taken before the agents of this page, so that
    /// whoever lists, and watches from that of the first page on, misses nothing.
    #[serde(default)]
    pub watch: String,
}

/// What happened since: `GET /v1/watch?since=…&wait=…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchPage {
    /// The events, in order; none when nothing that was asked for happened in time.
    pub events: Vec<Event>,
    /// Where to go on.
    pub next: String,
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

/// Why an agent's last directive is what it is: `GET /v1/agents/{id}/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The agent as it is now.
    pub agent: AgentView,
    /// When it becomes suspect and fails if it stays silent; absent where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadlines: Option<DeadlinesView>,
    /// The last decision; absent before the first heartbeat that this process handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
    /// What policies in shadow would have said; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<WatchedView>,
    /// All of it in sentences, for people.
    pub text: Vec<String>,
}

/// What policies in shadow would have said of a heartbeat: found out after it was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchedView {
    /// Sequence of the heartbeat: it may be older than the last decision.
    pub number: u64,
    /// The health; absent where none of them judges, or it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<VerdictView>,
    /// The interval, before any guard; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cadence: Option<VerdictView>,
    /// Whether the health is another one than what was judged.
    pub health_differs: bool,
    /// How the interval compares with what was proposed; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// Deadlines from now on; negative when they have passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlinesView {
    /// Until the next heartbeat is due, in milliseconds.
    pub due_in_ms: i64,
    /// Until the agent is suspect, in milliseconds.
    pub suspect_in_ms: i64,
    /// Until the agent has failed, in milliseconds.
    pub fail_in_ms: i64,
}

/// How one heartbeat was judged and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionView {
    /// Wall clock at the decision, in Unix milliseconds.
    pub decided_at_unix_ms: u64,
    /// What the policies saw.
    pub observation: ObservationView,
    /// Who judged health.
    pub health: VerdictView,
    /// Who proposed the interval.
    pub cadence: VerdictView,
    /// What each guard did, in order.
    pub steps: Vec<StepView>,
    /// The guard that had the last word.
    pub bound: String,
    /// The sequence that the directive answered.
    pub number: u64,
    /// What became of the heartbeat.
    pub outcome: crate::Outcome,
    /// When to beat next, in milliseconds.
    pub next_interval_ms: u64,
    /// Silence after which the agent is suspect, in milliseconds.
    pub suspect_after_ms: u64,
    /// Silence after which the agent has failed, in milliseconds.
    pub fail_after_ms: u64,
}

/// The sixteen numbers that policies see; those that were not reported are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservationView {
    /// Core time, in milliseconds.
    pub now_ms: u64,
    /// What the agent reported.
    pub status: Status,
    /// The health judged before.
    pub health: Health,
    /// Facts, by the words of the WIT flags.
    pub signals: Vec<String>,
    /// Interval in force, in milliseconds.
    pub interval_ms: u64,
    /// Arrival after the directed due time, in milliseconds; negative when early.
    pub lateness_ms: i64,
    /// Heartbeats that did not come in the silence before.
    pub missed: u64,
    /// Pieces of work that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<f64>,
    /// Change of the queue, in pieces per second.
    pub queue_trend: f64,
    /// Pieces of work under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_tasks: Option<f64>,
    /// Processor use of the host, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Resident memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<f64>,
    /// Errors in the window.
    pub errors: u64,
    /// Typical time of one piece of work, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Time since the watermark rose, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_age_ms: Option<u64>,
    /// The fleet's heartbeats, as a share of the budget.
    pub fleet_load: f64,
}

/// What one policy said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictView {
    /// Name of the policy.
    pub policy: String,
    /// Its revision; empty for the built-in policy.
    pub policy_revision: String,
    /// Its reason.
    pub reason: String,
    /// The health that it judged; absent for a cadence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How good that is, 0 to 100; absent for a cadence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The interval that it proposed, in milliseconds; absent for health, and where the policy
    /// proposed no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<f64>,
}

/// What one guard made of the interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Name of the step: `clamp`, `guard`, `floor` or `jitter`.
    pub step: String,
    /// Interval before, in milliseconds; absent where it was no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<u64>,
    /// Interval after, in milliseconds.
    pub after_ms: u64,
    /// What was done, and why.
    pub text: String,
}
