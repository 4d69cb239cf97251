//! Recovery: an incident, a plan, one rung at a time.
//!
//! An agent is *ill* when it has failed, or was judged unhealthy or stalled several times in a
//! row. An ill agent without an incident gets one; its plan's next rung starts when the agent is
//! ill, no action is open, the wait of the rung before is over, and [`Machine::may_act`] agrees.
//! The incident ends well after several good heartbeats in a row, and otherwise when its plan is
//! exhausted or the agent leaves. A relapse before that goes on with the next rung.

use pulsegate_wire::{State, Status};

use super::record::{Case, Cold, Flags, OpenAction, Record};
use super::{Machine, Stamp, stamp_of};
use crate::cadence::mix;
use crate::{
    Action, ActionId, ActionOutcome, Effects, EventKind, Incident, IncidentKind, Millis, Plan,
    Slot, Suspicion,
};

impl Machine {
    /// Takes a recovery plan for an incident; of more than [`Plan::MAX_RUNGS`] rungs the rest is
    /// ignored. A plan without rungs ends the incident. A second plan is ignored.
    pub fn handle_plan(
        &mut self,
        now: Millis,
        stamp: Stamp,
        mut plan: Plan,
        effects: &mut Effects,
    ) {
        let now = self.advance(now);
        let Some(record) = self.agents.get(stamp.slot) else { return };
        let waits = case_of(record).is_some_and(|case| {
            case.plan.is_none() && stamp == case_stamp(stamp.slot, record, case)
        });
        if !waits {
            return;
        }
        plan.rungs.truncate(Plan::MAX_RUNGS);
        if plan.rungs.is_empty() {
            self.close_incident(now, stamp.slot, false, effects);
        } else {
            self.with_case(stamp.slot, |case| case.plan = Some(plan));
            self.try_act(now, stamp.slot, effects);
        }
        self.rearm(stamp.slot);
    }

    /// Takes the outcome of an action; that of an action which is not open is ignored.
    pub fn handle_outcome(
        &mut self,
        now: Millis,
        stamp: Stamp,
        action: ActionId,
        outcome: ActionOutcome,
        effects: &mut Effects,
    ) {
        let now = self.advance(now);
        let slot = stamp.slot;
        let is_open = self.agents.get(slot).is_some_and(|record| {
            let open = record.cold.as_ref().and_then(|cold| cold.action.as_ref());
            record.generation == stamp.generation && open.is_some_and(|open| open.id == action)
        });
        if !is_open {
            return;
        }
        let Some(open) = self.end_action(now, slot, outcome, effects) else { return };
        let go_on_at = match outcome {
            // It had no effect to wait for.
            ActionOutcome::Unreachable | ActionOutcome::Unknown => now,
            _ => now.plus(open.wait_ms.into()),
        };
        let number = case_of(&self.agents[slot]).map(|case| case.number);
        if number == Some(open.incident) {
            self.with_case(slot, |case| case.act_at = Some(go_on_at));
        }
        self.try_act(now, slot, effects);
        self.rearm(slot);
    }

    /// A second witness (a failed probe) confirms that a suspect or failed agent is gone: recovery
    /// may act at the fail grace already. Says whether the silence that was asked about is still
    /// the present one; any sign of life since then makes the answer stale, and nothing changes.
    pub fn handle_witness(
        &mut self,
        now: Millis,
        suspicion: &Suspicion,
        effects: &mut Effects,
    ) -> bool {
        if !self.is_silent(suspicion) {
            return false;
        }
        let now = self.advance(now);
        let slot = suspicion.stamp.slot;
        let record = &mut self.agents[slot];
        record.flags.set(Flags::WITNESSED, true);
        let unwitnessed = record.acts_at(&self.config.classes[record.class], &self.config);
        if case_of(record).is_some_and(|case| case.act_at == Some(unwitnessed)) {
            self.with_case(slot, |case| case.act_at = Some(now));
            self.try_act(now, slot, effects);
            self.rearm(slot);
        }
        true
    }

    /// Whether the silence that a suspicion is about still goes on.
    #[must_use]
    pub fn is_silent(&self, suspicion: &Suspicion) -> bool {
        let slot = suspicion.stamp.slot;
        self.stamp(slot) == Some(suspicion.stamp)
            && self.agents.get(slot).is_some_and(|record| {
                matches!(record.state(), State::Suspect | State::Failed)
                    && record.receipt == suspicion.last_receipt
            })
    }

