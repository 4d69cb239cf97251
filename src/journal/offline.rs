//! Journals that no gateway has open: looked at, verified, copied, restored.
//!
//! A journal is opened here as it is: nothing is counted as a start, and what is damaged stays
//! where it is. After a crash the store repairs itself first, as it would at the next start.

mod stats;
mod verify;

use std::path::{Path, PathBuf};

use prost::Message;
use pulsegate_wire::Event;

use crate::backup;
use crate::codec;
use crate::lock::{self, Lock};
use crate::meta::{FORMAT, Meta};
use crate::open::{FILE, damaged, install};
use crate::read;
use crate::replay::{self, Entry, ReplayReport, lost_events};
use crate::store::{Result, Room, Source, Store, StoreError, View};
use crate::writer::CACHE_BYTES;
use crate::{BackupError, BackupReport, HeartbeatRecord, HeartbeatView, OpenError, ReplayError};

pub use stats::{Day, Stats};
pub(crate) use verify::verify_events;
pub use verify::{Finding, Verdict, verify};

/// A journal that no gateway has open.
pub struct Offline {
    store: Store,
    meta: Meta,
    source: Source,
    _lock: Lock,
}

/// What a journal says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Header {
    /// Format of the file.
    pub format: u32,
    /// Random name of the journal.
    pub journal_id: String,
    /// Wall time of its creation, in Unix milliseconds.
    pub created_ms: u64,
    /// Starts so far; a restored backup skips 1,024.
    pub epoch: u32,
    /// How often it was restored from a backup.
    pub restores: u32,
    /// Core time of the newest record, in milliseconds.
    pub core_ms: u64,
    /// Wall time of the newest record, in Unix milliseconds.
    pub wall_ms: u64,
    /// The last gateway ended in order.
    pub is_clean: bool,
    /// Oldest event that is there; above `newest_seq` when there is none.
    pub oldest_seq: u64,
    /// Newest event; 0 when there was none.
    pub newest_seq: u64,
    /// Newest event when the newest snapshot was begun.
    pub snapshot_seq: Option<u64>,
    /// Agents in that snapshot.
    pub snapshot_agents: u64,
    /// Heartbeats recorded since the journal was created.
    pub heartbeats: u64,
    /// Commits since the journal was created.
    pub commits: u64,
    /// Key by which agents are hashed.
    #[serde(skip)]
    pub hash_key: [u64; 2],
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// The file of the journal.
    pub file: PathBuf,
    /// Epoch before the next start: tokens to come are above all that can have been given.
    pub epoch: u32,
    /// Newest event.
    pub newest_seq: u64,
}

