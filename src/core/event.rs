//! What happened to an agent: a fact, how the agent stands after it, and its form in the journal.

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use pulsegate_wire::event::{self as wire, GuardMemory, Standing};
use pulsegate_wire::{
    AckOutcome, ActionOutcome, Command, Health, IncidentKind, Registration, State,
};

use crate::{ActionId, ClassId, Millis, Slot, TenantId};

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
    /// How the agent stands after it. Of several events of one call only the last need say how
    /// the call leaves the agent.
    pub standing: Standing,
    /// It happened while the machine was frozen: it is not to be recorded. The snapshot that is
    /// taken after the thaw has what came of it.
    pub undurable: bool,
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
        /// What the operator told of it; what a first heartbeat tells follows as `Updated`.
        registration: Option<Box<Registration>>,
    },
    /// First heartbeat of an agent that an operator had registered.
    Heard,
    /// Registration fields changed, or the class in force did.
    Updated {
        /// All that is known now.
        registration: Option<Box<Registration>>,
    },
    /// A newer incarnation took over.
    Restarted {
        /// The new incarnation.
        incarnation: u64,
    },
    /// Silent past its deadline.
    Suspected {
        /// Since when the silence counts: receipt of its last heartbeat; for one never heard, its
        /// registration; after a restart, the restart and the agent's spread.
        last_receipt: Millis,
        /// Longest interval that it may have been keeping, in milliseconds; 0 if never heard.
        in_force_ms: u32,
        /// Grace in force, in milliseconds.
        grace_ms: u32,
        /// Heartbeats missing, counted since the last event that counted them.
        missed: u32,
    },
    /// Silent for so long that recovery may act.
    Failed {
        /// Since when the silence counts: receipt of its last heartbeat; for one never heard, its
        /// registration; after a restart, the restart and the agent's spread.
        last_receipt: Millis,
        /// Longest interval that it may have been keeping, in milliseconds; 0 if never heard.
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
    /// Said that it is about to leave; or, after that, that it stays.
    Leaving(bool),
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
        /// The interval in force before, in milliseconds.
        in_force_from_ms: u32,
        /// What the guard remembers of it; `None` before its first move.
        guard: Option<GuardMemory>,
    },
    /// The interval in force changed without a move of the stored one: the fleet's floor raised
    /// it, or the agent echoed a shorter one.
    InForce {
        /// Before, in milliseconds.
        from_ms: u32,
    },
    /// Paused, or resumed, by an operator.
    Paused(bool),
    /// A command waits for the agent's next directive.
    CommandQueued {
        /// The command.
        command: Command,
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
        /// Number of the incident.
        incident: u32,
        /// Place of the rung in its plan, from 0.
        rung: u8,
        /// Time for the agent to come back before the next rung, in milliseconds.
        wait_ms: u32,
    },
    /// An action came to its end.
    ActionEnded {
        /// Its id.
        action: ActionId,
        /// Executor that carried it out.
        executor: String,
        /// What became of it.
        outcome: ActionOutcome,
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

impl Event {
    /// Whether answers and actions wait until this event is durable: the answer to the input that
    /// caused it, and every later answer to the same agent. (A retry repeats the directive, and
    /// causes nothing.) An event of a deadline has no answer, and nobody waits for it.
    ///
    /// - `Registered`, `Heard`, `Restarted`, `Updated`: who was told that it is known, under which
    ///   incarnation and class, is known so after a restart too; else a stale incarnation could
    ///   come back, or a failed one never be found.
    /// - `CadenceMoved`, `InForce`, when the interval in force became longer: a gateway that
    ///   remembered the shorter one would suspect an agent that obeys. A shorter one does not
    ///   wait: remembering the longer one is late at worst.
    /// - `CommandQueued`, `Paused`, `Stopped`: an operator was told that it is done.
    /// - `Leaving`: the agent goes once it is answered, and must not fail for it.
    /// - `ActionStarted`: intent is recorded before the act, or a restart would act again.
    ///
    /// Not `Recovered`: a sign of life is answered at once, and if it is forgotten, the next
    /// heartbeat gives it again. Not `CommandEnded`: a command that is repeated has the same id.
    /// Nothing waits that happened while frozen.
    #[must_use]
    pub fn must_be_durable(&self) -> bool {
        let in_force_ms = self.standing.in_force_ms;
        let waits = match &self.kind {
            EventKind::Registered { .. }
            | EventKind::Heard
            | EventKind::Updated { .. }
            | EventKind::Restarted { .. }
            | EventKind::Leaving(_)
            | EventKind::Stopped
            | EventKind::Paused(_)
            | EventKind::CommandQueued { .. }
            | EventKind::ActionStarted { .. } => true,
            EventKind::CadenceMoved { in_force_from_ms: from_ms, .. }
            | EventKind::InForce { from_ms } => in_force_ms > *from_ms,
            EventKind::Suspected { .. }
            | EventKind::Failed { .. }
            | EventKind::Recovered { .. }
            | EventKind::Forgotten { .. }
            | EventKind::HealthChanged { .. }
            | EventKind::CommandEnded { .. }
            | EventKind::IncidentOpened { .. }
            | EventKind::ActionEnded { .. }
            | EventKind::IncidentClosed { .. } => false,
        };
        waits && !self.undurable
    }

    /// Its form in the journal, for the names of its tenant and class. Epoch, sequence and wall
    /// time are 0: whoever records it knows them.
    #[must_use]
    pub fn to_wire(&self, tenant: &str, class: &str) -> wire::Event {
        let is_forgotten = matches!(self.kind, EventKind::Forgotten { .. });
        wire::Event {
            at_ms: self.at.0,
            tenant: tenant.into(),
            agent_id: self.agent_id.clone(),
            class: class.into(),
            standing: (!is_forgotten).then_some(self.standing),
            kind: Some(self.kind.to_wire(self.undurable)),
            ..wire::Event::default()
        }
    }
}

impl EventKind {
    fn to_wire(&self, undurable: bool) -> wire::EventKind {
        use wire::EventKind as Wire;
        let known = |registration: &Option<Box<Registration>>| registration.as_deref().cloned();
        match self {
            Self::Registered { registration, .. } => {
                Wire::Registered(wire::Registered { registration: known(registration) })
            }
            Self::Heard => Wire::Heard(wire::Heard {}),
            Self::Updated { registration } => {
                Wire::Updated(wire::Updated { registration: known(registration) })
            }
            Self::Restarted { .. } => Wire::Restarted(wire::Restarted {}),
            &Self::Suspected { last_receipt: since, in_force_ms, grace_ms, missed } => {
                Wire::Suspected(silent(since, in_force_ms, grace_ms, missed, undurable))
            }
            &Self::Failed { last_receipt: since, in_force_ms, grace_ms, missed } => {
                Wire::Failed(silent(since, in_force_ms, grace_ms, missed, undurable))
            }
            &Self::Recovered { from, silent_ms, missed } => {
                Wire::Recovered(wire::Recovered { from: from as i32, silent_ms, missed })
            }
            Self::Leaving(_) => Wire::Leaving(wire::Leaving {}),
            Self::Stopped => Wire::Stopped(wire::Stopped {}),
            Self::Forgotten { from } => Wire::Forgotten(wire::Forgotten { from: *from as i32 }),
            &Self::HealthChanged { from, to } => {
                Wire::HealthChanged(wire::HealthChanged { from: from as i32, to: to as i32 })
            }
            Self::CadenceMoved { from_ms, to_ms, turned, guard, .. } => {
                let (from_ms, to_ms, turned) = (*from_ms, *to_ms, *turned);
                Wire::CadenceMoved(wire::CadenceMoved {
                    from_ms,
                    to_ms,
                    turned,
                    guard: guard.clone(),
                })
            }
            &Self::InForce { from_ms } => Wire::InForce(wire::InForce { from_ms }),
            Self::Paused(_) => Wire::Paused(wire::Paused {}),
            Self::CommandQueued { command } => {
                Wire::CommandQueued(wire::CommandQueued { command: Some(command.clone()) })
            }
            Self::CommandEnded { id, outcome } => Wire::CommandEnded(wire::CommandEnded {
                id: id.clone(),
                outcome: outcome.map(|outcome| outcome as i32),
            }),
            &Self::IncidentOpened { kind, number } => {
                Wire::IncidentOpened(wire::IncidentOpened { reason: kind as i32, number })
            }
            Self::ActionStarted { action, executor, incident, rung, wait_ms } => {
                Wire::ActionStarted(wire::ActionStarted {
                    action: action.to_string(),
                    executor: executor.clone(),
                    incident: *incident,
                    wait_ms: *wait_ms,
                    rung: u32::from(*rung),
                })
            }
            Self::ActionEnded { action, executor, outcome } => {
                Wire::ActionEnded(wire::ActionEnded {
                    action: action.to_string(),
                    executor: executor.clone(),
                    outcome: *outcome as i32,
                })
            }
            &Self::IncidentClosed { recovered, actions, lasted_ms } => {
                Wire::IncidentClosed(wire::IncidentClosed { recovered, actions, lasted_ms })
            }
        }
    }
}

const fn silent(
    since: Millis,
    in_force_ms: u32,
    grace_ms: u32,
    missed: u32,
    undurable: bool,
) -> wire::Silent {
    wire::Silent { last_receipt_ms: since.0, in_force_ms, grace_ms, missed, undurable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> Event {
        Event {
            at: Millis(77),
            slot: Slot(3),
            tenant: TenantId(1),
            agent_id: "a".into(),
            class: ClassId(1),
            standing: Standing { in_force_ms: 30_000, heard: true, ..Standing::default() },
            undurable: false,
            kind,
        }
    }

    #[test]
    fn the_recorded_form_says_what_happened_when_and_to_whom() {
        let kind = EventKind::Recovered { from: State::Failed, silent_ms: 9, missed: 2 };
        let told = event(kind).to_wire("acme", "normal");
        assert_eq!((told.at_ms, told.tenant.as_str(), told.class.as_str()), (77, "acme", "normal"));
        assert_eq!((told.epoch, told.seq, told.wall_ms), (0, 0, 0), "for whoever records it");
        assert_eq!(told.standing.map(|standing| standing.in_force_ms), Some(30_000));
        let recovered = wire::Recovered { from: State::Failed as i32, silent_ms: 9, missed: 2 };
        assert_eq!(told.kind, Some(wire::EventKind::Recovered(recovered)));

        let closed = EventKind::IncidentClosed { recovered: true, actions: 2, lasted_ms: 5 };
        let recorded = wire::IncidentClosed { recovered: true, actions: 2, lasted_ms: 5 };
        let told = event(closed).to_wire("acme", "normal").kind;
        assert_eq!(told, Some(wire::EventKind::IncidentClosed(recorded)));

        let id = ActionId(0xff);
        let outcome = ActionOutcome::TimedOut;
        let ended = EventKind::ActionEnded { action: id, executor: "x".into(), outcome };
        let Some(wire::EventKind::ActionEnded(told)) = event(ended).to_wire("t", "c").kind else {
            panic!("another kind");
        };
        assert_eq!((told.executor.as_str(), told.outcome), ("x", outcome as i32));
        assert_eq!(ActionId::parse(&told.action), Some(id));
        assert_eq!(ActionId::parse("no digits"), None);
    }

    #[test]
    fn who_is_forgotten_stands_nowhere() {
        let told = event(EventKind::Forgotten { from: State::Stopped }).to_wire("t", "c");
        assert_eq!(told.standing, None);
    }

    #[test]
    fn only_a_longer_interval_in_force_waits() {
        let in_force = |from_ms| event(EventKind::InForce { from_ms }).must_be_durable();
        assert!(in_force(29_999) && !in_force(30_001));
        let moved = |in_force_from_ms| {
            let (from_ms, to_ms) = (10_000, 20_000);
            let guard = None;
            event(EventKind::CadenceMoved {
                from_ms,
                to_ms,
                turned: false,
                in_force_from_ms,
                guard,
            })
            .must_be_durable()
        };
        assert!(moved(20_000), "what may be kept became longer");
        assert!(!moved(30_000), "a longer one was in force already");
        let mut heard = event(EventKind::Heard);
        assert!(heard.must_be_durable());
        heard.undurable = true;
        assert!(!heard.must_be_durable(), "it cannot be");
    }
}
