//! The seam to the room of leases, which stands behind this one: heartbeats renew leases, and the
//! journal and its snapshots hold them beside agents.
//!
//! That room locks a shard while its own table is locked, so nothing here is called under the lock
//! of a shard. An agent without leases costs one look at a flag.

use pulsegate_core::{Decision, Event, EventKind, Millis, TenantId};
use pulsegate_wire::event::LeaseGranted;
use pulsegate_wire::{Health, LeaseGrant, Outcome, Status};

use super::heartbeat::Decided;
use super::{Shard, Shards};

/// What shards ask of leases.
pub trait Holdings: Send + Sync {
    /// Renews what an agent holds, as far as its heartbeat may, and adds to the directive what the
    /// agent may count on. No shard is locked.
    fn renew(
        &self,
        tenant: TenantId,
        holder: &str,
        renewal: Renewal,
        directive: &mut Vec<LeaseGrant>,
    );

    /// An agent is known from now on that may hold leases already: its cadence follows them. No
    /// shard is locked.
    fn meet(&self, tenant: TenantId, holder: &str);

    /// Takes a lease from a snapshot, before anything is served.
    fn restore(&self, tenant: TenantId, lease: &LeaseGranted);

    /// Folds an event of the journal in, before anything is served.
    fn apply(&self, tenant: TenantId, event: &pulsegate_wire::Event);

    /// Every lease, for a snapshot.
    fn export(&self) -> Vec<(TenantId, LeaseGranted)>;
}

/// What a heartbeat does for the leases of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was accepted; who is not fit keeps what it holds until it expires.
    Accepted {
        /// The agent is neither stopping nor stalled nor unhealthy.
        is_fit: bool,
    },
    /// It was seen before, and was received at this time or earlier: it renews nothing, and is
    /// answered as the first time.
    Repeated {
        /// Receipt of the newest attempt that counted.
        since: Millis,
    },
}

impl Renewal {
    /// What an accepted heartbeat of an agent that holds leases does for them.
    pub(super) fn of_accepted(decision: &Decision, status: Status, is_early: bool) -> Option<Self> {
        // Early data may have been recorded and sent anew by somebody else: it renews no lease.
        let is_ill = matches!(decision.health, Health::Unhealthy | Health::Stalled);
        let is_fit = status != Status::Stopping && !is_ill;
        (decision.holds_leases && !is_early).then_some(Self::Accepted { is_fit })
    }
}

impl Shard {
    /// What a repeated heartbeat of an agent that holds leases may say of them.
    pub(super) fn repeated(&self, now: Millis, decision: &Decision) -> Option<Renewal> {
        if !decision.holds_leases || decision.outcome != Outcome::Duplicate {
            return None;
        }
        let since = self.machine.info(now, decision.slot)?.last_receipt?;
        Some(Renewal::Repeated { since })
    }
}

impl Shards {
    /// Renews what the agent of an answer holds; no shard is locked.
    pub(super) fn renew(&self, tenant: TenantId, agent_id: &str, decided: &mut Decided) {
        if let Some(renewal) = decided.renewal.take() {
            self.leases.renew(tenant, agent_id, renewal, &mut decided.leases);
        }
    }

    /// Tells the room of leases of agents that are new; no shard is locked.
    pub(super) fn meet(&self, events: &[Event]) {
        for event in events {
            if matches!(event.kind, EventKind::Registered { .. }) {
                self.leases.meet(event.tenant, &event.agent_id);
            }
        }
    }

    /// Takes the smallest TTL of what an agent holds, in milliseconds; `None` when it holds
    /// nothing. Says whether the agent is known and should beat now: see
    /// [`pulsegate_core::Machine::set_smallest_lease`].
    pub fn set_smallest_lease(
        &self,
        tenant: TenantId,
        agent_id: &str,
        smallest_ttl_ms: Option<u32>,
    ) -> bool {
        let key = self.key(tenant, agent_id);
        let mut shard = self.lock(self.index(&key));
        let Some(slot) = shard.machine.find(key) else { return false };
        shard.machine.set_smallest_lease(slot, smallest_ttl_ms)
    }
}

#[cfg(test)]
mod tests {
    use pulsegate_core::{ClassId, Slot, VerdictSource, cadence};

    use super::*;

    fn decision(holds_leases: bool, health: Health) -> Decision {
        Decision {
            slot: Slot(7),
            number: 1,
            outcome: Outcome::Accepted,
            next_interval_ms: 1_000,
            suspect_after_ms: 1_000,
            fail_after_ms: 1_000,
            source: VerdictSource { policy: 1, reason: 2 },
            trace: cadence::Trace::default(),
            health,
            class: ClassId(1),
            has_commands: false,
            holds_leases,
        }
    }

    #[test]
    fn who_holds_nothing_renews_nothing_and_early_data_neither() {
        let renewal = |holds_leases, is_early| {
            let decision = decision(holds_leases, Health::Healthy);
            Renewal::of_accepted(&decision, Status::Healthy, is_early)
        };
        assert_eq!(renewal(true, false), Some(Renewal::Accepted { is_fit: true }));
        assert_eq!((renewal(false, false), renewal(true, true)), (None, None));
    }

    #[test]
    fn who_is_stopping_stalled_or_unhealthy_is_not_fit() {
        for (health, status, is_fit) in [
            (Health::Healthy, Status::Busy, true),
            (Health::Degraded, Status::Degraded, true),
            (Health::Healthy, Status::Stopping, false),
            (Health::Stalled, Status::Healthy, false),
            (Health::Unhealthy, Status::Healthy, false),
        ] {
            let renewal = Renewal::of_accepted(&decision(true, health), status, false);
            assert_eq!(renewal, Some(Renewal::Accepted { is_fit }), "{health} {status}");
        }
    }
}