impl Offline {
    /// Opens the journal in a data directory, or a backup of one.
    ///
    /// # Errors
    /// When a gateway has it open, or there is none, or it is newer or damaged beyond repair.
    pub fn open(directory: &Path) -> std::result::Result<Self, OpenError> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Err(OpenError::Absent { directory: directory.to_owned() });
        }
        let lock = lock::take(directory)?;
        let source = Source::File(path);
        let (store, meta) = open_trusted(&source, directory)?;
        Ok(Self { store, meta, source, _lock: lock })
    }

    /// What the journal says of itself.
    #[must_use]
    pub fn header(&self) -> Header {
        let meta = &self.meta;
        Header {
            format: FORMAT,
            journal_id: meta.journal_id.clone(),
            created_ms: meta.created_ms,
            epoch: meta.epoch,
            restores: meta.restores,
            core_ms: meta.core_ms,
            wall_ms: meta.wall_ms,
            is_clean: meta.clean,
            oldest_seq: meta.first_seq,
            newest_seq: meta.last_seq,
            snapshot_seq: meta.snapshot.map(|snapshot| snapshot.from_seq),
            snapshot_agents: meta.snapshot.map_or(0, |snapshot| snapshot.agents),
            heartbeats: meta.heartbeats,
            commits: meta.commits,
            hash_key: [meta.hash_key_0, meta.hash_key_1],
        }
    }

    /// Tells every event that is there, oldest first; what is damaged is told to `lost`, in
    /// sentences.
    ///
    /// # Errors
    /// When the store cannot be read on.
    pub fn events(
        &self,
        visit: impl FnMut(Event),
        mut lost: impl FnMut(String),
    ) -> std::result::Result<(), ReplayError> {
        let range = (self.meta.first_seq, self.meta.last_seq);
        let view = self.store.view().map_err(unreadable)?;
        read::scan(&view, range, visit, |gap| lost(lost_events(&gap))).map_err(unreadable)
    }

    /// Tells every recorded heartbeat with its number, oldest first, until `visit` returns false.
    ///
    /// # Errors
    /// When the store cannot be read on.
    pub fn heartbeats(
        &self,
        visit: impl FnMut(u64, HeartbeatRecord) -> bool,
    ) -> std::result::Result<(), ReplayError> {
        let view = self.store.view().map_err(unreadable)?;
        heartbeats_of(&view, 0, visit).map_err(unreadable)
    }

    /// Tells every recorded heartbeat with its number, oldest first, until `visit` returns false:
    /// as it lies there, without a copy; `None` for one that is damaged.
    ///
    /// # Errors
    /// When the store cannot be read on; what lies before was told.
    pub fn recorded(
        &self,
        mut visit: impl FnMut(u64, Option<HeartbeatView<'_>>) -> bool,
    ) -> std::result::Result<(), ReplayError> {
        let view = self.store.view().map_err(unreadable)?;
        let told = view.rows(Room::Heartbeats, (0, u64::MAX), |first, row| {
            let messages = (first..).zip(codec::messages(row));
            let mut beats = messages.map(|(number, message)| {
                visit(number, message.ok().and_then(HeartbeatView::decode))
            });
            Ok(beats.all(|goes_on| goes_on))
        });
        told.map_err(unreadable)
    }

    /// Events from number `from_seq` on, oldest first: those of the next rows, up to about `limit`
    /// and a row more. Those that are damaged are left out. Empty when there are no more.
    ///
    /// # Errors
    /// When the store cannot be read on.
    pub fn events_from(
        &self,
        from_seq: u64,
        limit: usize,
    ) -> std::result::Result<Vec<Event>, ReplayError> {
        let view = self.store.view().map_err(unreadable)?;
        read::some(&view, from_seq, limit).map_err(unreadable)
    }

    /// Tells what a restart would begin from.
    ///
    /// # Errors
    /// When the store cannot be read on.
    pub fn replay(&self, f: impl FnMut(Entry)) -> std::result::Result<ReplayReport, ReplayError> {
        let view = self.store.view().map_err(unreadable)?;
        let snapshot = self.meta.snapshot;
        let from = snapshot.map_or(self.meta.first_seq, |snapshot| snapshot.from_seq + 1);
        let range = (from.max(self.meta.first_seq), self.meta.last_seq);
        replay::tell(&view, snapshot, range, f).map_err(unreadable)
    }

    /// Looks at the checksum of every page. Whether all were as they should be.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check_pages(&mut self) -> std::result::Result<bool, ReplayError> {
        self.store.check().map_err(unreadable)
    }

    /// Counts what is there.
    ///
    /// # Errors
    /// When the store cannot be read on.
    pub fn stats(&self) -> std::result::Result<Stats, ReplayError> {
        let rows = |room| self.store.view().and_then(|view| view.count(room)).map_err(unreadable);
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut stats = Stats::new(&self.meta, self.source.path().map_or(0, length));
        stats.event_rows = rows(Room::Events)?;
        stats.dead_letters = rows(Room::Letters)?;
        let mut lost = Vec::new();
        self.events(|event| stats.count(&event), |loss| lost.push(loss))?;
        stats.losses = lost;
        self.heartbeats(|_, _| {
            stats.heartbeats += 1;
            true
        })?;
        Ok(stats)
    }

    /// Writes a copy into a new file.
    ///
    /// # Errors
    /// When the file exists or cannot be written, or the journal cannot be read.
    pub fn backup(&self, file: &Path) -> std::result::Result<BackupReport, BackupError> {
        let failed =
            |error: StoreError| BackupError { file: file.to_owned(), reason: error.to_string() };
        backup::copy(&self.store.view().map_err(failed)?, file)
    }
}