    /// The one place where acting is decided; brakes and budgets belong here.
    fn may_act(&self, record: &Record) -> bool {
        let is_leaving = record.status() == Status::Stopping || record.state() == State::Stopped;
        !record.flags.has(Flags::PAUSED) && !is_leaving && !self.frozen
    }

    fn is_ill(&self, record: &Record) -> bool {
        let limit = self.config.incident_after;
        match record.state() {
            State::Failed => true,
            State::Alive | State::Suspect => limit > 0 && record.stats.bad >= limit,
            State::New | State::Stopped => false,
        }
    }

    /// The agent has failed.
    pub(super) fn handle_silence(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let record = &mut self.agents[slot];
        // Heartbeats before a silence are in no row with those after it. Else one that comes back
        // as ill as it went would have been ill all along, and nothing would begin its next rung.
        (record.stats.good, record.stats.bad) = (0, 0);
        let class = &self.config.classes[record.class];
        let is_witnessed = record.flags.has(Flags::WITNESSED);
        let act_at = if is_witnessed { now } else { record.acts_at(class, &self.config) };
        self.handle_ill(now, slot, IncidentKind::Silence, act_at, effects);
    }

    /// The agent was judged unhealthy or stalled too often in a row.
    pub(super) fn handle_ill_health(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        self.handle_ill(now, slot, IncidentKind::Health, now, effects);
        self.rearm(slot);
    }

    /// The agent was judged well: often enough in a row, that ends its incident.
    pub(super) fn handle_good_health(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        if self.agents[slot].stats.good >= self.config.success_after {
            self.close_incident(now, slot, true, effects);
        }
    }

    /// An agent that may be ill is not paused any more.
    pub(super) fn catch_up(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let record = &self.agents[slot];
        if case_of(record).is_some() {
            self.try_act(now, slot, effects);
        } else if record.state() == State::Failed {
            self.handle_silence(now, slot, effects);
        } else if self.is_ill(record) {
            self.handle_ill_health(now, slot, effects);
        }
    }

    /// Opens an incident, or goes on with the one that is open.
    fn handle_ill(
        &mut self,
        now: Millis,
        slot: Slot,
        kind: IncidentKind,
        act_at: Millis,
        effects: &mut Effects,
    ) {
        if let Some(case) = case_of(&self.agents[slot]) {
            let has_plan = case.plan.is_some();
            self.with_case(slot, |case| case.act_at = case.act_at.max(Some(act_at)));
            if !has_plan {
                self.ask_for_plan(now, slot, effects);
            }
        } else if self.may_act(&self.agents[slot]) {
            let number = self.agents.with_cold(slot, |cold| {
                let number = cold.incidents;
                cold.incidents = number.saturating_add(1);
                let act_at = Some(act_at);
                cold.incident =
                    Some(Case { kind, number, opened: now, plan: None, rungs: 0, act_at });
                number
            });
            self.agents[slot].stats.good = 0;
            self.emit(now, slot, EventKind::IncidentOpened { kind, number }, effects);
            self.ask_for_plan(now, slot, effects);
        }
        self.try_act(now, slot, effects);
    }

    pub(super) fn ask_for_plan(&self, now: Millis, slot: Slot, effects: &mut Effects) {
        let record = &self.agents[slot];
        let Some(case) = case_of(record) else { return };
        let is_silent = record.state() == State::Failed;
        let incident = Incident {
            kind: case.kind,
            number: case.number,
            silent_ms: if is_silent { now.since(record.receipt) } else { 0 },
            missed: record.missed_at(now),
            health: record.health(),
            status: record.status(),
            class: record.class,
            reachable: record.state() == State::Alive,
        };
        effects.incidents.push((case_stamp(slot, record, case), incident));
    }

    /// The wait is over.
    pub(super) fn handle_act_time(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        self.with_case(slot, |case| case.act_at = None);
        self.try_act(now, slot, effects);
    }

