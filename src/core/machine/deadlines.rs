//! Silence: the edges that deadlines pass, in order, however late.

use alloc::vec::Vec;

use pulsegate_wire::{State, Status};

use super::record::{Flags, Record};
use super::{Machine, stamp_of};
use crate::{Effects, EventKind, Millis, Slot, Suspicion};

impl Machine {
    /// Handles the deadlines that have passed, of at most `budget` agents; says whether there may
    /// be more. A late one passes every edge that lies behind it, in order, in the same call.
    pub fn handle_deadlines(&mut self, now: Millis, budget: usize, effects: &mut Effects) -> bool {
        let now = self.advance(now);
        for _ in 0..budget {
            let Some(timer) = self.agents.wheel.pop(now) else { return false };
            self.expire(now, Slot(timer), effects);
        }
        self.next_deadline().is_some_and(|next| next <= now)
    }

    /// Passes every edge of one agent that lies behind `now`. Each edge moves its next deadline
    /// forward or ends the agent, so this ends.
    fn expire(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        while let Some(record) = self.agents.get(slot) {
            let edge = self.silence_ends(record);
            if let Some(act_at) = act_at(record).filter(|&at| at <= edge && at <= now) {
                debug_assert!(act_at <= now);
                self.handle_act_time(now, slot, effects);
            } else if edge <= now {
                self.pass_edge(now, slot, effects);
            } else {
                return self.rearm(slot);
            }
        }
    }

    /// Sets an agent's timer: to its next edge, or to its recovery's next rung.
    pub(super) fn rearm(&mut self, slot: Slot) {
        let record = &self.agents[slot];
        let edge = self.silence_ends(record);
        let deadline = act_at(record).map_or(edge, |act_at| edge.min(act_at));
        self.agents.arm(slot, deadline);
    }

    /// When the agent passes its next edge if it stays silent.
    fn silence_ends(&self, record: &Record) -> Millis {
        let class = &self.config.classes[record.class];
        match record.state() {
            State::Alive => record.due().plus(class.suspect_grace_ms.into()),
            State::New | State::Suspect => record.fails_at(class, &self.config),
            State::Failed => {
                record.fails_at(class, &self.config).plus(self.config.forget_failed_ms.into())
            }
            State::Stopped => record.receipt.plus(self.config.forget_stopped_ms.into()),
        }
    }

    fn pass_edge(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let record = &self.agents[slot];
        let is_leaving = record.status() == Status::Stopping;
        match record.state() {
            State::Alive | State::Suspect if is_leaving => self.stop(now, slot, effects),
            State::Alive => self.suspect(now, slot, effects),
            State::New | State::Suspect => self.fail(now, slot, effects),
            State::Failed | State::Stopped => self.forget(now, slot, effects),
        }
    }

    fn suspect(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let grace_ms = self.config.classes[self.agents[slot].class].suspect_grace_ms;
        let missed = self.count_missed(now, slot);
        self.agents.set_state(slot, State::Suspect);
        self.mark_undurable(slot);
        let record = &self.agents[slot];
        let kind = EventKind::Suspected {
            last_receipt: record.receipt,
            in_force_ms: record.in_force_ms,
            grace_ms,
            missed,
        };
        self.emit(now, slot, kind, effects);
        self.ask_for_witness(slot, effects);
    }

    fn fail(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let missed = self.count_missed(now, slot);
        self.agents.set_state(slot, State::Failed);
        self.mark_undurable(slot);
        let record = &self.agents[slot];
        let heard = record.flags.has(Flags::HEARD);
        let class = &self.config.classes[record.class];
        let kind = EventKind::Failed {
            last_receipt: record.receipt,
            in_force_ms: if heard { record.in_force_ms } else { 0 },
            grace_ms: if heard { class.fail_grace_ms } else { self.config.startup_grace_ms },
            missed,
        };
        let acts_later = class.acts_later();
        self.emit(now, slot, kind, effects);
        self.handle_silence(now, slot, effects);
        if acts_later {
            self.ask_for_witness(slot, effects);
        }
    }

    /// Asks for a second witness of a silence that has none, where the agent said how. Late timers
    /// pass both edges in one call: then one question does for both.
    fn ask_for_witness(&self, slot: Slot, effects: &mut Effects) {
        let record = &self.agents[slot];
        let registration = record.cold.as_ref().and_then(|cold| cold.registration.as_ref());
        let Some(probe) = registration.and_then(|known| known.probe.as_ref()) else { return };
        let stamp = stamp_of(slot, record, record.sequence);
        let is_asked = effects.suspicions.last().is_some_and(|asked| asked.stamp == stamp);
        let is_open = record.flags.has(Flags::HEARD) && !record.flags.has(Flags::WITNESSED);
        if is_asked || !is_open {
            return;
        }
        effects.suspicions.push(Suspicion {
            stamp,
            last_receipt: record.receipt,
            tenant: record.tenant,
            agent_id: record.name.as_str().into(),
            class: record.class,
            probe: probe.clone(),
            is_decisive: self.config.classes[record.class].acts_later(),
        });
    }

    /// Counts what went missing since it was counted last.
    fn count_missed(&mut self, now: Millis, slot: Slot) -> u32 {
        let record = &mut self.agents[slot];
        let total = record.missed_at(now);
        let more = total.saturating_sub(record.missed);
        record.missed = total.max(record.missed);
        more
    }

    /// Ends an agent's membership: it left, by its own word or an operator's.
    pub(super) fn stop(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        self.close_incident(now, slot, false, effects);
        if self.agents.cold(slot).is_some_and(|cold| !cold.commands.is_empty()) {
            let left = self.agents.with_cold(slot, |cold| core::mem::take(&mut cold.commands));
            let ids: Vec<_> = left.into_iter().map(|command| command.id).collect();
            for id in ids {
                self.emit(now, slot, EventKind::CommandEnded { id, outcome: None }, effects);
            }
        }
        self.agents.set_state(slot, State::Stopped);
        let record = &mut self.agents[slot];
        record.receipt = now;
        record.flags.set(Flags::PENDING, false);
        record.flags.set(Flags::WITNESSED, false);
        record.flags.set(Flags::UNDURABLE, false);
        self.emit(now, slot, EventKind::Stopped, effects);
        self.rearm(slot);
    }

    fn forget(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        self.close_incident(now, slot, false, effects);
        let from = self.agents[slot].state();
        self.emit(now, slot, EventKind::Forgotten { from }, effects);
        self.agents.remove(slot);
    }
}

/// When recovery wants to go on, unless the agent is paused.
fn act_at(record: &Record) -> Option<Millis> {
    let case = record.cold.as_ref()?.incident.as_ref()?;
    if record.flags.has(Flags::PAUSED) { None } else { case.act_at }
}
