//! Over a restart: what the journal holds comes back, and what is durable goes out as a snapshot.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use pulsegate_core::{ClassId, Slot, TenantId};
use pulsegate_journal::{Entry, Opened, ReplayError, SnapshotError};
use pulsegate_wire::event::{AgentRecord, GatewayEnded, GatewayStarted};
use pulsegate_wire::{Event, EventKind};

use super::Shards;
use super::heartbeat::with_bench;

/// What is read back, by the names that the journal keeps.
struct Returning<'a> {
    shards: &'a Shards,
    tenants: HashMap<String, Option<TenantId>>,
    classes: HashMap<String, ClassId>,
    normal: ClassId,
    /// Rows and events of tenants that are no longer configured.
    strangers: u64,
    floor_base_ms: u32,
}

impl Shards {
    /// Brings back what the journal holds and goes on from there. To be called once, before
    /// anything else happens.
    ///
    /// # Errors
    /// What the journal says; then nothing can be relied upon.
    pub fn restore(&self, past: Opened) -> Result<(), ReplayError> {
        let began = Instant::now();
        let config = self.config.load_full();
        let mut returning = Returning {
            shards: self,
            tenants: HashMap::new(),
            classes: config.classes.iter().map(|(id, class)| (class.name.clone(), id)).collect(),
            normal: config.classes.normal(),
            strangers: 0,
            floor_base_ms: past.floor_base_ms,
        };
        let is_new = past.last_seq == 0;
        past.replay.for_each(|entry| returning.take(entry))?;
        let Returning { strangers, floor_base_ms, .. } = returning;
        let agents = self.census().total();
        self.known.store(agents, Relaxed);
        self.resume(floor_base_ms);
        let started = GatewayStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agents: agents.into(),
            down_ms: past.down_ms,
        };
        self.durable.note("", EventKind::GatewayStarted(started));
        for index in 0..self.shards.len() {
            self.act_resumed(index);
        }
        self.telemetry.restored(&crate::telemetry::Restored {
            is_new,
            agents,
            strangers,
            was_clean: past.was_clean,
            down_ms: past.down_ms,
            starts_lately: past.starts_lately,
            losses: &past.losses,
            took: began.elapsed(),
        });
        Ok(())
    }

    /// The fleet's floor goes on where it was: agents obey it still.
    fn resume(&self, floor_base_ms: u32) {
        for shard in &self.shards {
            shard.lock().machine.set_floor(floor_base_ms, 0.0);
        }
        self.floor_base_ms.store(floor_base_ms, Relaxed);
    }

    /// Arms the deadlines of one shard anew, and takes recovery up.
    fn act_resumed(&self, index: usize) {
        let now = self.clock.now();
        with_bench(|bench| {
            self.under_lock(index, &mut bench.effects, |shard, effects| {
                shard.machine.resume(now, effects);
            });
            self.deliver(index, bench);
        });
    }

    /// Freezes the machines while nothing can be recorded, and thaws them afterwards: then what
    /// the journal lacks is brought by a snapshot.
    pub(super) fn follow_journal(&self) {
        let frozen = self.durable.is_read_only();
        if self.frozen.swap(frozen, Relaxed) == frozen {
            return;
        }
        for index in 0..self.shards.len() {
            let now = self.clock.now();
            with_bench(|bench| {
                self.under_lock(index, &mut bench.effects, |shard, effects| {
                    shard.machine.set_frozen(now, frozen, effects);
                });
                self.deliver(index, bench);
            });
        }
    }

    /// Takes a snapshot when the journal has `events` more than the last one covers.
    pub fn snapshot_if_due(&self, events: u64) {
        let status = self.durable.journal().status();
        let since = status.newest_seq.saturating_sub(status.snapshot_seq.unwrap_or(0));
        if since >= events {
            self.snapshot_and_tell();
        }
    }

    pub(super) fn snapshot_and_tell(&self) {
        let began = Instant::now();
        match self.snapshot() {
            Ok(agents) => {
                let took_ms = began.elapsed().as_millis() as u64;
                tracing::debug!(agents, took_ms, "a snapshot was taken");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "no snapshot could be taken; the next start takes longer");
            }
        }
    }

    /// Writes down what is durable of every agent, shard by shard, and of leases, while events go
    /// on. Says of how many agents.
    fn snapshot(&self) -> Result<u64, SnapshotError> {
        let mut snapshot = self.durable.journal().begin_snapshot();
        let config = self.config.load_full();
        let mut agents = 0;
        for index in 0..self.shards.len() {
            let mut from = Some(Slot(0));
            while let Some(slot) = from {
                let (rows, next) = self.rows(index, slot, |tenant| config.tenants.name(tenant));
                agents += rows.len() as u64;
                snapshot.add(rows);
                from = next;
            }
        }
        let leases = self.leases.export().into_iter();
        let named = leases.map(|(tenant, lease)| (config.tenants.name(tenant).to_owned(), lease));
        snapshot.add_leases(named.collect());
        snapshot.finish()?;
        Ok(agents)
    }

    /// Some agents of a shard from `slot` on, and where to go on.
    fn rows<'a>(
        &self,
        index: usize,
        slot: Slot,
        tenant: impl Fn(TenantId) -> &'a str,
    ) -> (Vec<AgentRecord>, Option<Slot>) {
        let now = self.clock.now();
        let shard = self.lock(index);
        let machine = &shard.machine;
        let mut slots = machine.slots(slot);
        let some: Vec<Slot> = slots.by_ref().take(Self::STEPS_A_LOCK).collect();
        let rows = some.iter().filter_map(|&slot| {
            let id = machine.info(now, slot)?.tenant;
            machine.export(now, slot, tenant(id))
        });
        (rows.collect(), slots.next())
    }

    /// Digest of the durable state: what `pulsegate journal replay` prints for the same journal.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let config = self.config.load_full();
        let one = |index| self.lock(index).machine.digest(|tenant| config.tenants.name(tenant));
        (0..self.shards.len()).map(one).fold(0, u64::wrapping_add)
    }

    /// The last event: this was an end in order.
    #[must_use]
    pub fn ended(&self) -> GatewayEnded {
        let digest = format!("{:016x}", self.digest());
        GatewayEnded { agents: self.census().total().into(), digest }
    }
}

