//! The watch: what happened, in order, for whoever wants to know, and never a silent gap.
//!
//! The journal's writer publishes events here once they are durable, and nothing else does, so a
//! watcher never sees what a restart could take back. A watcher is a place in the journal: it
//! reads on from there, from memory while it keeps up and from the journal when it does not, and
//! where the journal holds no more it is told so. Nobody waits for a watcher.
//!
//! This room may touch `clock`, `config`, `telemetry` and the journal, to read.

mod cursor;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use pulsegate_journal::Journal;
use pulsegate_wire::Event;
use tokio::sync::watch;

pub use cursor::{BadCursor, Cursor};

/// Events kept in memory for watchers that keep up.
///
/// Larger: fewer watchers have to read from disk; at about 500 bytes each, 8 MiB. Source: chosen;
/// a mass failure of several thousand agents fits with what belongs to it.
const RING: usize = 16_384;

/// Events that a watcher takes at a time. Source: chosen; some 100 KiB of JSON.
const TAKE: usize = 256;

/// What one watcher's turn may cost, of all that there is: with n watchers each has its turn every
/// n × this at the earliest, so that all of them together take a tenth of a core, at some ten
/// microseconds a turn. Source: chosen.
const TURN: Duration = Duration::from_micros(100);

/// Most watchers at once. Source: chosen; at about 20 KiB each with their connection.
pub const WATCHERS: usize = 16_384;

/// An event, with its JSON: made once, however many watch.
#[derive(Debug)]
pub struct Shown {
    /// The event.
    pub event: Arc<Event>,
    json: OnceLock<Bytes>,
}

/// Where events are published.
pub struct Hub {
    ring: Mutex<VecDeque<Arc<Shown>>>,
    /// The newest event.
    news: watch::Sender<u64>,
    journal: ArcSwapOption<Journal>,
    epoch: AtomicU32,
    watchers: AtomicUsize,
    closed: AtomicBool,
}

/// What comes next for a watcher.
#[derive(Debug)]
pub enum Next {
    /// These, in order.
    Events(Vec<Arc<Shown>>),
    /// What it would have seen is gone: whoever wants to know has to look at everything anew. It
    /// goes on from the present.
    Reset {
        /// The oldest event that is still there.
        oldest: Cursor,
        /// Where it goes on.
        now: Cursor,
    },
    /// The gateway ends.
    Ended,
}

/// One watcher; it may lag as far as it likes.
pub struct Watcher {
    hub: Arc<Hub>,
    news: watch::Receiver<u64>,
    /// The newest event that it has seen.
    place: Cursor,
    /// Its place is not one of this journal.
    is_lost: bool,
}

impl Shown {
    fn new(event: Arc<Event>) -> Arc<Self> {
        Arc::new(Self { event, json: OnceLock::new() })
    }

    /// Its place.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.event.epoch, seq: self.event.seq }
    }

    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.json
            .get_or_init(|| serde_json::to_vec(&*self.event).unwrap_or_default().into())
            .clone()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            news: watch::Sender::new(0),
            journal: ArcSwapOption::empty(),
            epoch: AtomicU32::new(0),
            watchers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }
}

impl Hub {
    /// Says where older events are read, and in which start of the gateway this is; before this
    /// there are none.
    pub fn connect(&self, journal: Journal, epoch: u32) {
        self.epoch.store(epoch, Relaxed);
        let newest = journal.committed();
        self.news.send_modify(|seq| *seq = newest.max(*seq));
        self.journal.store(Some(Arc::new(journal)));
    }

    /// Lets the journal go: whoever lags is told that what it lacks is gone.
    pub fn disconnect(&self) {
        self.journal.store(None);
    }

    /// Shows events that are durable, in order.
    pub fn publish(&self, events: &[Arc<Event>]) {
        let Some(last) = events.last() else { return };
        {
            let mut ring = self.ring.lock();
            ring.extend(events.iter().cloned().map(Shown::new));
            let surplus = ring.len().saturating_sub(RING);
            ring.drain(..surplus);
        }
        self.news.send_replace(last.seq);
    }

