//! Going on after a restart.
//!
//! Nobody was observed while the gateway was down, so nobody's silence of that time counts:
//! deadlines of `new`, `alive` and `suspect` agents count from the restart, each a little later
//! than the other, by a hash of its name, so that a fleet that died does not fail in one second.
//! `suspect` survives; `failed` and `stopped` agents are forgotten when they would have been.
//!
//! Nor is it known what the process before answered last: sequences are not recorded. A copy of a
//! heartbeat that it answered is news to this one, and gets another directive of the same number.
//! So an echo puts a shorter interval in force only once no such copy can come any more.
//!
//! Recovery asks for its plans anew, and starts nothing before every agent that came back while
//! nobody looked has had the time to say so. An action whose outcome was not recorded has failed:
//! whoever carried it out is gone.

use alloc::vec::Vec;

use pulsegate_wire::{ActionOutcome, State};

use super::Machine;
use super::record::Flags;
use crate::cadence::mix;
use crate::{Effects, Millis, Slot};

/// Longest spread of deadlines after a restart, in milliseconds. Longer spreads the failures of a
/// fleet that died over more time, and finds each later. Source: DESIGN §4; one interval of a
/// normal agent.
const MOST_SPREAD_MS: u32 = 30_000;

/// How much later than the restart an agent's silence begins to count, in milliseconds: uniform in
/// [0, min(interval in force, 30 s)), the same for the same agent at every restart. `hash` is that
/// of its [`AgentKey`](crate::AgentKey).
#[must_use]
pub fn restart_spread_ms(hash: u64, in_force_ms: u32) -> u32 {
    let width = u128::from(in_force_ms.min(MOST_SPREAD_MS));
    ((u128::from(mix(hash)) * width) >> 64) as u32
}

impl Machine {
    /// Goes on at `now`, the core time at which the gateway starts, after the last row and event:
    /// arms every deadline by the rule of restarts and takes recovery up. Call it once, before any
    /// other input.
    pub fn resume(&mut self, now: Millis, effects: &mut Effects) {
        let now = self.advance(now);
        self.resumed_at = now;
        // Nothing is armed: this only sets the wheel to the present.
        self.agents.wheel.pop(now);
        let slots: Vec<Slot> = self.agents.slots(Slot(0)).collect();
        for slot in slots {
            self.reclass(now, slot, effects);
            let had_failed_by = self.restart_silence(now, slot);
            self.resume_recovery(now, slot, had_failed_by, effects);
            self.rearm(slot);
        }
    }

    /// Lets an agent's silence begin anew. Returns when it will have failed if it began so: no
    /// agent that lives is silent for that long, whatever its state.
    fn restart_silence(&mut self, now: Millis, slot: Slot) -> Millis {
        let config = &self.config;
        let record = &mut self.agents[slot];
        let spread_ms = restart_spread_ms(record.hash, record.in_force_ms);
        let recorded = record.receipt;
        record.receipt = now.plus(spread_ms.into());
        record.missed = 0;
        record.flags.set(Flags::RESUMED, true);
        record.flags.set(Flags::DOUBTFUL, true);
        let fails_at = record.fails_at(&config.classes[record.class], config);
        if matches!(record.state(), State::Failed | State::Stopped) {
            record.receipt = recorded;
            record.missed = record.missed_at(now);
        }
        fails_at
    }

    /// Tells of a class that has another name than was recorded.
    fn reclass(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let asked = self.agents.cold(slot).and_then(|cold| cold.registration.as_ref());
        let named = asked.and_then(|registration| registration.class.as_deref());
        let class = named.and_then(|name| self.config.classes.find(name));
        let flags = self.agents[slot].flags;
        if let Some(class) = class.filter(|_| flags.has(Flags::MOVED)) {
            self.agents.set_class(slot, class);
        }
        if flags.has(Flags::MOVED) {
            self.agents[slot].flags.set(Flags::MOVED, false);
            self.emit_updated(now, slot, effects);
        }
    }

    fn resume_recovery(
        &mut self,
        now: Millis,
        slot: Slot,
        not_before: Millis,
        effects: &mut Effects,
    ) {
        let record = &mut self.agents[slot];
        let is_untreated = record.flags.has(Flags::UNTREATED);
        record.flags.set(Flags::UNTREATED, false);
        if record.cold.is_none() && !is_untreated {
            return;
        }
        let ended = self.end_action(now, slot, ActionOutcome::Failed, effects);
        if !self.has_case(slot) && is_untreated && self.agents[slot].state() == State::Failed {
            self.handle_silence(now, slot, effects);
        } else if self.has_case(slot) {
            self.ask_for_plan(now, slot, effects);
        }
        let waited = ended.map_or(now, |open| now.plus(open.wait_ms.into()));
        self.put_off(slot, not_before.max(waited));
    }
}
