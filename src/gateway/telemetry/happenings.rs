//! One function for each happening: what is counted and what is logged stand side by side.

use std::net::IpAddr;
use std::time::Duration;

use pulsegate_core::{Action, ActionOutcome, Event, EventKind, IncidentKind, Millis, Suspicion};
use pulsegate_policy::{LogLevel, LogLine};
use pulsegate_wire::event::{LeaseEnded, LeaseGranted};
use pulsegate_wire::{AckOutcome, Health, State};
use tracing::{debug, error, info, warn};

use super::catalogue::Id;
use super::{ACTION_OUTCOMES, Gauge, LEASE_ENDS, ProbeOutcome, Returned, TRANSITIONS, Telemetry};

/// Starts within ten minutes that are a loop. Source: DESIGN §4.
const RESTART_LOOP: u32 = 3;

/// What the journal gave back at a start.
#[derive(Clone, Copy, Debug)]
pub struct Restored<'a> {
    /// There was no journal before.
    pub is_new: bool,
    /// Agents that are known again.
    pub agents: u32,
    /// Rows and events that belong to nobody who is configured.
    pub strangers: u64,
    /// The gateway before this one ended in order.
    pub was_clean: bool,
    /// Wall time in between, in milliseconds.
    pub down_ms: u64,
    /// Starts in the last ten minutes, this one included.
    pub starts_lately: u32,
    /// What is damaged.
    pub losses: &'a [String],
    /// How long it took.
    pub took: Duration,
}

/// What is known of a silence when it is noticed.
struct Silence {
    place: usize,
    last_receipt: Millis,
    in_force_ms: u32,
    grace_ms: u32,
    missed: u32,
}

impl Telemetry {
    /// Things happened to agents.
    pub fn events(&self, events: &[Event]) {
        for event in events {
            self.event(event);
        }
    }

    /// Something happened to an agent.
    pub fn event(&self, event: &Event) {
        self.inner.names.of(event.class, event.tenant, |class, tenant| {
            self.count(event);
            log(event, class, tenant);
        });
    }

    /// A lease was granted, with a new token.
    pub fn lease_granted(&self, lease: &LeaseGranted) {
        self.inner.cells.add(Id::LeaseGrants, 0, 1);
        let LeaseGranted { name, holder, token, ttl_ms } = lease;
        debug!(lease = name, holder, token, ttl_ms, "a lease was granted");
    }

    /// A lease has ended.
    pub fn lease_ended(&self, lease: &LeaseEnded) {
        let LeaseEnded { name, holder, token, reason } = lease;
        let place = LEASE_ENDS.iter().position(|word| word == reason).unwrap_or_default();
        self.inner.cells.add(Id::LeaseEnds, place, 1);
        debug!(lease = name, holder, token, reason, "a lease has ended");
    }

    /// An operator took a lease back.
    pub fn lease_revoked(&self, name: &str, token: u64) {
        info!(lease = name, token, "a lease was revoked by an operator");
    }

    fn count(&self, event: &Event) {
        let class = usize::from(event.class.0);
        let cells = &self.inner.cells;
        let entered = |to: &str| {
            let to = TRANSITIONS.iter().position(|word| *word == to).unwrap_or_default();
            cells.add(Id::Transitions, class * TRANSITIONS.len() + to, 1);
        };
        match &event.kind {
            EventKind::Registered { state, .. } => entered(state.as_str()),
            EventKind::Heard => entered(State::Alive.as_str()),
            EventKind::Suspected { last_receipt, in_force_ms, grace_ms, missed } => {
                entered(State::Suspect.as_str());
                let (last_receipt, in_force_ms) = (*last_receipt, *in_force_ms);
                let (grace_ms, missed) = (*grace_ms, *missed);
                self.silence(
                    event,
                    &Silence { place: 0, last_receipt, in_force_ms, grace_ms, missed },
                );
            }
            EventKind::Failed { last_receipt, in_force_ms, grace_ms, missed } => {
                entered(State::Failed.as_str());
                let (last_receipt, in_force_ms) = (*last_receipt, *in_force_ms);
                let (grace_ms, missed) = (*grace_ms, *missed);
                self.silence(
                    event,
                    &Silence { place: 1, last_receipt, in_force_ms, grace_ms, missed },
                );
            }
            EventKind::Recovered { missed, .. } => {
                entered(State::Alive.as_str());
                cells.add(Id::Missed, class, u64::from(*missed));
            }
            EventKind::Stopped => entered(State::Stopped.as_str()),
            EventKind::Forgotten { .. } => entered("forgotten"),
            EventKind::HealthChanged { to, .. } => {
                cells.add(Id::HealthChanges, class * Health::ALL.len() + *to as usize, 1);
            }
            EventKind::CadenceMoved { from_ms, to_ms, turned, .. } => {
                cells.add(Id::Moves, usize::from(to_ms > from_ms), 1);
                cells.add(Id::Turns, 0, u64::from(*turned));
            }
            _ => self.count_recovery(&event.kind),
        }
    }

