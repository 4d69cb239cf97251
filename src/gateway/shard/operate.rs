//! What operators, listings, recovery and the second witness ask of the shards.

use std::fmt;
use std::str::FromStr;

use pulsegate_core::{
    Action, ActionOutcome, AgentInfo, Census, Effects, Machine, Millis, Refusal, Slot, Suspicion,
    TenantId,
};
use pulsegate_wire::{Command, Registration};

use super::heartbeat::with_bench;
use super::{Explained, Shadowed, Shards};

/// Where a listing goes on: opaque to clients, and valid for as long as the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    shard: u16,
    slot: u32,
}

/// A text that is no cursor of this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this listing")]
pub struct BadCursor;

/// One agent under its shard's lock.
#[derive(Debug)]
pub struct Found<'a> {
    /// Core time.
    pub now: Millis,
    /// The agent.
    pub info: AgentInfo<'a>,
    /// Its last decision, if there was one.
    pub explained: Option<&'a Explained>,
    /// What policies in shadow said last, if any were asked.
    pub shadow: Option<&'a Shadowed>,
}

impl Shards {
    /// Looks at one agent. `look` runs under the shard's lock: it copies what it needs.
    pub fn find<R>(
        &self,
        tenant: TenantId,
        id: &str,
        look: impl FnOnce(Found<'_>) -> R,
    ) -> Option<R> {
        let key = self.key(tenant, id);
        let now = self.clock.now();
        let shard = self.lock(self.index(&key));
        let slot = shard.machine.find(key)?;
        shard.found(now, slot).map(look)
    }

    /// Goes over the agents from `from` on, at most `steps` of them, collecting what `pick`
    /// returns until there are `limit`; says where to go on, `None` at the end.
    ///
    /// Each shard is locked for at most [`Self::STEPS_A_LOCK`] agents at a time. An agent that
    /// comes or goes meanwhile may be in the listing or not; one that stays is in it once.
    pub fn list<T>(
        &self,
        from: Cursor,
        steps: usize,
        limit: usize,
        mut pick: impl FnMut(Found<'_>) -> Option<T>,
    ) -> (Vec<T>, Option<Cursor>) {
        let mut picked = Vec::new();
        let mut at = from;
        let mut left = steps;
        while usize::from(at.shard) < self.shards.len() {
            if left == 0 || picked.len() >= limit {
                return (picked, Some(at));
            }
            let now = self.clock.now();
            let shard = self.lock(usize::from(at.shard));
            let most = left.min(Self::STEPS_A_LOCK);
            let mut seen = 0;
            let mut next = None;
            for slot in shard.machine.slots(Slot(at.slot)) {
                if seen == most || picked.len() >= limit {
                    next = Some(slot);
                    break;
                }
                seen += 1;
                picked.extend(shard.found(now, slot).and_then(&mut pick));
            }
            left -= seen;
            at = match next {
                Some(slot) => Cursor { slot: slot.0, ..at },
                None => Cursor { shard: at.shard + 1, slot: 0 },
            };
        }
        (picked, None)
    }

    /// Agents that one lock of a listing covers at most.
    ///
    /// Source: chosen; at about 200 ns an agent a heartbeat waits 50 µs at worst.
    pub const STEPS_A_LOCK: usize = 256;

    /// How many agents there are.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut sum = Census::default();
        for shard in &self.shards {
            let shard = shard.lock();
            let counts = &shard.machine.census().counts;
            if sum.counts.len() < counts.len() {
                sum.counts.resize(counts.len(), Default::default());
            }
            for (total, part) in sum.counts.iter_mut().zip(counts) {
                for (total, part) in total.iter_mut().flatten().zip(part.iter().flatten()) {
                    *total += part;
                }
            }
        }
        sum
    }

    /// Bytes in use by hot state and by cold data.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| shard.lock().memory());
        sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// Registers an agent that was not heard yet, or updates one that is known. `Ok(true)`: it is
    /// new.
    ///
    /// # Errors
    /// [`Refusal::Full`]; state has not changed.
    pub fn put(
        &self,
        tenant: TenantId,
        id: &str,
        registration: Registration,
    ) -> Result<bool, Refusal> {
        let key = self.key(tenant, id);
        let now = self.clock.now();
        let is_full = self.is_full();
        self.act(self.index(&key), |machine, effects| {
            let is_new = machine.find(key).is_none();
            if is_new && is_full {
                return Err(Refusal::Full);
            }
            machine.handle_put(now, key, registration, effects).map(|_| is_new)
        })
    }

    /// Commands that wait for an agent; none if it is not known.
    #[must_use]
    pub fn commands(&self, tenant: TenantId, id: &str) -> Vec<Command> {
        let key = self.key(tenant, id);
        let shard = self.lock(self.index(&key));
        let slot = shard.machine.find(key);
        slot.map_or_else(Vec::new, |slot| shard.machine.commands(slot).to_vec())
    }

    /// Lets an agent leave gracefully; `Ok(false)` if it is not known.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; state has not changed.
    pub fn stop(&self, tenant: TenantId, id: &str) -> Result<bool, Refusal> {
        self.on_agent(tenant, id, Machine::handle_stop)
    }

    /// Pauses or resumes an agent; `Ok(false)` if it is not known.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; state has not changed.
    pub fn pause(&self, tenant: TenantId, id: &str, paused: bool) -> Result<bool, Refusal> {
        self.on_agent(tenant, id, |machine, now, slot, effects| {
            machine.handle_pause(now, slot, paused, effects)
        })
    }

    /// Queues a command for an agent's next directive; `Ok(false)` if it is not known.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`]; state has not changed.
    pub fn command(&self, tenant: TenantId, id: &str, command: Command) -> Result<bool, Refusal> {
        self.on_agent(tenant, id, |machine, now, slot, effects| {
            machine.handle_command(now, slot, command, effects)
        })
    }

    /// Takes the outcome of an action; one that came too late changes nothing.
    pub fn handle_outcome(&self, action: &Action, outcome: ActionOutcome) {
        let now = self.clock.now();
        let key = self.key(action.tenant, &action.agent_id);
        self.act(self.index(&key), |machine, effects| {
            machine.handle_outcome(now, action.stamp, action.id, outcome, effects);
        });
    }

    /// Whether the silence that a suspicion is about still goes on.
    #[must_use]
    pub fn is_silent(&self, suspicion: &Suspicion) -> bool {
        let key = self.key(suspicion.tenant, &suspicion.agent_id);
        self.lock(self.index(&key)).machine.is_silent(suspicion)
    }

    /// Takes the word of a second witness that a silent agent is gone; says whether it came in
    /// time. One that came too late changes nothing.
    pub fn handle_witness(&self, suspicion: &Suspicion) -> bool {
        let now = self.clock.now();
        let key = self.key(suspicion.tenant, &suspicion.agent_id);
        self.act(self.index(&key), |machine, effects| {
            machine.handle_witness(now, suspicion, effects)
        })
    }

    fn on_agent(
        &self,
        tenant: TenantId,
        id: &str,
        act: impl FnOnce(&mut Machine, Millis, Slot, &mut Effects) -> Result<(), Refusal>,
    ) -> Result<bool, Refusal> {
        let key = self.key(tenant, id);
        let now = self.clock.now();
        self.act(self.index(&key), |machine, effects| {
            let Some(slot) = machine.find(key) else { return Ok(false) };
            act(machine, now, slot, effects).map(|()| true)
        })
    }

    /// Acts on one machine and delivers what came of it.
    fn act<R>(&self, index: usize, act: impl FnOnce(&mut Machine, &mut Effects) -> R) -> R {
        with_bench(|bench| {
            let result = self.under_lock(index, &mut bench.effects, |shard, effects| {
                act(&mut shard.machine, effects)
            });
            self.deliver(index, bench);
            result
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.shard, self.slot)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (shard, slot) = text.split_once('-').ok_or(BadCursor)?;
        let shard = u16::from_str_radix(shard, 16).map_err(|_| BadCursor)?;
        let slot = u32::from_str_radix(slot, 16).map_err(|_| BadCursor)?;
        Ok(Self { shard, slot })
    }
}
