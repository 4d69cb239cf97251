//! What the handles of a journal, its writer and its watchdog share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, RwLock};
use pulsegate_wire::Event;

use crate::dead_letters::Book;
use crate::heartbeats::Waiting;
use crate::lock::Lock;
use crate::meta::{Meta, SnapshotMeta};
use crate::options::{Notice, Options};
use crate::percentiles::Percentiles;
use crate::snapshot::Done;
use crate::store::{Source, Store, StoreError, View};
use crate::{SnapshotError, Unavailable};

/// Most rows of snapshots that wait for the disk: 64 of 60 KiB. Source: chosen; enough to keep the
/// writer busy, little beside the agents themselves.
const WAITING_ROWS: usize = 64;

/// Who is told of commits.
pub(crate) type Listener = Box<dyn Fn(Notice<'_>) + Send>;

/// What the handles, the writer and the watchdog share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) source: Source,
    /// `None` while it is opened anew.
    pub(crate) store: RwLock<Option<Store>>,
    pub(crate) queue: Mutex<Queue>,
    /// The queue has something for the writer.
    pub(crate) wake: Condvar,
    /// The writer took work from the queue, or ended.
    pub(crate) taken: Condvar,
    appended: AtomicU64,
    pub(crate) committed: AtomicU64,
    /// Core time that was last told.
    pub(crate) mark_ms: AtomicU64,
    pub(crate) heartbeats: Waiting,
    pub(crate) letters: Mutex<Book>,
    /// Held while the listener is told, so that it is told one thing after another.
    pub(crate) listener: Mutex<Listener>,
    pub(crate) measured: Mutex<Measured>,
    /// Of the data directory; kept until the store is closed.
    pub(crate) lock: Mutex<Option<Lock>>,
}

/// What waits for the writer.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) epoch: u32,
    pub(crate) events: Vec<Arc<Event>>,
    /// Events that the writer took and did not make durable yet.
    pub(crate) taken_events: usize,
    pub(crate) work: VecDeque<Work>,
    /// Snapshots under way.
    pub(crate) snapshots: BTreeSet<u64>,
    pub(crate) last_snapshot: u64,
    pub(crate) mode: Mode,
    /// Since when a commit is under way.
    pub(crate) commit_since: Option<Instant>,
    /// No more is taken; the writer ends when it wrote what waits.
    pub(crate) is_closing: bool,
    /// The writer has ended: how many events it could not write, and why.
    pub(crate) ended: Option<(u64, String)>,
    /// It was closed with a last event, so the end is in order.
    pub(crate) is_clean: bool,
}

/// Work of the writer besides events.
#[derive(Debug)]
pub(crate) enum Work {
    /// A row of a snapshot.
    SnapshotRow { key: u64, row: Vec<u8> },
    /// A snapshot is whole when its rows and the events up to `after_seq` are durable.
    SnapshotFinish { meta: SnapshotMeta, after_seq: u64, done: Arc<Done> },
}

/// Whether the journal can be written.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Writable,
    ReadOnly { reason: String, since: Instant },
}

