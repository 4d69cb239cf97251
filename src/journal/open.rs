//! Opening a journal: whose it is, whether it can be trusted, and what the last one left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use pulsegate_wire::event::Truncated;
use pulsegate_wire::{Event, EventKind};

use crate::dead_letters::Book;
use crate::journal::{Handle, Journal};
use crate::lock::{self, Lock};
use crate::meta::{FORMAT, Gap, Meta};
use crate::options::{Options, Place};
use crate::replay::{Replay, lost_events};
use crate::salvage::{self, Inspection};
use crate::shared::{Listener, Shared};
use crate::store::{Room, Source, Store, StoreError};
use crate::writer::{self, CACHE_BYTES, Writer};
use crate::{OpenError, codec};

/// Name of the journal's file in the data directory.
pub(crate) const FILE: &str = "journal.redb";
/// A file of more than this many bytes is made smaller at a start when most of it is empty.
/// Source: chosen; below it there is nothing to gain, and making it smaller takes time.
const COMPACT_ABOVE: u64 = 256 << 20;

/// A journal that was opened, and what the last gateway left in it.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// This start, counted from the journal's creation; durable already.
    pub epoch: u32,
    /// Core time of the newest record, in milliseconds: core time goes on from here.
    pub core_ms: u64,
    /// Key by which agents are hashed; the same as long as the journal lives.
    pub hash_key: [u64; 2],
    /// Fleet floor that was in force, in milliseconds; 0 for none.
    pub floor_base_ms: u32,
    /// Newest event of earlier starts; 0 when there is none.
    pub last_seq: u64,
    /// Wall time since the newest record, in milliseconds: what nobody could observe. 0 in a new
    /// journal.
    pub down_ms: u64,
    /// The last gateway ended in order; true in a new journal.
    pub was_clean: bool,
    /// Starts in the last ten minutes, this one included.
    pub starts_lately: u32,
    /// What is damaged and lost, in sentences. An event `truncated` was appended for each gap.
    pub losses: Vec<String>,
    /// What was known.
    pub replay: Replay,
}

/// A store that can be trusted, with what was lost in making it so.
pub(crate) struct Trusted {
    pub(crate) store: Store,
    pub(crate) meta: Meta,
    pub(crate) inspection: Inspection,
}

