//! What the shell keeps of each agent beside the machine: nothing that a decision needs.

use std::net::IpAddr;

use pulsegate_core::{Decision, Observation, VerdictSource};
use pulsegate_policy::{Assignment, Memory};
use pulsegate_wire::Health;

/// Cold data of one slot; reset when the slot is given to another agent.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// Generation of the slot that this belongs to, with the policies chosen for the agent and
    /// the set that they were chosen from.
    pub(super) assigned: Option<(u64, Assignment)>,
    /// Memory columns of policies that keep any.
    pub(super) memory: Option<Box<Memory>>,
    /// The last heartbeat that was decided.
    pub(super) last: Option<Box<Explained>>,
    /// Whether the limiter has charged this agent before: a new one starts with a full quota.
    pub(super) charged: bool,
}

impl Cold {
    pub(super) fn boxed_bytes(&self) -> usize {
        let memory = self.memory.as_ref().map_or(0, |_| size_of::<Memory>());
        memory + self.last.as_ref().map_or(0, |_| size_of::<Explained>())
    }
}

/// Why an agent's last directive is what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// What the policies saw.
    pub observation: Observation,
    /// The health that was judged, and how good it is, 0 (worst) to 100.
    pub judged: (Health, f64),
    /// Who judged health, and why.
    pub health_source: VerdictSource,
    /// The interval proposed, in milliseconds, before any guard.
    pub hint_ms: f64,
    /// The machine's part of the directive, with what each guard did.
    pub decision: Decision,
    /// Generation of the policy set that the sources belong to.
    pub policies: u64,
    /// The address that the heartbeat was observed to come from.
    pub peer: IpAddr,
    /// Difference of the agent's wall clock to ours, in milliseconds; `None` if it sent none.
    pub clock_skew_ms: Option<i64>,
    /// Wall clock at the decision, in Unix milliseconds.
    pub decided_at_unix_ms: u64,
}