/// What was measured and is shown.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) meta: Meta,
    pub(crate) commits: Percentiles,
    pub(crate) written: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        (source, store, lock): (Source, Store, Option<Lock>),
        meta: &Meta,
        letters: Book,
        listener: Listener,
    ) -> Self {
        let queue = Queue {
            epoch: meta.epoch,
            events: Vec::new(),
            taken_events: 0,
            work: VecDeque::new(),
            snapshots: BTreeSet::new(),
            last_snapshot: meta.last_snapshot,
            mode: Mode::Writable,
            commit_since: None,
            is_closing: false,
            ended: None,
            is_clean: false,
        };
        Self {
            options,
            source,
            store: RwLock::new(Some(store)),
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            taken: Condvar::new(),
            appended: AtomicU64::new(meta.last_seq),
            committed: AtomicU64::new(meta.last_seq),
            mark_ms: AtomicU64::new(meta.core_ms),
            heartbeats: Waiting::default(),
            letters: Mutex::new(letters),
            listener: Mutex::new(listener),
            measured: Mutex::new(Measured { meta: meta.clone(), ..Measured::default() }),
            lock: Mutex::new(lock),
        }
    }

    /// Newest number that was given.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// Numbers events and queues them; all or none.
    pub(crate) fn append(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<u64, Unavailable> {
        let mut queue = self.queue.lock();
        queue.may_append()?;
        let room = self.options.queue.saturating_sub(queue.taken_events);
        let before = queue.events.len();
        let epoch = queue.epoch;
        let mut seq = self.appended();
        let mut wall_ms = 0;
        for mut event in events {
            if queue.events.len() >= room {
                queue.events.truncate(before);
                return Err(Unavailable::QueueFull { limit: self.options.queue });
            }
            seq += 1;
            event.epoch = epoch;
            event.seq = seq;
            if event.wall_ms == 0 {
                if wall_ms == 0 {
                    wall_ms = self::wall_ms();
                }
                event.wall_ms = wall_ms;
            }
            queue.events.push(Arc::new(event));
        }
        self.appended.store(seq, Ordering::Release);
        let is_first = before == 0 && !queue.events.is_empty();
        drop(queue);
        if is_first {
            self.wake.notify_one();
        }
        Ok(seq)
    }

    /// Queues events that the journal itself has to tell, whatever its mode.
    pub(crate) fn append_own(&self, queue: &mut Queue, mut event: Event) {
        let seq = self.appended() + 1;
        event.epoch = queue.epoch;
        event.seq = seq;
        event.wall_ms = wall_ms();
        event.at_ms = event.at_ms.max(self.mark_ms.load(Ordering::Relaxed));
        queue.events.push(Arc::new(event));
        self.appended.store(seq, Ordering::Release);
        self.wake.notify_one();
    }

    /// Queues work; waits while too much waits.
    pub(crate) fn push_work(&self, work: Work) -> Result<(), SnapshotError> {
        let mut queue = self.queue.lock();
        loop {
            queue.may_append().map_err(|error| SnapshotError { reason: error.to_string() })?;
            if queue.work.len() < WAITING_ROWS {
                break;
            }
            self.taken.wait(&mut queue);
        }
        queue.work.push_back(work);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn begin_snapshot(&self) -> SnapshotMeta {
        let mut queue = self.queue.lock();
        queue.last_snapshot += 1;
        let id = queue.last_snapshot;
        queue.snapshots.insert(id);
        SnapshotMeta { id, from_seq: self.appended(), ..SnapshotMeta::default() }
    }

    pub(crate) fn end_snapshot(&self, id: u64) {
        let mut queue = self.queue.lock();
        queue.snapshots.remove(&id);
        // Rows that still wait are never needed; a finished one left the queue already.
        let first = crate::snapshot::first_row(id);
        let rows = first..crate::snapshot::first_row(id + 1);
        queue
            .work
            .retain(|work| !matches!(work, Work::SnapshotRow { key, .. } if rows.contains(key)));
    }

    /// What is durable now.
    pub(crate) fn view(&self) -> Result<View, StoreError> {
        let store = self.store.read();
        store.as_ref().ok_or_else(|| StoreError::new("it is being opened anew"))?.view()
    }

    /// Turns the journal read-only where `condition` holds, and says so. Whether it was turned.
    pub(crate) fn turn_read_only(&self, reason: &str, condition: impl Fn(&Queue) -> bool) -> bool {
        let listener = self.listener.lock();
        let mut queue = self.queue.lock();
        if !matches!(queue.mode, Mode::Writable) || !condition(&queue) {
            return false;
        }
        queue.mode = Mode::ReadOnly { reason: reason.to_owned(), since: Instant::now() };
        drop(queue);
        self.taken.notify_all();
        (*listener)(Notice::ReadOnly { reason });
        true
    }
}

impl Queue {
    fn may_append(&self) -> Result<(), Unavailable> {
        if self.is_closing {
            return Err(Unavailable::Closed);
        }
        match &self.mode {
            Mode::Writable => Ok(()),
            Mode::ReadOnly { reason, .. } => Err(Unavailable::ReadOnly { reason: reason.clone() }),
        }
    }
}

/// Unix milliseconds.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
