//! The end of a simulated process, and the next one: from the journal back into the machine.

use pulsegate_core::cadence::Floor;
use pulsegate_core::lease::history::Fact;
use pulsegate_core::{Classes, Machine, Millis};
use pulsegate_wire::event::{AgentRecord, Event};
use pulsegate_wire::{EventKind, State};

use super::clock::Clock;
use super::disk::Journal;
use super::leases::Holdings;
use super::names::{Names, TENANT, TENANT_NAME};
use super::{Gateway, Mistake, Waiting};
use crate::server::{AgentIndex, Micros, Outbox, Standing};

impl Gateway {
    pub(super) fn handle_crash(&mut self, now: Micros) {
        self.compare(now);
        self.effects.clear();
        self.holdings.effects.clear();
        self.waiting = Waiting::default();
        self.late.clear();
        self.crew.crash();
        if let Some(journal) = &mut self.journal {
            journal.crash();
        }
    }

    pub(super) fn handle_restart(&mut self, now: Micros, out: &mut Outbox) {
        let (mut base_ms, mut epoch, mut floor_ms) = (0, 1, 0);
        self.machine = Machine::new(self.options.core.clone());
        if let Some(journal) = &mut self.journal {
            let (snapshot, events, core_ms) = journal.open(now);
            epoch = journal.epoch;
            (base_ms, floor_ms) = (core_ms, journal.floor_base_ms);
            let classes = &self.options.core.classes;
            fold(&mut self.machine, &snapshot.rows, &events, classes, &self.names);
            self.holdings = Holdings::new(epoch);
            let forgets = self.options.mistake == Some(Mistake::ForgetsLeases);
            if !forgets {
                snapshot.leases.iter().for_each(|lease| self.holdings.table.restore(TENANT, lease));
                events.iter().for_each(|event| self.holdings.table.apply(TENANT, event));
            }
        } else {
            self.holdings = Holdings::new(epoch);
        }
        self.clock = Clock::start(now, base_ms);
        self.floor = Floor::resumed(self.core(now), floor_ms, &self.options.core.cadence);
        self.machine.set_floor(floor_ms, 0.0);
        self.floor_at = now;
        self.awaits.fill(0);
        self.check_restored(now);
        let core = self.core(now);
        self.machine.resume(core, &mut self.effects);
        let holdings = &mut self.holdings;
        holdings.table.resume(core, &mut holdings.effects);
        self.note_restored(now, core);
        self.settle_leases(now);
        self.restand(out);
        self.settle(now, out);
    }

    /// What the checker of leases knows of a start.
    fn note_restored(&mut self, now: Micros, core: Millis) {
        let Some(checks) = &mut self.checks else { return };
        checks.note(now, Fact::Started { at: core });
        for (_, lease) in self.holdings.table.export() {
            let (name, token, ttl_ms) = (lease.name.clone(), lease.token, lease.ttl_ms);
            checks.note(now, Fact::Restored { name, token, ttl_ms });
        }
    }

    /// How everybody stands with the new process.
    fn restand(&mut self, out: &mut Outbox) {
        let core = Millis(0);
        for agent in 0..self.options.agents {
            let info = self.slot(agent).and_then(|slot| self.machine.info(core, slot));
            let to = match info.map(|info| info.state) {
                None | Some(State::New) => Standing::Unknown,
                Some(State::Alive) => Standing::Alive,
                Some(State::Suspect) => Standing::Suspect,
                Some(State::Failed) => Standing::Failed,
                Some(State::Stopped) => Standing::Stopped,
            };
            self.stand(agent, to, out);
        }
    }

    /// What was recorded adds up to what is.
    pub(super) fn compare(&mut self, now: Micros) {
        let (Some(checks), Some(journal)) = (&mut self.checks, &self.journal) else { return };
        if !journal.is_whole() || self.machine.is_frozen() {
            return;
        }
        let folded = folded(journal, &self.options.core, &self.names);
        let (live, replayed) = (digest(&self.machine), digest(&folded));
        if live != replayed {
            let text = format!(
                "{} agents with digest {live:016x}, replayed {} with {replayed:016x}",
                self.machine.census().total(),
                folded.census().total()
            );
            checks.violate(now, "replay_equals_live", text);
        }
    }

    fn check_restored(&mut self, now: Micros) {
        let Some(checks) = &mut self.checks else { return };
        let core = self.clock.core(now);
        checks.restarted(now, core, self.journal.is_some());
        for agent in 0..self.options.agents {
            let slot = self.machine.find(self.names.key(agent));
            let found = slot.and_then(|slot| {
                let row = self.machine.export(core, slot, TENANT_NAME)?;
                Some((self.machine.info(core, slot)?, row))
            });
            let found = found.as_ref().map(|(info, row)| (info, row));
            checks.restored(now, core, agent as AgentIndex, found);
        }
    }
}

fn digest(machine: &Machine) -> u64 {
    machine.digest(|_| TENANT_NAME)
}

/// The machine that a journal adds up to.
fn folded(journal: &Journal, config: &pulsegate_core::Config, names: &Names) -> Machine {
    let mut machine = Machine::new(config.clone());
    let (snapshot, events) = journal.recorded();
    fold(&mut machine, &snapshot.rows, events, &config.classes, names);
    machine
}

fn fold(
    machine: &mut Machine,
    rows: &[AgentRecord],
    events: &[Event],
    classes: &Classes,
    names: &Names,
) {
    let class = |name: &str| classes.find(name).unwrap_or(classes.normal());
    for row in rows {
        let restored = machine.restore(row, names.key_of(&row.agent_id), class(&row.class));
        debug_assert!(restored.is_ok(), "there was room before");
    }
    for event in events {
        let is_lease =
            matches!(event.kind, Some(EventKind::LeaseGranted(_) | EventKind::LeaseEnded(_)));
        if !is_lease && !event.agent_id.is_empty() {
            let applied = machine.apply(event, names.key_of(&event.agent_id), class(&event.class));
            debug_assert!(applied.is_ok(), "there was room before");
        }
    }
}
