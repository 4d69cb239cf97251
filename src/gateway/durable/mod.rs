//! What must survive: events go to the journal here, and answers wait here for the disk.
//!
//! ```text
//! shard, under its lock → record → the journal's queue, in the order of the machine
//! the journal's writer  → commits → whoever waits for an event, and watchers
//! ```
//! Recording never blocks. An answer waits only where DESIGN says so: for a registration, a new
//! incarnation, an interval longer than in force, a lease or a command. When the disk takes
//! nothing, the gateway goes on *read-only*: see [`Durable::is_read_only`].
//!
//! This room may touch `clock`, `config`, `telemetry`, `watch` and the journal.

mod commits;
mod letters;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use pulsegate_core as core;
use pulsegate_journal::{
    Journal, OpenError, Opened, Options, Place, Recording, RecordingMode, Retention,
};
use pulsegate_wire::event::GatewayEnded;
use pulsegate_wire::{Event, EventKind};

use crate::clock::Clock;
use crate::config::{Config, Recorded};
use crate::watch::Hub;

use commits::Commits;
pub use commits::{Mark, Unavailable};
use letters::Allowance;
pub use letters::REORDERED;

/// How long an answer waits for the disk. Larger: a slow disk costs fewer retries; smaller: an
/// agent learns sooner that it has to come again, and its first retry is due after a second.
/// Source: DESIGN §2.
pub const WAIT: Duration = Duration::from_secs(1);

/// Events that may wait for the disk before deadlines do, too. Larger: the failure of a whole fleet
/// is noticed sooner; smaller: it leaves more room for what agents cause meanwhile.
/// Source: chosen; half of what the journal queues, some seconds of a slow disk.
const BACKLOG: u64 = 131_072;

/// The journal of a gateway; clones share it.
#[derive(Clone)]
pub struct Durable {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Journal,
    commits: Arc<Commits>,
    clock: Arc<Clock>,
    config: ArcSwap<Config>,
    /// Nothing outlives the process, so nobody waits.
    is_ephemeral: bool,
    /// Raised whenever events could not be queued: what the journal lacks, a snapshot has to
    /// bring.
    lost: AtomicU64,
    letters: Allowance,
}

impl Durable {
    /// Opens the journal of a configuration, whose core time goes on from then on. What it holds
    /// is in [`Opened::replay`].
    ///
    /// # Errors
    /// [`OpenError`]; it says what to do.
    pub fn open(
        config: &Arc<Config>,
        clock: Arc<Clock>,
        hub: &Arc<Hub>,
    ) -> Result<(Self, Opened), OpenError> {
        let commits = Arc::new(Commits::new(hub.clone()));
        let listener = commits.clone();
        let wall_ms = clock.wall_ms(clock.read().raw_ms);
        let opened =
            Journal::open(options(config), wall_ms, Box::new(move |notice| listener.take(notice)))?;
        commits.begin(opened.last_seq);
        clock.begin_at(core::Millis(opened.core_ms));
        hub.connect(opened.journal.clone(), opened.epoch);
        let inner = Inner {
            journal: opened.journal.clone(),
            commits,
            clock,
            config: ArcSwap::new(config.clone()),
            is_ephemeral: config.journal.ephemeral,
            lost: AtomicU64::new(0),
            letters: Allowance::default(),
        };
        Ok((Self { inner: Arc::new(inner) }, opened))
    }

    /// Takes the names of another configuration.
    pub fn reconfigure(&self, config: &Arc<Config>) {
        self.inner.config.store(config.clone());
    }

    /// The journal itself: for reading, dead letters, backups and figures.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// Hands events of agents to the journal, in their order: called under the lock of their
    /// shard. Those of a frozen machine are left away. Returns the mark of the last of them.
    pub fn record(&self, events: &[core::Event]) -> Mark {
        let at = self.inner.clock.read();
        let wall_ms = self.inner.clock.wall_ms(at.raw_ms);
        let config = self.inner.config.load();
        let durable = events.iter().filter(|event| !event.undurable);
        let recorded = durable.map(|event| {
            let (tenant, class) = names(&config, event.tenant, event.class);
            Event { wall_ms, ..event.to_wire(tenant, class) }
        });
        self.append(recorded)
    }

    /// Hands events of leases to the journal, in their order: called under the lock of their table.
    /// Returns the mark of the last of them.
    ///
    /// # Errors
    /// [`Unavailable`]: the journal took none of them, and a snapshot has to make up for it. No
    /// mark stands for them, so nobody may be told what they say.
    pub fn record_leases(&self, events: &[core::lease::Event]) -> Result<Mark, Unavailable> {
        let at = self.inner.clock.read();
        let wall_ms = self.inner.clock.wall_ms(at.raw_ms);
        let config = self.inner.config.load();
        let recorded = events.iter().map(|event| {
            let tenant = config.tenants.name(event.tenant);
            Event { wall_ms, ..event.to_wire(tenant) }
        });
        self.try_append(recorded)
    }

