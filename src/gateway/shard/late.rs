//! What a heartbeat told that could not be handled when it came.
//!
//! A heartbeat is a sign of life only at the instant at which it comes. What it tells beside that
//! may be worth having later: registration fields, which stand until others come, and that
//! commands were carried out. Nothing here moves a deadline, a sequence or a cadence; so a class,
//! which brings its own, is left out.

use pulsegate_core::{Machine, Refusal, Slot, TenantId};
use pulsegate_wire::{AckOutcome, CommandAck, Heartbeat, Registration, State};

use super::Shards;
use super::heartbeat::with_bench;

impl Shards {
    /// Whether a heartbeat tells something beside being a sign of life that is not known of its
    /// agent; `false` for an agent that is not known.
    #[must_use]
    pub fn is_news(&self, tenant: TenantId, mut heartbeat: Heartbeat) -> bool {
        let told = heartbeat.take_registration();
        let key = self.key(tenant, &heartbeat.agent_id);
        let now = self.clock.now();
        let shard = self.lock(self.index(&key));
        let machine = &shard.machine;
        let Some(slot) = machine.find(key) else { return false };
        let known = || machine.info(now, slot).and_then(|info| info.registration.cloned());
        told.is_some_and(|told| known().unwrap_or_default().merge(told))
            || heartbeat.command_acks.iter().any(|ack| is_awaited(machine, slot, ack))
    }

    /// Takes what a validated heartbeat tells beside being a sign of life. `Some(true)`: something
    /// has changed; `None`: nobody knows the agent, who will tell it when it comes.
    ///
    /// # Errors
    /// [`Refusal`]: a newer incarnation has taken over, or the agent has left, or nothing can be
    /// recorded; state has not changed.
    pub fn take_late(
        &self,
        tenant: TenantId,
        mut heartbeat: Heartbeat,
    ) -> Result<Option<bool>, Refusal> {
        let told = heartbeat.take_registration();
        let told = told.map(|told| Registration { class: None, ..told });
        let key = self.key(tenant, &heartbeat.agent_id);
        let now = self.clock.now();
        let index = self.index(&key);
        with_bench(|bench| {
            let taken = self.under_lock(index, &mut bench.effects, |shard, effects| {
                let machine = &mut shard.machine;
                let Some(slot) = machine.find(key) else { return Ok(None) };
                check(machine, slot, now, &heartbeat)?;
                let mut has_changed = false;
                if let Some(told) = told {
                    has_changed = machine.handle_registration(now, slot, told, effects)?;
                }
                for ack in &heartbeat.command_acks {
                    has_changed |= is_awaited(machine, slot, ack);
                    let outcome = AckOutcome::from_number(ack.outcome);
                    machine.handle_ack(now, slot, &ack.id, outcome, effects);
                }
                // Other labels may mean other policies.
                shard.cold(slot).assigned = None;
                Ok(Some(has_changed))
            });
            self.deliver(index, bench);
            taken
        })
    }
}

/// Whether the command waits that an agent says it carried out.
fn is_awaited(machine: &Machine, slot: Slot, ack: &CommandAck) -> bool {
    machine.commands(slot).iter().any(|command| command.id == ack.id)
}

fn check(
    machine: &Machine,
    slot: Slot,
    now: pulsegate_core::Millis,
    heartbeat: &Heartbeat,
) -> Result<(), Refusal> {
    if machine.is_frozen() {
        return Err(Refusal::ReadOnly);
    }
    let Some(info) = machine.info(now, slot) else { return Ok(()) };
    if heartbeat.incarnation != 0 && heartbeat.incarnation < info.incarnation {
        return Err(Refusal::IncarnationStale { known: info.incarnation });
    }
    if info.state == State::Stopped { Err(Refusal::Stopped) } else { Ok(()) }
}