impl Returning<'_> {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Agent(row) => self.row(&row),
            Entry::Event(event) => self.event(&event),
            Entry::Lease { tenant, lease } => {
                if let Some(tenant) = self.tenant(&tenant) {
                    self.shards.leases.restore(tenant, &lease);
                }
            }
        }
    }

    fn row(&mut self, row: &AgentRecord) {
        let Some(tenant) = self.tenant(&row.tenant) else { return };
        let class = self.class(&row.class);
        let key = self.shards.key(tenant, &row.agent_id);
        let mut shard = self.shards.lock(self.shards.index(&key));
        if shard.machine.restore(row, key, class).is_err() {
            self.strangers += 1;
        }
    }

    fn event(&mut self, event: &Event) {
        if let Some(EventKind::FloorMoved(moved)) = &event.kind {
            self.floor_base_ms = moved.base_ms;
        }
        let is_lease =
            matches!(event.kind, Some(EventKind::LeaseGranted(_) | EventKind::LeaseEnded(_)));
        if event.agent_id.is_empty() && !is_lease {
            return;
        }
        let Some(tenant) = self.tenant(&event.tenant) else { return };
        if is_lease {
            return self.shards.leases.apply(tenant, event);
        }
        let class = self.class(&event.class);
        let key = self.shards.key(tenant, &event.agent_id);
        let mut shard = self.shards.lock(self.shards.index(&key));
        if shard.machine.apply(event, key, class).is_err() {
            self.strangers += 1;
        }
    }

    fn tenant(&mut self, name: &str) -> Option<TenantId> {
        if let Some(known) = self.tenants.get(name) {
            self.strangers += u64::from(known.is_none());
            return *known;
        }
        let found = self.shards.config.load().tenants.find(name);
        self.tenants.insert(name.to_owned(), found);
        self.strangers += u64::from(found.is_none());
        found
    }

    fn class(&self, name: &str) -> ClassId {
        self.classes.get(name).copied().unwrap_or(self.normal)
    }
}