    /// Starts the next rung if all that has to hold holds; ends the incident if there is none.
    fn try_act(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let record = &self.agents[slot];
        let Some(cold) = record.cold.as_deref() else { return };
        let Some(case) = cold.incident.as_ref() else { return };
        let Some(plan) = case.plan.as_ref() else { return };
        let waits = cold.action.is_some() || case.act_at.is_some_and(|act_at| act_at > now);
        if waits || !self.is_ill(record) || !self.may_act(record) {
            return;
        }
        let Some(rung) = plan.rungs.get(usize::from(case.rungs)) else {
            return self.close_incident(now, slot, false, effects);
        };
        let id = action_id(record, case);
        let action = Action {
            id,
            stamp: case_stamp(slot, record, case),
            tenant: record.tenant,
            agent_id: record.name.as_str().into(),
            class: record.class,
            executor: rung.executor.clone(),
            incident: case.kind,
            reachable: record.state() == State::Alive,
        };
        let open = OpenAction {
            id,
            executor: rung.executor.clone(),
            incident: case.number,
            rung: case.rungs,
            wait_ms: rung.wait_ms,
        };
        let kind = EventKind::ActionStarted {
            action: id,
            executor: open.executor.clone(),
            incident: open.incident,
            rung: open.rung,
            wait_ms: open.wait_ms,
        };
        self.emit(now, slot, kind, effects);
        effects.actions.push(action);
        self.agents.with_cold(slot, |cold| cold.action = Some(open));
        self.with_case(slot, |case| {
            case.rungs += 1;
            case.act_at = None;
        });
    }

    /// A heartbeat of an agent that had failed cancels the rungs that were not started. A relapse
    /// need not wait for what they would have waited for.
    pub(super) fn cancel_rungs(&mut self, slot: Slot, from: State) {
        if from == State::Failed && case_of(&self.agents[slot]).is_some() {
            self.with_case(slot, |case| case.act_at = None);
        }
    }

    /// A newer incarnation: what was done to the one before is over.
    pub(super) fn supersede(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        if self.agents[slot].cold.is_none() {
            return;
        }
        self.end_action(now, slot, ActionOutcome::Superseded, effects);
        self.end_restarts(now, slot, effects);
        if case_of(&self.agents[slot]).is_some() {
            self.with_case(slot, |case| case.act_at = None);
        }
    }

    pub(super) fn end_action(
        &mut self,
        now: Millis,
        slot: Slot,
        outcome: ActionOutcome,
        effects: &mut Effects,
    ) -> Option<OpenAction> {
        let open = self.agents.with_cold(slot, |cold| cold.action.take())?;
        let executor = open.executor.clone();
        let kind = EventKind::ActionEnded { action: open.id, executor, outcome };
        self.emit(now, slot, kind, effects);
        Some(open)
    }

    pub(super) fn close_incident(
        &mut self,
        now: Millis,
        slot: Slot,
        recovered: bool,
        effects: &mut Effects,
    ) {
        if case_of(&self.agents[slot]).is_none() {
            return;
        }
        let Some(case) = self.agents.with_cold(slot, |cold| cold.incident.take()) else { return };
        let kind = EventKind::IncidentClosed {
            recovered,
            actions: case.rungs.into(),
            lasted_ms: now.since(case.opened),
        };
        self.emit(now, slot, kind, effects);
    }

    /// Whether an incident of the agent is under way.
    pub(super) fn has_case(&self, slot: Slot) -> bool {
        case_of(&self.agents[slot]).is_some()
    }

    /// Lets recovery start nothing before an instant.
    pub(super) fn put_off(&mut self, slot: Slot, until: Millis) {
        if self.has_case(slot) {
            self.with_case(slot, |case| case.act_at = case.act_at.max(Some(until)));
        }
    }

    fn with_case(&mut self, slot: Slot, change: impl FnOnce(&mut Case)) {
        self.agents.with_cold(slot, |cold| {
            if let Some(case) = cold.incident.as_mut() {
                change(case);
            }
        });
    }
}

/// Executor of the current or last rung, and whether its action is open.
pub(super) fn shown(cold: &Cold) -> Option<(&str, bool)> {
    if let Some(open) = &cold.action {
        return Some((&open.executor, true));
    }
    let case = cold.incident.as_ref()?;
    let last = usize::from(case.rungs).checked_sub(1)?;
    Some((&case.plan.as_ref()?.rungs.get(last)?.executor, false))
}

fn case_of(record: &Record) -> Option<&Case> {
    record.cold.as_ref()?.incident.as_ref()
}

fn case_stamp(slot: Slot, record: &Record, case: &Case) -> Stamp {
    stamp_of(slot, record, case.number.into())
}

/// The same rung of the same incident always has the same id, however often it is asked for.
fn action_id(record: &Record, case: &Case) -> ActionId {
    let rung = u64::from(case.number) << 8 | u64::from(case.rungs);
    ActionId(mix(record.hash ^ mix(record.incarnation ^ mix(rung))))
}
