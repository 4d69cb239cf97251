//! Commands: repeated in every directive until the agent answers.

use pulsegate_wire::{AckOutcome, Command, CommandKind, State, limits};

use super::{Machine, Refusal};
use crate::{Effects, EventKind, Millis, Slot};

impl Machine {
    /// Queues a command for an agent's next directive. Beyond [`limits::COMMANDS`] the oldest
    /// unanswered one gives way. One that waits already, or for an agent that left, changes
    /// nothing.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; state has not changed.
    pub fn handle_command(
        &mut self,
        now: Millis,
        slot: Slot,
        command: Command,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_writable()?;
        let now = self.advance(now);
        let waits = self.commands(slot).iter().any(|other| other.id == command.id);
        let is_here = self.agents.get(slot).is_some_and(|r| r.state() != State::Stopped);
        if waits || !is_here {
            return Ok(());
        }
        if self.commands(slot).len() >= limits::COMMANDS {
            let oldest = self.agents.with_cold(slot, |cold| cold.commands.remove(0));
            let kind = EventKind::CommandEnded { id: oldest.id, outcome: None };
            self.emit(now, slot, kind, effects);
        }
        self.agents.with_cold(slot, |cold| cold.commands.push(command.clone()));
        self.emit(now, slot, EventKind::CommandQueued { command }, effects);
        Ok(())
    }

    /// Takes the acknowledgement of a command; one that does not wait is ignored.
    pub fn handle_ack(
        &mut self,
        now: Millis,
        slot: Slot,
        command_id: &str,
        outcome: AckOutcome,
        effects: &mut Effects,
    ) {
        let now = self.advance(now);
        let position = self.commands(slot).iter().position(|command| command.id == command_id);
        if let Some(position) = position {
            self.end_command(now, slot, position, outcome, effects);
        }
    }

    /// A new incarnation *is* the restart that was asked for. Asked again, it would restart for
    /// ever.
    pub(super) fn end_restarts(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        let is_restart = |command: &Command| command.kind == CommandKind::Restart as i32;
        while let Some(position) = self.commands(slot).iter().position(is_restart) {
            self.end_command(now, slot, position, AckOutcome::Done, effects);
        }
    }

    fn end_command(
        &mut self,
        now: Millis,
        slot: Slot,
        position: usize,
        outcome: AckOutcome,
        effects: &mut Effects,
    ) {
        let command = self.agents.with_cold(slot, |cold| cold.commands.remove(position));
        let kind = EventKind::CommandEnded { id: command.id, outcome: Some(outcome) };
        self.emit(now, slot, kind, effects);
    }
}