impl Journal {
    /// Opens a journal, or makes a new one in an empty place. The number of this start is durable
    /// when this returns. Reads what came after the newest snapshot once, to see that it is whole.
    ///
    /// `wall_ms` is the wall time, in Unix milliseconds. `listener` is told of commits from then
    /// on, on threads of the journal; it must not hold the last handle of the journal.
    ///
    /// # Errors
    /// When another process has it, a newer version wrote it, the disk fails, or nothing in it can
    /// be trusted. The file is as it was, but for a repair after a crash.
    pub fn open(
        options: Options,
        wall_ms: u64,
        listener: Box<dyn Fn(crate::Notice<'_>) + Send>,
    ) -> Result<Opened, OpenError> {
        let (source, lock) = match &options.place {
            Place::Memory => (Source::Memory, None),
            Place::Directory(directory) => {
                lock::make(directory)?;
                (Source::File(directory.join(FILE)), Some(lock::take(directory)?))
            }
        };
        open_at(options, source, lock, wall_ms, listener)
    }
}

/// Opens the journal at `source`.
pub(crate) fn open_at(
    options: Options,
    source: Source,
    lock: Option<Lock>,
    wall_ms: u64,
    listener: Listener,
) -> Result<Opened, OpenError> {
    let is_new = source.path().is_none_or(|path| !path.exists());
    if is_new {
        create(&source, wall_ms)?;
    }
    let Trusted { store, meta: before, inspection } = match &source {
        Source::Memory => Trusted {
            store: Store::open(&source, CACHE_BYTES).map_err(|error| damaged(&source, &error))?,
            meta: Meta::fresh(wall_ms).map_err(|error| no_chance(&source, error))?,
            inspection: Inspection::default(),
        },
        _ => trust(&source, wall_ms)?,
    };
    let store = compacted(store, &source, &before)?;
    let mut meta = before.clone();
    meta.start(wall_ms);
    meta.commits += 1;
    let unwritable = |error: StoreError| OpenError::Unwritable {
        file: file(&source),
        reason: error.to_string(),
    };
    store.commit(&meta, &[]).map_err(unwritable)?;
    let letters = letters(&store, &options, &meta).map_err(|error| damaged(&source, &error))?;
    let shared = Shared::new(options, (source, store, lock), &meta, letters, listener);
    let shared = Arc::new(shared);
    let last_seq = before.last_seq;
    let from_seq = before.snapshot.map_or(before.first_seq, |snapshot| snapshot.from_seq + 1);
    let replay =
        Replay { shared: shared.clone(), snapshot: before.snapshot, events: (from_seq, last_seq) };
    tell_gaps(&shared, &inspection.gaps);
    let starts_lately = meta.starts_lately(wall_ms);
    let epoch = meta.epoch;
    let handle = start(shared, meta)?;
    let down_ms = wall_ms.saturating_sub(before.wall_ms);
    Ok(Opened {
        journal: Journal::new(handle),
        epoch,
        core_ms: before.core_ms,
        hash_key: [before.hash_key_0, before.hash_key_1],
        floor_base_ms: before.floor_base_ms,
        last_seq,
        down_ms: if is_new { 0 } else { down_ms },
        was_clean: before.clean,
        starts_lately,
        losses: inspection.losses,
        replay,
    })
}

/// Starts the writer and the watchdog.
fn start(shared: Arc<Shared>, meta: Meta) -> Result<Handle, OpenError> {
    let failed = |source| OpenError::Io { path: PathBuf::from("a thread of the journal"), source };
    let writer = Writer::new(shared.clone(), meta);
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let writer = named("journal").spawn(move || writer.run()).map_err(failed)?;
    let watched = shared.clone();
    let watchdog = named("journal-watch").spawn(move || writer::watch(&watched)).map_err(failed)?;
    Ok(Handle::new(shared, [writer, watchdog]))
}

/// Makes a new journal. Its file gets its name when the first record is durable, so that a file of
/// this name is never half made.
fn create(source: &Source, wall_ms: u64) -> Result<(), OpenError> {
    let Some(path) = source.path() else { return Ok(()) };
    let meta = Meta::fresh(wall_ms).map_err(|error| no_chance(source, error))?;
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let unwritable =
        |error: StoreError| OpenError::Unwritable { file: new.clone(), reason: error.to_string() };
    let store = Store::open(&Source::File(new.clone()), CACHE_BYTES).map_err(unwritable)?;
    store.commit(&meta, &[]).map_err(unwritable)?;
    store.close().map_err(unwritable)?;
    install(&new, path).map_err(failed)
}

/// Gives a file its name, durably.
pub(crate) fn install(new: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::File::open(new)?.sync_all()?;
    std::fs::rename(new, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens what is there, and puts what can be read of it into a new file if something cannot.
pub(crate) fn trust(source: &Source, wall_ms: u64) -> Result<Trusted, OpenError> {
    let path = file(source);
    let length = std::fs::metadata(&path)
        .map_err(|source| OpenError::Io { path: path.clone(), source })?
        .len();
    if length == 0 {
        return Err(damaged(source, &StoreError::new("the file is empty")));
    }
    let store = Store::open(source, CACHE_BYTES).map_err(|error| damaged(source, &error))?;
    let format = store.format().map_err(|error| damaged(source, &error))?;
    match format {
        Some(found) if found > FORMAT => {
            let directory = path.parent().unwrap_or(&path).to_owned();
            return Err(OpenError::Newer { directory, found, known: FORMAT });
        }
        Some(_) => {}
        None => return Err(damaged(source, &StoreError::new("it holds no journal"))),
    }
    let no_record = || StoreError::new("the journal's own record is missing");
    let meta = store.meta().and_then(|meta| meta.ok_or_else(no_record));
    let meta = meta.map_err(|error| damaged(source, &error))?;
    let inspection = salvage::inspect(&store, &meta);
    if inspection.losses.is_empty() {
        return Ok(Trusted { store, meta, inspection });
    }
    salvage::rebuild(store, source, &meta, inspection, wall_ms)
}

/// Gives room back to the file system where most of the file is empty.
fn compacted(mut store: Store, source: &Source, meta: &Meta) -> Result<Store, OpenError> {
    let Some(path) = source.path() else { return Ok(store) };
    let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let snapshot = meta.snapshot.map_or(0, |snapshot| snapshot.bytes);
    let used = meta.event_bytes + meta.heartbeat_bytes + 2 * snapshot;
    if length > COMPACT_ABOVE && used < length / 4 {
        store.compact().map_err(|error| damaged(source, &error))?;
    }
    Ok(store)
}

fn letters(store: &Store, options: &Options, meta: &Meta) -> Result<Book, StoreError> {
    let mut stored = Vec::new();
    store.view()?.rows(Room::Letters, (0, u64::MAX), |id, row| {
        if codec::is_sound(row) {
            stored.push((id, row.len() as u32));
        }
        Ok(true)
    })?;
    Ok(Book::new(options.dead_letters, meta.last_letter, stored))
}

/// Appends an event for each gap.
fn tell_gaps(shared: &Shared, gaps: &[Gap]) {
    let mut queue = shared.queue.lock();
    for gap in gaps {
        let reason = lost_events(gap);
        let told = Truncated { from_seq: gap.from, to_seq: gap.to + 1, reason };
        let kind = Some(EventKind::Truncated(told));
        shared.append_own(&mut queue, Event { kind, ..Event::default() });
    }
}

fn file(source: &Source) -> PathBuf {
    source.path().unwrap_or(Path::new("in memory")).to_owned()
}

pub(crate) fn damaged(source: &Source, error: &StoreError) -> OpenError {
    OpenError::Damaged { file: file(source), reason: error.to_string() }
}

fn no_chance(source: &Source, error: std::io::Error) -> OpenError {
    OpenError::Unwritable { file: file(source), reason: format!("no random numbers: {error}") }
}
