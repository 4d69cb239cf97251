//! The thread that writes: takes all that waits, commits it, and says what became durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pulsegate_wire::event::ReadOnly;
use pulsegate_wire::{Event, EventKind};

use crate::codec;
use crate::dead_letters::DeadLetter;
use crate::meta::{Meta, SnapshotMeta};
use crate::options::Notice;
use crate::retention;
use crate::shared::{Mode, Shared, Work, wall_ms};
use crate::snapshot::Done;
use crate::store::{Change, Result, Room, Store, StoreError, weight};
use crate::{HeartbeatRecord, SnapshotError};

/// Most events of one commit: about 2 MiB, so that nobody waits long behind a storm. Source:
/// chosen; half of such commits took 20 ms or less in `benches/journal.rs` on a busy machine.
const BATCH_EVENTS: usize = 16_384;
/// Most rows of snapshots in one commit: 1 MiB, so that nobody waits long behind a snapshot.
/// Source: chosen.
const BATCH_ROWS: usize = 16;
/// Most heartbeats of one commit, about 1 MiB. Source: chosen, as above.
const BATCH_HEARTBEATS: usize = 4_096;
/// Most dead letters of one commit, at most 1 MiB. Source: chosen, as above.
const BATCH_LETTERS: usize = 64;
/// How often the writer looks around without being woken. Source: chosen; heartbeats and dead
/// letters of a gateway without events reach the disk within it.
const TICK: Duration = Duration::from_secs(1);
/// How long core time of an idle gateway may stay in memory. Source: issue 4.
const MARK_AFTER: Duration = Duration::from_secs(60);
/// A commit that takes longer makes the journal read-only. Source: DESIGN §2.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// How often the watchdog looks. Source: chosen; a tenth of what it measures.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Memory for pages of the store. Source: chosen; the end of the journal, which watchers read,
/// lies in it, and the rest is in the kernel's cache.
pub(crate) const CACHE_BYTES: usize = 64 << 20;

/// The thread that writes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// As of the last commit.
    meta: Meta,
    last_commit: Instant,
    last_trim: Option<Instant>,
}

/// What one commit makes durable.
#[derive(Default)]
struct Batch {
    events: Vec<Arc<Event>>,
    rows: Vec<Change>,
    /// Snapshots that are whole with this commit, and who waits for them.
    finished: Vec<(SnapshotMeta, Arc<Done>)>,
    letters: Vec<(u64, Option<Arc<DeadLetter>>)>,
    heartbeats: Vec<HeartbeatRecord>,
    is_last: bool,
    is_clean: bool,
}