    /// The gateway ends: watchers are told so once they have seen everything.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
        self.news.send_modify(|_| {});
    }

    /// The newest event that is shown.
    #[must_use]
    pub fn now(&self) -> Cursor {
        let epoch = self.ring.lock().back().map(|shown| shown.event.epoch);
        Cursor { epoch: epoch.unwrap_or_else(|| self.epoch()), seq: *self.news.borrow() }
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// Watchers at the moment.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.load(Relaxed)
    }

    /// A watcher that has seen everything up to `from`; without it, everything up to now. `None`
    /// when there are too many.
    #[must_use]
    pub fn watch(self: &Arc<Self>, from: Option<Cursor>) -> Option<Watcher> {
        if self.watchers.fetch_add(1, Relaxed) >= WATCHERS {
            self.watchers.fetch_sub(1, Relaxed);
            return None;
        }
        let now = self.now();
        let from = from.unwrap_or(now);
        let is_lost = from.seq > now.seq || from.epoch > self.epoch();
        let news = self.news.subscribe();
        let mut watcher = Watcher { hub: self.clone(), news, place: from, is_lost };
        watcher.is_lost |= from.seq > 0 && !watcher.knows(from);
        Some(watcher)
    }

    /// Events after `seen` that are kept in memory; `None` when it lies farther back.
    fn recent(&self, seen: u64) -> Option<Vec<Arc<Shown>>> {
        let ring = self.ring.lock();
        let newest = *self.news.borrow();
        let first = ring.front().map_or(newest + 1, |first| first.event.seq);
        let skip = usize::try_from(seen.checked_add(1)?.checked_sub(first)?).ok()?;
        Some(ring.iter().skip(skip).take(TAKE).cloned().collect())
    }

    /// Events after `seen` that lie farther back; `None` when they are gone. This reads from disk.
    fn older(&self, seen: u64) -> Option<Vec<Arc<Shown>>> {
        let events = self.journal.load_full()?.read(seen, TAKE).ok()?;
        Some(events.into_iter().map(|event| Shown::new(Arc::new(event))).collect())
    }

    /// The shortest time between two turns of a watcher.
    fn turn(&self) -> Duration {
        TURN * u32::try_from(self.watchers()).unwrap_or(u32::MAX)
    }
}

impl Watcher {
    /// Whether the event of a cursor is the one that this journal holds, or held. After a restored
    /// backup the same number may be another event.
    fn knows(&self, from: Cursor) -> bool {
        let before = from.seq.saturating_sub(1);
        let events = self.hub.recent(before).or_else(|| self.hub.older(before));
        let first = events.as_deref().and_then(<[_]>::first);
        first.is_none_or(|shown| shown.event.seq != from.seq || shown.event.epoch == from.epoch)
    }

    /// Takes what was found after the last that it has seen. Events that follow each other have
    /// numbers that do; whatever is missing in between is told, however that came to be.
    fn accept(&mut self, found: Option<Vec<Arc<Shown>>>) -> Next {
        let follows = |events: &Vec<Arc<Shown>>| {
            events.first().is_none_or(|shown| shown.event.seq == self.place.seq + 1)
        };
        match found.filter(|events| !self.is_lost && follows(events)) {
            Some(events) => {
                self.place = events.last().map_or(self.place, |shown| shown.cursor());
                Next::Events(events)
            }
            None => {
                let now = self.hub.now();
                (self.is_lost, self.place) = (false, now);
                Next::Reset { oldest: self.oldest(), now }
            }
        }
    }

    /// What is there already; empty when it has seen everything. It may read from disk, on a
    /// thread that may block.
    pub async fn look(&mut self) -> Next {
        // Marked as seen before looking: what is published in between is not missed.
        self.news.borrow_and_update();
        let mut found = self.hub.recent(self.place.seq);
        if found.is_none() && !self.is_lost {
            let (hub, seen) = (self.hub.clone(), self.place.seq);
            let reading = tokio::task::spawn_blocking(move || hub.older(seen));
            found = reading.await.ok().flatten();
        }
        self.accept(found)
    }

    /// Waits until there is something, and takes it. It may be cancelled: nothing is lost.
    pub async fn next(&mut self) -> Next {
        loop {
            match self.look().await {
                Next::Events(events) if events.is_empty() => {}
                next => return next,
            }
            if !self.wait().await {
                return Next::Ended;
            }
        }
    }

    /// Waits until something has happened since the last look; `false` when the gateway ends.
    pub async fn wait(&mut self) -> bool {
        !self.hub.closed.load(Relaxed) && self.news.changed().await.is_ok()
    }

    /// Waits for the watcher's next turn: the more watch, the longer.
    pub async fn rest(&self) {
        tokio::time::sleep(self.hub.turn()).await;
    }

    /// The oldest event that is still there.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        let now = self.hub.now();
        let journal = self.hub.journal.load_full();
        let seq = journal.map_or(now.seq, |journal| journal.status().oldest_seq);
        Cursor { epoch: now.epoch, seq }
    }

    /// The place up to which it has seen everything.
    #[must_use]
    pub fn place(&self) -> Cursor {
        self.place
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.watchers.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("watchers", &self.watchers()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("place", &self.place).finish_non_exhaustive()
    }
}