    fn count_recovery(&self, kind: &EventKind) {
        let cells = &self.inner.cells;
        match kind {
            EventKind::CommandQueued { .. } => cells.add(Id::CommandsQueued, 0, 1),
            EventKind::CommandEnded { outcome, .. } => {
                let dropped = AckOutcome::ALL.len();
                let place = outcome.map_or(dropped, |outcome| outcome as usize);
                cells.add(Id::CommandsEnded, place, 1);
            }
            EventKind::IncidentOpened { kind, .. } => {
                cells.add(Id::Incidents, usize::from(*kind == IncidentKind::Health), 1);
            }
            EventKind::IncidentClosed { recovered, .. } => {
                cells.add(Id::IncidentsClosed, usize::from(!recovered), 1);
            }
            EventKind::ActionStarted { executor, .. } => {
                cells.add(Id::ActionsStarted, self.inner.names.executor(executor), 1);
            }
            EventKind::ActionEnded { executor, outcome, .. } => {
                let place = self.inner.names.executor(executor) * ACTION_OUTCOMES.len();
                cells.add(Id::ActionsEnded, place + *outcome as usize, 1);
            }
            _ => {}
        }
    }

    fn silence(&self, event: &Event, silence: &Silence) {
        let cells = &self.inner.cells;
        cells.add(Id::Missed, usize::from(event.class.0), u64::from(silence.missed));
        let due = silence.last_receipt.plus(silence.in_force_ms.into());
        let nanos = |ms: u64| ms.saturating_mul(1_000_000);
        cells.observe(Id::Detection, silence.place, nanos(event.at.since(due)));
        let deadline = due.plus(silence.grace_ms.into());
        cells.observe(Id::DetectionLag, silence.place, nanos(event.at.since(deadline)));
    }

    /// Policies wrote to the log; `dropped` lines more were too many to keep.
    pub fn policy_logs(&self, lines: &[LogLine], dropped: u64) {
        for LogLine { policy, level, message } in lines {
            self.inner.cells.add(Id::PolicyLogs, self.inner.names.policy_named(policy), 1);
            match level {
                LogLevel::Error => error!(policy, message, "a policy says"),
                LogLevel::Warn => warn!(policy, message, "a policy says"),
                LogLevel::Info => info!(policy, message, "a policy says"),
                LogLevel::Debug => debug!(policy, message, "a policy says"),
            }
        }
        if dropped > 0 {
            warn!(dropped, "policies wrote more lines than are kept");
        }
    }

    /// Another set of policies took over.
    pub fn policies_swapped(&self, policies: &[String]) {
        self.inner.cells.add(Id::PolicySwaps, 0, 1);
        let policies = policies.join(", ");
        info!(policies, "policies took over");
    }

    /// Something that was uploaded cannot be used; the gateway goes on with what can.
    pub fn policies_damaged(&self, why: &str) {
        error!(why, "an uploaded policy cannot be used");
    }

    /// The breaker of a policy in use opened or closed.
    pub fn policy_tripped(&self, policy: &str, revision: &str, open: bool) {
        if open {
            warn!(policy, revision, "the breaker of a policy opened");
        } else {
            info!(policy, revision, "the breaker of a policy closed");
        }
    }

    /// The gateway took back a revision that kept failing; `to` is what is obeyed now.
    pub fn policy_returned(&self, policy: &str, revision: &str, from: Returned, to: &str) {
        let place = self.inner.names.policy_named(policy) * Returned::WORDS.len();
        self.inner.cells.add(Id::PolicyReturns, place + from as usize, 1);
        let from = from.as_str();
        error!(policy, revision, from, to, "a policy kept failing and was taken back");
    }

    /// A program of recovery ended.
    pub fn program_ended(
        &self,
        action: &Action,
        outcome: ActionOutcome,
        exit: &str,
        took: Duration,
        output: &str,
    ) {
        let Action { id, agent_id, executor, .. } = action;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let outcome_word = ACTION_OUTCOMES[outcome as usize];
        if outcome == ActionOutcome::Done {
            info!(
                agent_id, executor, action = %id, outcome = outcome_word, exit, took_ms, output,
                "the program of a recovery action ended"
            );
        } else {
            warn!(
                agent_id, executor, action = %id, outcome = outcome_word, exit, took_ms, output,
                "the program of a recovery action did not succeed"
            );
        }
    }

    /// A silent agent was asked for a sign of life, or could not be; `why` there was none.
    pub fn probed(&self, suspicion: &Suspicion, address: IpAddr, outcome: ProbeOutcome, why: &str) {
        self.inner.cells.add(Id::Probes, outcome as usize, 1);
        let agent_id = suspicion.agent_id.as_str();
        let port = suspicion.probe.port;
        self.inner.names.of(suspicion.class, suspicion.tenant, |class, tenant| match outcome {
            ProbeOutcome::Alive => {
                info!(agent_id, tenant, class, %address, port, "a silent agent answers its probe");
            }
            ProbeOutcome::Gone => {
                info!(agent_id, tenant, class, %address, port, why, "a probe confirms a silence");
            }
            ProbeOutcome::Skipped => {
                debug!(agent_id, tenant, class, %address, port, why, "a probe cannot tell");
            }
        });
    }

