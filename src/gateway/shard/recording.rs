//! Heartbeats that the journal keeps, so that policies can be tried on them later.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use pulsegate_core::{Decision, TenantId, Ticket};
use pulsegate_journal::HeartbeatRecord;
use pulsegate_policy::{Evaluation, PolicySet};
use pulsegate_wire::Heartbeat;

use super::Shards;
use super::heartbeat::{Context, custom};

/// What was seen of one heartbeat, and what was made of it.
pub(super) struct Judged<'a> {
    pub(super) tenant: TenantId,
    pub(super) heartbeat: &'a Heartbeat,
    pub(super) ticket: Ticket,
    pub(super) evaluation: &'a Evaluation,
    pub(super) decision: &'a Decision,
}

impl Shards {
    /// Whether heartbeats of the agent with this hash are kept.
    pub(super) fn is_recorded(&self, hash: u64) -> bool {
        self.durable.journal().is_recorded(hash, self.known.load(Relaxed).into())
    }

    /// Keeps a heartbeat. Nobody waits for it.
    pub(super) fn record(&self, context: Context<'_>, judged: &Judged<'_>) {
        let Judged { heartbeat, ticket, evaluation, decision, .. } = judged;
        let config = self.config.load();
        let verdict = &evaluation.verdict;
        let (policy, reason) = source(context.policies, decision);
        self.durable.journal().record(HeartbeatRecord {
            at_ms: ticket.observation.now_ms,
            wall_ms: context.wall_ms,
            tenant: config.tenants.name(judged.tenant).to_owned(),
            agent_id: heartbeat.agent_id.clone(),
            class: config.classes[ticket.class].name.clone(),
            incarnation: ticket.stamp.incarnation,
            sequence: ticket.stamp.sequence,
            observed: Some((&ticket.observation).into()),
            custom: BTreeMap::clone(custom(heartbeat)),
            judged: verdict.health.as_str().to_owned(),
            score: verdict.score,
            hint_ms: verdict.interval_ms,
            policy,
            reason,
            stored_ms: decision.trace.stored_ms,
            effective_ms: decision.trace.effective_ms,
            sent_ms: decision.trace.sent_ms,
            bound: decision.trace.bound.as_str().to_owned(),
        });
    }
}

/// Who proposed the interval, as `name@revision`, and why.
fn source(policies: &PolicySet, decision: &Decision) -> (String, String) {
    let text = policies.text(decision.source);
    let at = if text.revision.is_empty() { "" } else { "@" };
    (format!("{}{at}{}", text.policy, text.revision), text.reason.to_owned())
}
