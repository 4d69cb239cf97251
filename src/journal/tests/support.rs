//! A directory of its own for each test, events to append, a listener that remembers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pulsegate_wire::event::{InForce, Standing};
use pulsegate_wire::{AgentRecord, Event, EventKind};

use crate::open::{FILE, open_at};
use crate::store::{Faults, Source};
use crate::{Journal, Notice, OpenError, Opened, Options, Place, lock};

/// How long anything may take. Generous: the machine may be busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A wall time to open at.
pub(crate) const WALL_MS: u64 = 1_790_000_000_000;

/// A directory that goes with its test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pulsegate-journal-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(Place::Directory(self.0.clone()))
    }

    pub(crate) fn open(&self) -> Opened {
        self.open_with(self.options())
    }

    pub(crate) fn open_with(&self, options: Options) -> Opened {
        Journal::open(options, WALL_MS, Box::new(|_| ())).unwrap()
    }

    pub(crate) fn open_error(&self) -> OpenError {
        Journal::open(self.options(), WALL_MS, Box::new(|_| ())).map(drop).unwrap_err()
    }

    /// Opens it on a disk that fails as told, with a listener that remembers.
    pub(crate) fn open_faulty(&self, faults: &Arc<Faults>, heard: &Arc<Heard>) -> Opened {
        let source = Source::Faulty(self.file(), faults.clone());
        let lock = lock::take(&self.0).unwrap();
        open_at(self.options(), source, Some(lock), WALL_MS, heard.listener()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a listener was told.
#[derive(Default)]
pub(crate) struct Heard {
    notices: Mutex<Vec<Told>>,
    more: Condvar,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Committed(u64),
    ReadOnly(String),
    Writable,
}

impl Heard {
    pub(crate) fn listener(self: &Arc<Self>) -> Box<dyn Fn(Notice<'_>) + Send> {
        let heard = self.clone();
        Box::new(move |notice| {
            let mut notices = heard.notices.lock();
            match notice {
                Notice::Committed(events) => {
                    notices.extend(events.iter().map(|event| Told::Committed(event.seq)));
                }
                Notice::ReadOnly { reason } => notices.push(Told::ReadOnly(reason.to_owned())),
                Notice::Writable { .. } => notices.push(Told::Writable),
            }
            heard.more.notify_all();
        })
    }

    /// Waits until what was told satisfies `is_enough`, and returns it.
    pub(crate) fn until(&self, is_enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let until = Instant::now() + PATIENCE;
        let mut notices = self.notices.lock();
        while !is_enough(&notices) {
            let timed_out = self.more.wait_until(&mut notices, until).timed_out();
            assert!(!timed_out, "only this was told: {notices:?}");
        }
        notices.clone()
    }
}

/// An event of an agent.
pub(crate) fn event(number: u64) -> Event {
    Event {
        at_ms: number * 10,
        wall_ms: WALL_MS + number,
        tenant: "default".to_owned(),
        agent_id: format!("agent-{}", number % 97),
        class: "normal".to_owned(),
        standing: Some(standing(number)),
        kind: Some(EventKind::InForce(InForce { from_ms: 30_000 })),
        ..Event::default()
    }
}

pub(crate) fn standing(number: u64) -> Standing {
    Standing { state: 2, incarnation: number, in_force_ms: 30_000, ..Standing::default() }
}

pub(crate) fn agent(number: u64) -> AgentRecord {
    AgentRecord {
        tenant: "default".to_owned(),
        agent_id: format!("agent-{number}"),
        class: "normal".to_owned(),
        standing: Some(standing(number)),
        ..AgentRecord::default()
    }
}

/// Waits until a condition holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Waits until everything that was appended is durable.
pub(crate) fn settle(journal: &Journal) {
    until("all is durable", || journal.committed() == journal.appended());
}