    /// The gateway has taken up what the journal holds.
    pub fn restored(&self, restored: &Restored<'_>) {
        let Restored { is_new, agents, strangers, was_clean, down_ms, starts_lately, .. } =
            *restored;
        self.set(Gauge::StartsLately, f64::from(starts_lately));
        for loss in restored.losses {
            error!(loss, "the journal is damaged");
        }
        if strangers > 0 {
            warn!(strangers, "rows of tenants that are no longer configured were left out");
        }
        if starts_lately >= RESTART_LOOP {
            error!(starts_lately, "a restart loop: nobody is found silent while it lasts");
        }
        if !is_new {
            let took_ms = u64::try_from(restored.took.as_millis()).unwrap_or(u64::MAX);
            info!(agents, was_clean, down_ms, took_ms, "the fleet was restored from the journal");
        }
    }

    /// The configuration was read again; `kept` names options that need a restart.
    pub fn reloaded(&self, kept: &[String]) {
        self.inner.cells.add(Id::Reloads, 0, 1);
        if kept.is_empty() {
            info!("the configuration was reloaded");
        } else {
            let kept = kept.join(", ");
            warn!(kept, "the configuration was reloaded; these options change at a restart");
        }
    }

    /// The configuration was read again and refused: the old one stays.
    pub fn reload_refused(&self, problems: &dyn std::fmt::Display) {
        self.inner.cells.add(Id::Reloads, 1, 1);
        error!(%problems, "the configuration was refused; the old one stays");
    }
}

fn log(event: &Event, class: &str, tenant: &str) {
    let agent_id = event.agent_id.as_str();
    match &event.kind {
        EventKind::Suspected { missed, in_force_ms, .. } => {
            info!(agent_id, tenant, class, missed, in_force_ms, "agent is suspect");
        }
        EventKind::Failed { missed, in_force_ms, .. } => {
            warn!(agent_id, tenant, class, missed, in_force_ms, "agent has failed");
        }
        EventKind::Recovered { from, silent_ms, missed } => {
            info!(agent_id, tenant, class, %from, silent_ms, missed, "agent beats again");
        }
        EventKind::Registered { state, .. } => {
            debug!(agent_id, tenant, class, %state, "agent is known");
        }
        EventKind::Heard => debug!(agent_id, tenant, class, "agent beats for the first time"),
        EventKind::Updated { .. } => {
            debug!(agent_id, tenant, class, "agent changed its registration")
        }
        EventKind::Restarted { incarnation } => {
            info!(agent_id, tenant, class, incarnation, "agent restarted");
        }
        EventKind::Stopped => info!(agent_id, tenant, class, "agent left"),
        EventKind::Forgotten { from } => {
            debug!(agent_id, tenant, class, %from, "agent is forgotten");
        }
        EventKind::HealthChanged { from, to } => {
            info!(agent_id, tenant, class, %from, %to, "health of an agent changed");
        }
        EventKind::CadenceMoved { from_ms, to_ms, turned, .. } => {
            debug!(agent_id, tenant, class, from_ms, to_ms, turned, "interval of an agent moved");
        }
        EventKind::Paused(paused) => {
            info!(agent_id, tenant, class, paused, "agent was paused or resumed");
        }
        _ => log_recovery(event, class, tenant),
    }
}

fn log_recovery(event: &Event, class: &str, tenant: &str) {
    let agent_id = event.agent_id.as_str();
    match &event.kind {
        EventKind::CommandQueued { command } => {
            info!(agent_id, tenant, class, command = command.id, "a command waits for an agent");
        }
        EventKind::CommandEnded { id, outcome } => {
            let outcome = outcome.map_or("dropped", AckOutcome::as_str);
            info!(agent_id, tenant, class, command = id, outcome, "a command ended");
        }
        EventKind::IncidentOpened { kind, number } => {
            let kind = incident_word(*kind);
            warn!(agent_id, tenant, class, kind, number, "an incident was opened");
        }
        EventKind::ActionStarted { action, executor, .. } => {
            info!(agent_id, tenant, class, %action, executor, "a recovery action was started");
        }
        EventKind::ActionEnded { action, executor, outcome } => {
            let outcome = ACTION_OUTCOMES[*outcome as usize];
            info!(agent_id, tenant, class, %action, executor, outcome, "a recovery action ended");
        }
        EventKind::IncidentClosed { recovered: true, actions, lasted_ms } => {
            info!(agent_id, tenant, class, actions, lasted_ms, "an incident ended: recovered");
        }
        EventKind::IncidentClosed { actions, lasted_ms, .. } => {
            warn!(agent_id, tenant, class, actions, lasted_ms, "an incident ended unrecovered");
        }
        _ => {}
    }
}

/// The word of an incident.
pub(crate) const fn incident_word(kind: IncidentKind) -> &'static str {
    match kind {
        IncidentKind::Silence => "silence",
        IncidentKind::Health => "health",
    }
}
