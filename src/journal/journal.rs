//! The handle of a journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use pulsegate_wire::Event;

use crate::codec;
use crate::read;
use crate::shared::{Mode, Shared, wall_ms};
use crate::store::Room;
use crate::{
    BackupError, BackupReport, CloseError, DeadLetter, HeartbeatRecord, ReadError, Recording,
    RecordingMode, Snapshot, Unavailable, backup, samples,
};

/// A snapshot is due when more events than this came after the last one: a restart replays them in
/// about two seconds. Source: chosen, with `benches/journal.rs`.
const SNAPSHOT_AFTER_EVENTS: u64 = 2_000_000;

/// A journal that is open. Clones are handles of the same one; when the last is dropped, what waits
/// is written and the journal ends, as after a crash: without the mark of an end in order.
#[derive(Clone, Debug)]
pub struct Journal {
    handle: Arc<Handle>,
}

/// Ends the threads when the last handle goes.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How a journal does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why nothing can be written, if so.
    pub read_only: Option<String>,
    /// For how long nothing could be written, in milliseconds; 0 while it can.
    pub read_only_ms: u64,
    /// Size of the file, in bytes; 0 in memory.
    pub file_bytes: u64,
    /// Bytes of events, heartbeats and dead letters, as they lie in it.
    pub event_bytes: u64,
    /// See `event_bytes`.
    pub heartbeat_bytes: u64,
    /// See `event_bytes`.
    pub dead_letter_bytes: u64,
    /// Oldest event that is there.
    pub oldest_seq: u64,
    /// Newest event that is durable; 0 when there is none.
    pub newest_seq: u64,
    /// Events that wait for a commit.
    pub queue: u64,
    /// Commits since the journal was created.
    pub commits: u64,
    /// Time that half of the last 1,024 commits did not exceed.
    pub commit_p50: Duration,
    /// Time that 99 of 100 did not exceed.
    pub commit_p99: Duration,
    /// Events made durable since it was opened.
    pub written: u64,
    /// Newest event when the newest snapshot was begun; `None` when there is none.
    pub snapshot_seq: Option<u64>,
    /// Wall time since that snapshot was finished, in milliseconds.
    pub snapshot_age_ms: u64,
    /// A snapshot is due: so much came after the last that a restart takes long, or that retention
    /// cannot keep its bounds.
    pub is_snapshot_due: bool,
    /// Heartbeats recorded since the journal was created.
    pub heartbeats: u64,
    /// Heartbeats that were to be recorded and did not fit, since it was opened.
    pub heartbeats_dropped: u64,
    /// Dead letters that there are.
    pub dead_letters: u64,
    /// Dead letters that gave way to newer ones, since it was opened.
    pub dead_letters_evicted: u64,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, threads: [JoinHandle<()>; 2]) -> Self {
        Self { shared, threads: Mutex::new(threads.into()) }
    }

    /// Ends the threads, once what waits is written. How many events were not, and why.
    fn end(&self) -> (u64, String) {
        let mut queue = self.shared.queue.lock();
        queue.is_closing = true;
        self.shared.wake.notify_all();
        self.shared.taken.notify_all();
        let ended = loop {
            match &queue.ended {
                Some(ended) => break ended.clone(),
                None => self.shared.taken.wait(&mut queue),
            }
        };
        drop(queue);
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked said so; one that drops the last handle cannot wait for
            // itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        ended
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

impl Journal {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle: Arc::new(handle) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Numbers events and queues them for the next commit, all or none; returns the number of the
    /// last. Sets `epoch` and `seq`, and `wall_ms` where it is 0. Never waits for the disk.
    ///
    /// # Errors
    /// When the journal is read-only or closed, or too much waits; then nothing has changed.
    pub fn append(&self, events: impl IntoIterator<Item = Event>) -> Result<u64, Unavailable> {
        self.shared().append(events)
    }

    /// Newest event that is durable; 0 when there is none.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.shared().committed.load(Ordering::Acquire)
    }

    /// Newest event that was appended.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.shared().appended()
    }

    /// Tells the core time, in milliseconds. It is made durable with the next commit, and within a
    /// minute without one, so that core time stands still only while nobody serves.
    pub fn mark_time(&self, core_ms: u64) {
        self.shared().mark_ms.fetch_max(core_ms, Ordering::Relaxed);
    }

    /// How it does.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let (mode, queue) = {
            let queue = shared.queue.lock();
            (queue.mode.clone(), queue.events.len() + queue.taken_events)
        };
        let (dead_letters, dead_letter_bytes, dead_letters_evicted) =
            shared.letters.lock().figures();
        let measured = shared.measured.lock();
        let meta = &measured.meta;
        let (commit_p50, commit_p99) = measured.commits.p50_p99();
        let since_snapshot = meta.last_seq - meta.snapshot.map_or(0, |snapshot| snapshot.from_seq);
        let fills = meta.event_bytes > shared.options.retention.max_bytes;
        let mut status = Status {
            event_bytes: meta.event_bytes,
            heartbeat_bytes: meta.heartbeat_bytes,
            dead_letter_bytes,
            oldest_seq: meta.first_seq,
            newest_seq: meta.last_seq,
            queue: queue as u64,
            commits: meta.commits,
            commit_p50,
            commit_p99,
            written: measured.written,
            snapshot_seq: meta.snapshot.map(|snapshot| snapshot.from_seq),
            snapshot_age_ms: meta
                .snapshot
                .map_or(0, |snapshot| wall_ms().saturating_sub(snapshot.wall_ms)),
            is_snapshot_due: since_snapshot > SNAPSHOT_AFTER_EVENTS || fills,
            heartbeats: meta.heartbeats,
            heartbeats_dropped: shared.heartbeats.dropped(),
            dead_letters,
            dead_letters_evicted,
            ..Status::default()
        };
        drop(measured);
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        status.file_bytes = shared.source.path().map_or(0, length);
        if let Mode::ReadOnly { reason, since } = mode {
            status.read_only = Some(reason);
            status.read_only_ms = since.elapsed().as_millis() as u64;
        }
        status
    }

    /// Events after `after_seq` that are durable, in order, at most `limit`; none after a gap.
    /// Beside the writer, without holding it up.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the next event is no longer there.
    pub fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        if after_seq >= self.committed() {
            return Ok(Vec::new());
        }
        read::read(&self.view()?, after_seq, limit)
    }

    fn view(&self) -> Result<crate::store::View, ReadError> {
        self.shared().view().map_err(unavailable)
    }

    /// Begins a snapshot. Rows that are taken from now on, at any time, are right.
    #[must_use]
    pub fn begin_snapshot(&self) -> Snapshot {
        Snapshot::begin(self.shared().clone())
    }

    /// Whether heartbeats of the agent with this hash are to be recorded, in a fleet of `agents`.
    #[must_use]
    pub fn is_recorded(&self, hash: u64, agents: u64) -> bool {
        match self.shared().options.recording {
            Recording { mode: RecordingMode::Off, .. } => false,
            Recording { mode: RecordingMode::Sample, .. } => samples(hash, agents),
            Recording { mode: RecordingMode::All, .. } => true,
        }
    }

    /// Records a heartbeat with one of the next commits; nobody waits for it. Dropped and counted
    /// when 65,536 wait, and dropped when recording is off.
    pub fn record(&self, beat: HeartbeatRecord) {
        if self.shared().options.recording.mode != RecordingMode::Off {
            self.shared().heartbeats.push(beat);
        }
    }

    /// Recorded heartbeats after number `after`, with their numbers, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn heartbeats(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, HeartbeatRecord)>, ReadError> {
        let mut beats = Vec::new();
        crate::offline::heartbeats_of(&self.view()?, after, |number, beat| {
            beats.push((number, beat));
            beats.len() < limit
        })
        .map_err(unavailable)?;
        Ok(beats)
    }

    /// Keeps a dead letter, and returns its number. It is durable within about a second.
    pub fn dead_letter(&self, letter: DeadLetter) -> u64 {
        self.shared().letters.lock().push(letter)
    }

    /// Dead letters with numbers above `after`, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, ReadError> {
        let view = self.view()?;
        let ids = self.shared().letters.lock().ids_after(after, limit);
        let mut letters = Vec::with_capacity(ids.len());
        for id in ids {
            letters.extend(self.letter(&view, id)?);
        }
        Ok(letters)
    }

    /// The dead letter with this number, if it is there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, ReadError> {
        let view = self.view()?;
        self.letter(&view, id)
    }

    /// Removes the dead letter with this number and hands it over; of two that ask, one gets it.
    ///
    /// # Errors
    /// When the store cannot be read; then it stays.
    pub fn take_dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, ReadError> {
        let letter = self.find_dead_letter(id)?;
        let was_there = self.shared().letters.lock().remove(id);
        Ok(letter.filter(|_| was_there))
    }

    /// Removes every dead letter with a number up to `to`. How many they were.
    pub fn purge_dead_letters(&self, to: u64) -> u64 {
        let mut book = self.shared().letters.lock();
        let ids: Vec<u64> = book.ids_after(0, usize::MAX);
        ids.into_iter().take_while(|&id| id <= to).filter(|&id| book.remove(id)).count() as u64
    }

    fn letter(&self, view: &crate::store::View, id: u64) -> Result<Option<DeadLetter>, ReadError> {
        {
            let book = self.shared().letters.lock();
            match (book.has(id), book.waiting(id)) {
                (false, _) => return Ok(None),
                (true, Some(letter)) => return Ok(Some(DeadLetter::clone(&letter))),
                (true, None) => {}
            }
        }
        let row = view.row(Room::Letters, id).map_err(unavailable)?;
        match row {
            Some(row) => Ok(codec::read_one(&row).ok()),
            // It was written after the view was taken.
            None => {
                let row = self.view()?.row(Room::Letters, id).map_err(unavailable)?;
                Ok(row.and_then(|row| codec::read_one(&row).ok()))
            }
        }
    }

    /// Writes a copy of what is durable now, consistent in itself, beside the writer.
    ///
    /// # Errors
    /// When the file exists or cannot be written, or the journal cannot be read.
    pub fn backup(&self, file: &Path) -> Result<BackupReport, BackupError> {
        let failed = |error: crate::store::StoreError| BackupError {
            file: file.to_owned(),
            reason: error.to_string(),
        };
        backup::copy(&self.shared().view().map_err(failed)?, file)
    }

    /// Writes what waits and, after it, a last event, and ends the journal in order. Other handles
    /// can still read nothing and append nothing.
    ///
    /// # Errors
    /// When it was closed before, or the disk does not take what waits.
    pub fn close(&self, ended: Event) -> Result<(), CloseError> {
        {
            let mut queue = self.shared().queue.lock();
            if queue.is_closing {
                let reason = "the journal is closed".to_owned();
                return Err(CloseError { events: 1, reason });
            }
            self.shared().append_own(&mut queue, ended);
            queue.is_clean = true;
            queue.is_closing = true;
        }
        match self.handle.end() {
            (0, reason) if reason.is_empty() => Ok(()),
            (events, reason) => Err(CloseError { events, reason }),
        }
    }
}

fn unavailable(error: crate::store::StoreError) -> ReadError {
    ReadError::Unavailable { reason: error.to_string() }
}