    /// Hands something that concerns no agent to the journal.
    pub fn note(&self, tenant: &str, kind: EventKind) -> Mark {
        let at = self.inner.clock.read();
        let wall_ms = self.inner.clock.wall_ms(at.raw_ms);
        self.append([Event {
            at_ms: at.now.0,
            wall_ms,
            tenant: tenant.to_owned(),
            kind: Some(kind),
            ..Event::default()
        }])
    }

    fn append(&self, events: impl IntoIterator<Item = Event>) -> Mark {
        // What comes next cannot be durable before the snapshot that makes up for it.
        self.try_append(events)
            .unwrap_or_else(|Unavailable| Mark::of(self.inner.journal.appended() + 1))
    }

    fn try_append(&self, events: impl IntoIterator<Item = Event>) -> Result<Mark, Unavailable> {
        match self.inner.journal.append(events) {
            Ok(seq) => Ok(Mark::of(seq)),
            Err(_) => {
                self.inner.lost.fetch_add(1, Relaxed);
                Err(Unavailable)
            }
        }
    }

    /// The mark of everything that was recorded up to now.
    #[must_use]
    pub fn newest(&self) -> Mark {
        Mark::of(self.inner.journal.appended())
    }

    /// Makes durable what still waits, and that this was an end in order.
    pub fn close(&self, ended: GatewayEnded) {
        let at = self.inner.clock.read();
        let event = Event {
            at_ms: at.now.0,
            wall_ms: self.inner.clock.wall_ms(at.raw_ms),
            kind: Some(EventKind::GatewayEnded(ended)),
            ..Event::default()
        };
        if let Err(error) = self.inner.journal.close(event) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the journal could not be closed in order");
        }
    }

    /// Whether so much waits for the disk that what can wait should: deadlines pass late rather
    /// than unrecorded.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let journal = &self.inner.journal;
        let waiting = journal.appended().saturating_sub(journal.committed());
        waiting > BACKLOG && !self.is_read_only()
    }

    /// How often events could not be queued since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Relaxed)
    }

    /// Whether an answer would have to wait for this mark.
    #[must_use]
    pub fn is_awaited(&self, mark: Mark) -> bool {
        !self.inner.is_ephemeral && !self.inner.commits.is_durable(mark)
    }

    /// Waits until what the mark stands for is durable.
    ///
    /// # Errors
    /// [`Unavailable`] after [`WAIT`], or at once when the disk takes nothing.
    pub async fn wait(&self, mark: Mark) -> Result<(), Unavailable> {
        if !self.is_awaited(mark) {
            return Ok(());
        }
        let committed = self.inner.commits.wait(mark)?;
        match tokio::time::timeout(WAIT, committed).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Unavailable),
        }
    }

    /// Whether the disk takes nothing: known agents keep beating at intervals that are durable;
    /// registrations, new incarnations, leases, relaxing and recovery are refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.inner.commits.is_read_only()
    }
}

/// The journal keeps names, because numbers follow from the configuration of the moment.
fn names(config: &Config, tenant: core::TenantId, class: core::ClassId) -> (&str, &str) {
    (config.tenants.name(tenant), &config.classes[class].name)
}

/// Bytes of events that a gateway keeps for watchers which forgets everything at its end.
/// Source: chosen; half a million events.
const EPHEMERAL_BYTES: u64 = 64 << 20;

fn options(config: &Config) -> Options {
    let journal = &config.journal;
    let age = |ms: u32| Duration::from_millis(ms.into());
    let max_age = age(journal.max_age_ms);
    let place = match &journal.data_dir {
        Some(directory) if !journal.ephemeral => Place::Directory(directory.clone()),
        _ => {
            // Nobody could try a policy on heartbeats that end with the process.
            let retention = Retention { max_age, max_bytes: EPHEMERAL_BYTES };
            let recording = Recording { mode: RecordingMode::Off, ..Recording::default() };
            return Options { retention, recording, ..Options::new(Place::Memory) };
        }
    };
    let mode = match journal.heartbeats {
        Recorded::Off => RecordingMode::Off,
        Recorded::Sample => RecordingMode::Sample,
        Recorded::All => RecordingMode::All,
    };
    Options {
        retention: Retention { max_age, max_bytes: journal.max_bytes },
        recording: Recording {
            mode,
            max_age: age(journal.heartbeats_max_age_ms),
            max_bytes: journal.heartbeats_max_bytes,
        },
        ..Options::new(place)
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable")
            .field("ephemeral", &self.inner.is_ephemeral)
            .finish_non_exhaustive()
    }
}
