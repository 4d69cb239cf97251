//! Leases of a simulated gateway: asked for together with heartbeats, renewed by them.

use pulsegate_core::lease::history::Fact;
use pulsegate_core::lease::{Acquired, Effects, Grant, Leases, Request as Ask};
use pulsegate_core::{Decision, Machine, Millis};
use pulsegate_wire::{EventKind, Health, LeaseGrant, Outcome};

use super::names::{Names, TENANT, TENANT_NAME};
use super::{Gateway, Waiter};
use crate::server::{Answer, LeaseTold, Micros, Request};

/// TTL that agents ask for. Source: chosen; two usual intervals, so that a third of it is a cap
/// that matters.
const TTL_MS: u32 = 60_000;

/// The table, and what it wants to be done.
#[derive(Debug)]
pub(super) struct Holdings {
    pub(super) table: Leases,
    pub(super) effects: Effects,
    /// What a directive names; kept from call to call.
    told: Vec<LeaseGrant>,
}

impl Holdings {
    pub(super) fn new(epoch: u32) -> Self {
        Self { table: Leases::new(epoch), effects: Effects::default(), told: Vec::new() }
    }

    /// An agent is known from now on that may hold leases already.
    pub(super) fn meet(&self, machine: &mut Machine, names: &Names, id: &str) {
        let smallest = self.table.smallest_ttl_ms(TENANT, id);
        if smallest.is_some()
            && let Some(slot) = machine.find(names.key_of(id))
        {
            machine.set_smallest_lease(slot, smallest);
        }
    }
}

impl Gateway {
    /// What a heartbeat does for leases: renews what its agent holds, and asks for what it wants.
    pub(super) fn hold(
        &mut self,
        now: Micros,
        request: &Request,
        decision: &Decision,
    ) -> (Option<LeaseTold>, Option<Grant>) {
        if request.wants.is_none() && !decision.holds_leases {
            return (None, None);
        }
        let core = self.core(now);
        let told = self.renew(now, core, request, decision);
        match request.wants {
            Some(lease) if told.is_none() && !request.report.stopping => {
                self.acquire(now, core, request, lease)
            }
            _ => (told, None),
        }
    }

    fn renew(
        &mut self,
        now: Micros,
        core: Millis,
        request: &Request,
        decision: &Decision,
    ) -> Option<LeaseTold> {
        let mut told = std::mem::take(&mut self.holdings.told);
        told.clear();
        let holder = self.names.key(request.agent).id;
        let table = &mut self.holdings.table;
        if decision.outcome == Outcome::Accepted {
            let is_ill = matches!(decision.health, Health::Unhealthy | Health::Stalled);
            let is_fit = !is_ill && !request.report.stopping;
            table.renew_held(core, TENANT, holder, is_fit, &mut told);
        } else if let Some(since) =
            self.machine.info(core, decision.slot).and_then(|info| info.last_receipt)
        {
            table.renewed_since(core, TENANT, holder, since, &mut told);
        }
        let first = told.first().map(|grant| LeaseTold {
            lease: self.names.lease_of(&grant.name),
            token: grant.token,
            ttl_ms: grant.ttl_ms as u32,
            beat_now: false,
        });
        if let Some(checks) = &mut self.checks
            && decision.outcome == Outcome::Accepted
        {
            for grant in &told {
                let (name, token, ttl_ms) = (grant.name.clone(), grant.token, grant.ttl_ms);
                let expires = core.plus(ttl_ms);
                checks.note(now, Fact::Renewed { name, token, ttl_ms, at: core, expires });
            }
        }
        self.holdings.told = told;
        first
    }

    fn acquire(
        &mut self,
        now: Micros,
        core: Millis,
        request: &Request,
        lease: u32,
    ) -> (Option<LeaseTold>, Option<Grant>) {
        let key = self.names.lease(lease);
        let holder = self.names.key(request.agent).id;
        let ask = Ask { key, holder, ttl_ms: TTL_MS, wait: false };
        let holdings = &mut self.holdings;
        let acquired = holdings.table.acquire(core, &ask, &mut holdings.effects);
        let recorded = self.settle_leases(now);
        match acquired {
            Ok(Acquired::Granted(grant)) if !recorded => {
                self.undo(now, &grant);
                (None, None)
            }
            Ok(Acquired::Granted(grant)) if grant.waits => (None, Some(grant)),
            Ok(Acquired::Granted(grant)) => {
                let fact = Fact::Renewed {
                    name: grant.name.clone(),
                    token: grant.token,
                    ttl_ms: grant.ttl_ms.into(),
                    at: core,
                    expires: core.plus(grant.ttl_ms.into()),
                };
                if let Some(checks) = &mut self.checks {
                    checks.note(now, fact);
                }
                let beat_now = self.is_too_slow(&grant.holder);
                let (token, ttl_ms) = (grant.token, grant.ttl_ms);
                (Some(LeaseTold { lease, token, ttl_ms, beat_now }), None)
            }
            // Nobody stands in line here.
            Ok(Acquired::Waiting(_)) | Err(_) => (None, None),
        }
    }

