//! What a journal is asked to be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_wire::Event;

use crate::DeadLetterLimits;

/// What a journal is asked to be. [`Options::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is kept.
    pub place: Place,
    /// How long events are kept.
    pub retention: Retention,
    /// Which heartbeats are recorded, and how long.
    pub recording: Recording,
    /// How many dead letters are kept.
    pub dead_letters: DeadLetterLimits,
    /// Most events that wait for a commit, 1 to 16,777,216; default 262,144: what a mass failure
    /// of that many agents causes at once, in about 100 MiB. Larger: survives longer stalls of the
    /// disk, and needs more memory. Smaller: appends are refused sooner.
    pub queue: usize,
}

impl Options {
    /// The defaults, at a place.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self {
            place,
            retention: Retention::default(),
            recording: Recording::default(),
            dead_letters: DeadLetterLimits::default(),
            queue: 262_144,
        }
    }
}

/// Where a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this directory, which is made if it does not exist, for its owner only.
    Directory(PathBuf),
    /// In memory: it ends with the process.
    Memory,
}

/// How long events are kept. Only what the newest snapshot made superfluous can go, so a journal
/// that is never given a snapshot keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Longest time by the wall clock; default 7 days: an incident of last week can be looked at.
    pub max_age: Duration,
    /// Most bytes of events; default 4 GiB, about 40 million events. The file also holds the
    /// newest snapshot, heartbeats and dead letters.
    pub max_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(7 * 24 * 3_600), max_bytes: 4 << 30 }
    }
}

/// Which heartbeats are recorded, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Which.
    pub mode: RecordingMode,
    /// Longest time by the wall clock; default one day: policies are tried on yesterday.
    pub max_age: Duration,
    /// Most bytes of them; default 1 GiB, a day of a thousand agents.
    pub max_bytes: u64,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            mode: RecordingMode::Sample,
            max_age: Duration::from_secs(24 * 3_600),
            max_bytes: 1 << 30,
        }
    }
}

/// Which heartbeats are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordingMode {
    /// None.
    Off,
    /// The whole streams of agents that their hash chose, about a thousand ([`crate::samples`]).
    #[default]
    Sample,
    /// All.
    All,
}

/// What the listener of a journal is told, on the journal's own threads, one at a time. It must
/// not wait for the journal.
#[derive(Debug)]
pub enum Notice<'a> {
    /// These events are durable now; in order, and nothing is left out.
    Committed(&'a [Arc<Event>]),
    /// Nothing can be written.
    ReadOnly {
        /// Why.
        reason: &'a str,
    },
    /// Writing works again; what had waited was committed before this is said.
    Writable {
        /// How long it did not, in milliseconds.
        lasted_ms: u64,
    },
}