/// Where the copy in a directory of backups lies.
#[must_use]
pub fn backup_file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Puts a backup into a data directory that has no journal: the copy gets a name of its own, and
/// its epoch is advanced by 1,024, so that the fencing tokens of grants to come lie above those
/// that the original gave after the backup was made.
///
/// # Errors
/// When the directory is in use or has a journal, or the backup cannot be read; then the directory
/// has none.
pub fn restore(backup: &Path, directory: &Path) -> std::result::Result<Restored, OpenError> {
    let from = backup_file(backup);
    if !from.exists() {
        return Err(OpenError::Absent { directory: backup.to_owned() });
    }
    lock::make(directory)?;
    let _lock = lock::take(directory)?;
    let path = directory.join(FILE);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    if path.exists() {
        return Err(failed(&path)(std::io::ErrorKind::AlreadyExists.into()));
    }
    let new = path.with_extension("new");
    std::fs::copy(&from, &new).map_err(failed(&from))?;
    let restored = advance(&new, backup).and_then(|meta| {
        install(&new, &path).map_err(failed(&path))?;
        Ok(Restored { file: path, epoch: meta.epoch, newest_seq: meta.last_seq })
    });
    if restored.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    restored
}

/// Gives a copied file its own name and a higher epoch.
fn advance(file: &Path, backup: &Path) -> std::result::Result<Meta, OpenError> {
    let source = Source::File(file.to_owned());
    let (store, mut meta) = open_trusted(&source, backup)?;
    let unwritable = |reason: String| OpenError::Unwritable { file: file.to_owned(), reason };
    meta.restore().map_err(|error| unwritable(error.to_string()))?;
    meta.commits += 1;
    store.commit(&meta, &[]).map_err(|error| unwritable(error.to_string()))?;
    store.close().map_err(|error| unwritable(error.to_string()))?;
    Ok(meta)
}

/// Opens a store whose format is known.
fn open_trusted(
    source: &Source,
    directory: &Path,
) -> std::result::Result<(Store, Meta), OpenError> {
    let damaged = |error: StoreError| damaged(source, &error);
    let length = source.path().and_then(|path| std::fs::metadata(path).ok());
    if length.is_some_and(|metadata| metadata.len() == 0) {
        return Err(damaged(StoreError::new("the file is empty")));
    }
    let store = Store::open(source, CACHE_BYTES).map_err(damaged)?;
    match store.format().map_err(damaged)? {
        None => return Err(damaged(StoreError::new("it holds no journal"))),
        Some(found) if found > FORMAT => {
            let directory = directory.to_owned();
            return Err(OpenError::Newer { directory, found, known: FORMAT });
        }
        Some(_) => {}
    }
    let meta = store.meta().map_err(damaged)?;
    let meta =
        meta.ok_or_else(|| damaged(StoreError::new("the journal's own record is missing")))?;
    Ok((store, meta))
}

fn unreadable(error: StoreError) -> ReplayError {
    ReplayError { reason: error.to_string() }
}

/// Recorded heartbeats after number `after`, until `visit` returns false.
pub(crate) fn heartbeats_of(
    view: &View,
    after: u64,
    mut visit: impl FnMut(u64, HeartbeatRecord) -> bool,
) -> Result<()> {
    let start = view.row_before(Room::Heartbeats, after.saturating_add(1))?.unwrap_or(0);
    view.rows(Room::Heartbeats, (start, u64::MAX), |first, row| {
        for (number, message) in (first..).zip(codec::messages(row)) {
            let beat = message.ok().and_then(|message| HeartbeatRecord::decode(message).ok());
            if let Some(beat) = beat.filter(|_| number > after)
                && !visit(number, beat)
            {
                return Ok(false);
            }
        }
        Ok(true)
    })
}