/// Nothing could be written until the end.
struct GaveUp(String);

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, meta: Meta) -> Self {
        Self { shared, meta, last_commit: Instant::now(), last_trim: None }
    }

    /// Writes until the journal is closed.
    pub(crate) fn run(mut self) {
        let mut ended = (0, String::new());
        loop {
            let batch = self.next_batch();
            let is_last = batch.is_last;
            if let Err(GaveUp(reason)) = self.write(batch) {
                let queue = self.shared.queue.lock();
                ended = ((queue.taken_events + queue.events.len()) as u64, reason);
                break;
            }
            if is_last {
                break;
            }
        }
        let store = self.shared.store.write().take();
        if let Some(Err(error)) = store.map(Store::close)
            && ended.1.is_empty()
        {
            ended.1 = error.to_string();
        }
        drop(self.shared.lock.lock().take());
        let mut queue = self.shared.queue.lock();
        for work in queue.work.drain(..) {
            if let Work::SnapshotFinish { done, .. } = work {
                done.give(Err(SnapshotError { reason: "the journal is closed".to_owned() }));
            }
        }
        queue.ended = Some(ended);
        drop(queue);
        self.shared.taken.notify_all();
    }

    /// Waits for something to write, and takes it.
    fn next_batch(&mut self) -> Batch {
        let shared = self.shared.clone();
        let mut queue = shared.queue.lock();
        let mut batch = Batch::default();
        let is_trimmed = self.last_trim.is_some();
        while queue.events.is_empty() && queue.work.is_empty() && !queue.is_closing && is_trimmed {
            let timed_out = shared.wake.wait_for(&mut queue, TICK).timed_out();
            if timed_out && self.is_something_due() {
                break;
            }
        }
        if queue.events.len() <= BATCH_EVENTS {
            batch.events = std::mem::take(&mut queue.events);
        } else {
            let rest = queue.events.split_off(BATCH_EVENTS);
            batch.events = std::mem::replace(&mut queue.events, rest);
        }
        queue.taken_events = batch.events.len();
        let durable = batch.events.last().map_or(self.meta.last_seq, |event| event.seq);
        while batch.rows.len() < BATCH_ROWS {
            match queue.work.pop_front() {
                Some(Work::SnapshotRow { key, row }) => {
                    batch.rows.push(Change::put(Room::Snapshots, key, row));
                }
                Some(Work::SnapshotFinish { meta, after_seq, done }) if after_seq <= durable => {
                    batch.finished.push((meta, done));
                }
                Some(too_early) => {
                    queue.work.push_front(too_early);
                    break;
                }
                None => break,
            }
        }
        batch.is_last = queue.is_closing && queue.events.is_empty() && queue.work.is_empty();
        batch.is_clean = batch.is_last && queue.is_clean;
        drop(queue);
        shared.taken.notify_all();
        batch.letters = shared.letters.lock().unwritten(BATCH_LETTERS);
        batch.heartbeats = shared.heartbeats.take(BATCH_HEARTBEATS);
        batch.is_last &= batch.letters.len() < BATCH_LETTERS && shared.heartbeats.is_empty();
        batch.is_clean &= batch.is_last;
        batch
    }

    fn is_something_due(&self) -> bool {
        let is_marked = self.shared.mark_ms.load(Ordering::Relaxed) > self.meta.core_ms;
        !self.shared.heartbeats.is_empty()
            || !self.shared.letters.lock().is_written()
            || (is_marked && self.last_commit.elapsed() >= MARK_AFTER)
            || self.last_trim.is_none_or(|at| at.elapsed() >= retention::EVERY)
    }

    /// Makes a batch durable, however long that takes, and tells of it.
    fn write(&mut self, batch: Batch) -> std::result::Result<(), GaveUp> {
        let (meta, changes) = self.prepare(&batch);
        if changes.is_empty() && batch.finished.is_empty() && !self.must_commit(&batch) {
            return Ok(());
        }
        let mut result = self.commit(&meta, &changes);
        while let Err(error) = result {
            let reason = describe(&error);
            self.shared.turn_read_only(&reason, |_| true);
            for (_, done) in &batch.finished {
                done.give(Err(SnapshotError { reason: reason.clone() }));
            }
            result = self.reopen(&meta, &changes, &reason)?;
        }
        self.meta = meta;
        self.shared.letters.lock().written(&batch.letters);
        self.tell(batch);
        Ok(())
    }

    fn must_commit(&self, batch: &Batch) -> bool {
        let is_marked = self.shared.mark_ms.load(Ordering::Relaxed) > self.meta.core_ms;
        batch.is_clean || (is_marked && (batch.is_last || self.last_commit.elapsed() >= MARK_AFTER))
    }

    /// The changes that make a batch durable, and the record that goes with them.
    fn prepare(&mut self, batch: &Batch) -> (Meta, Vec<Change>) {
        let mut meta = self.meta.clone();
        let mut changes = event_rows(&mut meta, &batch.events);
        for row in &batch.rows {
            meta.last_snapshot = meta.last_snapshot.max(row.key >> 24);
            changes.push(row.clone());
        }
        changes.extend(heartbeat_rows(&mut meta, &batch.heartbeats));
        for (id, letter) in &batch.letters {
            changes.push(match letter {
                Some(letter) => Change::put(Room::Letters, *id, codec::one(&**letter)),
                None => Change::remove(Room::Letters, *id),
            });
        }
        meta.last_letter = self.shared.letters.lock().last_id();
        for (snapshot, _) in &batch.finished {
            meta.snapshot = Some(SnapshotMeta { wall_ms: wall_ms(), ..*snapshot });
            self.last_trim = None;
        }
        if self.last_trim.is_none_or(|at| at.elapsed() >= retention::EVERY) {
            // What cannot be read now is tried again when the store was opened anew.
            let is_more = retention::trim(&self.shared, &mut meta, &mut changes).unwrap_or(false);
            self.last_trim = (!is_more).then(Instant::now);
        }
        meta.core_ms = meta.core_ms.max(self.shared.mark_ms.load(Ordering::Relaxed));
        meta.wall_ms = wall_ms();
        meta.commits += 1;
        meta.clean = batch.is_clean;
        (meta, changes)
    }

    fn commit(&mut self, meta: &Meta, changes: &[Change]) -> Result<()> {
        let since = Instant::now();
        self.shared.queue.lock().commit_since = Some(since);
        let result = match &*self.shared.store.read() {
            Some(store) => store.commit(meta, changes),
            None => Err(StoreError::new("it is closed")),
        };
        self.shared.queue.lock().commit_since = None;
        self.last_commit = Instant::now();
        if result.is_ok() {
            self.shared.measured.lock().commits.add(since.elapsed());
        }
        result
    }

    /// Waits a second, opens the store anew and commits what is not in it yet.
    fn reopen(
        &mut self,
        meta: &Meta,
        changes: &[Change],
        reason: &str,
    ) -> std::result::Result<Result<()>, GaveUp> {
        let is_closing = self.wait_a_tick();
        let bytes = weights(changes);
        let result = self.try_reopen(meta, 2 * bytes + (1 << 20));
        match result {
            // The commit that failed went through after all.
            Ok(true) => Ok(Ok(())),
            // Where there is room for the probe and not for the file, only the commit can tell.
            Ok(false) => match self.commit(meta, changes) {
                Err(_) if is_closing => Err(GaveUp(reason.to_owned())),
                result => Ok(result),
            },
            Err(_) if is_closing => Err(GaveUp(reason.to_owned())),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Opens the store anew. Whether the commit with this record is in it.
    fn try_reopen(&self, meta: &Meta, bytes: u64) -> Result<bool> {
        let source = &self.shared.source;
        if source.path().is_none() {
            return Err(StoreError::new("the memory of the journal is lost"));
        }
        source.probe(bytes).map_err(StoreError::new)?;
        let mut open = self.shared.store.write();
        drop(open.take());
        let store = Store::open(source, CACHE_BYTES)?;
        let found = store.meta()?.ok_or_else(|| StoreError::new("it is empty"))?;
        if found.journal_id != meta.journal_id || found.commits + 1 < meta.commits {
            return Err(StoreError::new("it is not the journal that was written"));
        }
        *open = Some(store);
        Ok(found.commits == meta.commits)
    }

    /// Waits, and not longer than a tick. Whether the journal is being closed.
    fn wait_a_tick(&self) -> bool {
        let until = Instant::now() + TICK;
        let mut queue = self.shared.queue.lock();
        while !queue.is_closing && !self.shared.wake.wait_until(&mut queue, until).timed_out() {}
        queue.is_closing
    }

    /// Tells what became durable, and that writing works again if it did not.
    fn tell(&self, batch: Batch) {
        let listener = self.shared.listener.lock();
        if let Some(last) = batch.events.last() {
            self.shared.committed.store(last.seq, Ordering::Release);
            (*listener)(Notice::Committed(&batch.events));
        }
        {
            let mut measured = self.shared.measured.lock();
            measured.meta = self.meta.clone();
            measured.written += batch.events.len() as u64;
        }
        for (_, done) in batch.finished {
            done.give(Ok(()));
        }
        let mut queue = self.shared.queue.lock();
        queue.taken_events = 0;
        let Mode::ReadOnly { reason, since } = &queue.mode else { return };
        let lasted_ms = since.elapsed().as_millis() as u64;
        let told = EventKind::ReadOnly(ReadOnly { reason: reason.clone(), lasted_ms });
        queue.mode = Mode::Writable;
        let event = Event { at_ms: self.meta.core_ms, kind: Some(told), ..Event::default() };
        self.shared.append_own(&mut queue, event);
        drop(queue);
        (*listener)(Notice::Writable { lasted_ms });
    }
}

/// The rows of new events.
fn event_rows(meta: &mut Meta, events: &[Arc<Event>]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut row = Vec::new();
    let mut first = 0;
    for event in events {
        if codec::is_full(&row, &**event) {
            changes.push(Change::put(Room::Events, first, std::mem::take(&mut row)));
        }
        if row.is_empty() {
            first = event.seq;
        }
        codec::push(&mut row, &**event);
        meta.note(event);
    }
    if !row.is_empty() {
        changes.push(Change::put(Room::Events, first, row));
    }
    meta.event_bytes += weights(&changes);
    changes
}

/// The rows of new heartbeats.
fn heartbeat_rows(meta: &mut Meta, beats: &[HeartbeatRecord]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut row = Vec::new();
    let mut first = meta.heartbeats + 1;
    for beat in beats {
        if codec::is_full(&row, beat) {
            changes.push(Change::put(Room::Heartbeats, first, std::mem::take(&mut row)));
            first = meta.heartbeats + 1;
        }
        codec::push(&mut row, beat);
        meta.heartbeats += 1;
    }
    if !row.is_empty() {
        changes.push(Change::put(Room::Heartbeats, first, row));
    }
    meta.heartbeat_bytes += weights(&changes);
    changes
}

fn weights(changes: &[Change]) -> u64 {
    changes.iter().filter_map(|change| change.row.as_ref()).map(|row| weight(row.len())).sum()
}

/// An error in words that an operator can act upon.
fn describe(error: &StoreError) -> String {
    let text = error.to_string();
    if text.contains("os error 28") || text.contains("no storage space") {
        return "the disk is full".to_owned();
    }
    text
}

/// Turns the journal read-only while a commit is stuck; the writer turns it back.
pub(crate) fn watch(shared: &Shared) {
    let stuck = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > STUCK_AFTER);
    let mut queue = shared.queue.lock();
    while queue.ended.is_none() {
        shared.taken.wait_for(&mut queue, WATCH_EVERY);
        if stuck(queue.commit_since) && matches!(queue.mode, Mode::Writable) {
            drop(queue);
            let reason = "the disk takes longer than 1 s for a commit";
            shared.turn_read_only(reason, |queue| stuck(queue.commit_since));
            queue = shared.queue.lock();
        }
    }
}
