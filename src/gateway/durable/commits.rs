//! Who waits for which event to be durable.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use pulsegate_journal::Notice;
use tokio::sync::oneshot;

use crate::watch::Hub;

/// Stands for an event that an answer waits for: everything up to it is durable, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(NonZeroU64);

/// What must be durable could not be made durable in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be made durable now")]
pub struct Unavailable;

/// What the journal's writer has done, and who waits for more.
pub(super) struct Commits {
    /// The newest event that is durable.
    durable: AtomicU64,
    read_only: AtomicBool,
    waiting: Mutex<Waiting>,
    hub: Arc<Hub>,
}

/// Those who wait, by the event that they wait for.
#[derive(Default)]
struct Waiting {
    by_seq: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

impl Mark {
    /// The mark of the event with this number.
    pub(super) fn of(seq: u64) -> Self {
        Self(NonZeroU64::new(seq).unwrap_or(NonZeroU64::MIN))
    }

    const fn seq(self) -> u64 {
        self.0.get()
    }
}

impl Commits {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            durable: AtomicU64::new(0),
            read_only: AtomicBool::new(false),
            waiting: Mutex::default(),
            hub,
        }
    }

    /// What was durable before this process began.
    pub(super) fn begin(&self, last_seq: u64) {
        self.durable.fetch_max(last_seq, SeqCst);
    }

    pub(super) fn is_durable(&self, mark: Mark) -> bool {
        self.durable.load(SeqCst) >= mark.seq()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.load(SeqCst)
    }

    /// Takes a notice of the journal's writer.
    pub(super) fn take(&self, notice: Notice<'_>) {
        match notice {
            Notice::Committed(events) => {
                let Some(last) = events.last() else { return };
                self.hub.publish(events);
                self.durable.fetch_max(last.seq, SeqCst);
                let ready = {
                    let mut waiting = self.waiting.lock();
                    let later = waiting.by_seq.split_off(&(last.seq + 1));
                    std::mem::replace(&mut waiting.by_seq, later)
                };
                for waiter in ready.into_values().flatten() {
                    // Whoever gave up waiting has answered already.
                    let _ = waiter.send(());
                }
            }
            Notice::ReadOnly { reason } => {
                tracing::error!(reason, "the journal cannot be written: read-only");
                self.read_only.store(true, SeqCst);
                // Dropping its sender tells each of them.
                self.waiting.lock().by_seq.clear();
            }
            Notice::Writable { lasted_ms } => {
                tracing::warn!(lasted_ms, "the journal can be written again");
                self.read_only.store(false, SeqCst);
            }
        }
    }

    /// Whoever awaits it is told when the mark's event is durable.
    pub(super) fn wait(&self, mark: Mark) -> Result<oneshot::Receiver<()>, Unavailable> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        // Under the lock: a commit in between has either raised this or will find the waiter.
        if self.is_durable(mark) {
            let _ = sender.send(());
        } else if self.is_read_only() {
            return Err(Unavailable);
        } else {
            waiting.by_seq.entry(mark.seq()).or_default().push(sender);
        }
        Ok(receiver)
    }
}