    /// What is durable may be told.
    pub(super) fn confirm(&mut self, now: Micros, waiter: &mut Waiter) {
        let Some(grant) = waiter.grant.take() else { return };
        let core = self.core(now);
        let holdings = &mut self.holdings;
        let told = holdings.table.confirm(core, &grant, &mut holdings.effects);
        self.settle_leases(now);
        let Some(told) = told else { return };
        if let Some(checks) = &mut self.checks {
            let (name, token, ttl_ms) = (told.name.clone(), told.token, told.ttl_ms.into());
            checks.note(now, Fact::Confirmed { name, token, ttl_ms });
        }
        let of = self.names.lease_of(&told.name);
        let beat_now = self.is_too_slow(&told.holder);
        if let Answer::Directive { lease, .. } = &mut waiter.reply.answer {
            let (token, ttl_ms) = (told.token, told.ttl_ms);
            *lease = Some(LeaseTold { lease: of, token, ttl_ms, beat_now });
        }
    }

    /// Whether a holder keeps an interval too long for what it holds.
    fn is_too_slow(&mut self, holder: &str) -> bool {
        let smallest = self.holdings.table.smallest_ttl_ms(TENANT, holder);
        let slot = self.machine.find(self.names.key_of(holder));
        slot.is_some_and(|slot| self.machine.set_smallest_lease(slot, smallest))
    }

    pub(super) fn undo(&mut self, now: Micros, grant: &Grant) {
        let core = self.core(now);
        let holdings = &mut self.holdings;
        holdings.table.undo(core, grant, &mut holdings.effects);
        self.settle_leases(now);
    }

    pub(super) fn handle_leases(&mut self, now: Micros) {
        let core = self.core(now);
        if self.holdings.table.next_deadline().is_none_or(|at| at > core) {
            return;
        }
        let holdings = &mut self.holdings;
        while holdings.table.handle_deadlines(core, 64, &mut holdings.effects) {}
        self.settle_leases(now);
    }

    /// Records what happened to leases, and lets the cadence of their holders follow. Whether it
    /// was recorded.
    pub(super) fn settle_leases(&mut self, now: Micros) -> bool {
        if self.holdings.effects.is_empty() {
            return true;
        }
        let core = self.core(now);
        let mut effects = std::mem::take(&mut self.holdings.effects);
        let mut recorded = true;
        if let Some(journal) = self.journal.as_mut().filter(|_| !effects.events.is_empty()) {
            recorded = !journal.is_read_only();
            if recorded {
                let events = effects.events.iter().map(|event| event.to_wire(TENANT_NAME));
                let events: Vec<_> = events.collect();
                journal.append(now, core.0, events.into_iter());
            }
        }
        if let Some(checks) = &mut self.checks {
            for event in effects.events.drain(..) {
                checks.note_lease(now, core, &event.kind);
            }
        }
        for change in effects.holders.drain(..) {
            if let Some(slot) = self.machine.find(self.names.key_of(&change.holder)) {
                self.machine.set_smallest_lease(slot, change.smallest_ttl_ms);
            }
        }
        recorded
    }
}

/// The fact of an event of leases.
pub(super) fn fact(at: Millis, kind: &EventKind) -> Option<Fact> {
    match kind {
        EventKind::LeaseGranted(granted) => Some(Fact::Granted {
            name: granted.name.clone(),
            token: granted.token,
            ttl_ms: granted.ttl_ms,
            at,
        }),
        EventKind::LeaseEnded(ended) => Some(Fact::Ended {
            name: ended.name.clone(),
            token: ended.token,
            reason: ended.reason.clone(),
            at,
        }),
        _ => None,
    }
}
