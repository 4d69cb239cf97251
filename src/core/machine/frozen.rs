//! The machine while nothing can be recorded: it answers and watches, and promises nothing.
//!
//! What is durable stays as it was, so that a restart at any moment finds what every agent was
//! told. Known agents renew their deadlines and get directives whose interval is never longer
//! than the one in force. A shorter one passes: it is safe to forget, and an agent whose policy
//! wants to hear more of it is heard. Health does not move, no incident is opened, no action
//! starts; silence is noticed, shown and marked `undurable`.

use alloc::vec::Vec;

use pulsegate_wire::State;

use super::record::Flags;
use super::{Machine, Refusal};
use crate::{Effects, Millis, Slot};

impl Machine {
    /// Freezes the machine because nothing can be recorded, or thaws it. Events of a frozen
    /// machine are marked [`undurable`](crate::Event::undurable) and must not be recorded: a
    /// snapshot that begins after the thaw has what came of them. On the thaw, recovery takes up
    /// the agents that failed meanwhile.
    pub fn set_frozen(&mut self, now: Millis, frozen: bool, effects: &mut Effects) {
        let now = self.advance(now);
        let thaws = self.frozen && !frozen;
        self.frozen = frozen;
        if !thaws {
            return;
        }
        let slots: Vec<Slot> = self.agents.slots(Slot(0)).collect();
        for slot in slots {
            let flags = &mut self.agents[slot].flags;
            let was_marked = flags.has(Flags::UNDURABLE);
            flags.set(Flags::UNDURABLE, false);
            if was_marked && self.agents[slot].state() == State::Failed {
                self.handle_silence(now, slot, effects);
                self.rearm(slot);
            } else if self.has_case(slot) {
                self.catch_up(now, slot, effects);
                self.rearm(slot);
            }
        }
    }

    /// Whether nothing can be recorded.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(super) const fn check_writable(&self) -> Result<(), Refusal> {
        if self.frozen { Err(Refusal::ReadOnly) } else { Ok(()) }
    }

    /// Marks a silence that was found while nothing could be recorded.
    pub(super) fn mark_undurable(&mut self, slot: Slot) {
        let frozen = self.frozen;
        let flags = &mut self.agents[slot].flags;
        // An agent that was suspect already when it failed stays marked.
        flags.set(Flags::UNDURABLE, frozen || flags.has(Flags::UNDURABLE));
    }

    /// A new run of a known agent that cannot be recorded: the agent lives, and who it is now is
    /// asked again after the thaw.
    pub(super) fn refuse_run(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let record = &mut self.agents[slot];
        if record.state() == State::New {
            record.receipt = now;
            self.rearm(slot);
        } else if record.flags.has(Flags::HEARD) && record.state() != State::Stopped {
            self.sign_of_life(now, slot, effects);
        }
    }
}
