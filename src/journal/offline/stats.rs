//! Counts of a journal.

use std::collections::BTreeMap;

use pulsegate_wire::Event;

use crate::meta::Meta;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Counts of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Events by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Events by day, oldest first.
    pub days: Vec<Day>,
    /// Events of kinds that this version does not know.
    pub unknown: u64,
    /// All events that are there.
    pub events: u64,
    /// Wall times of the last starts, in Unix milliseconds.
    pub starts_ms: Vec<u64>,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// Bytes of events in it.
    pub event_bytes: u64,
    /// Bytes of recorded heartbeats in it.
    pub heartbeat_bytes: u64,
    /// Bytes of the newest snapshot.
    pub snapshot_bytes: u64,
    /// Recorded heartbeats that are there.
    pub heartbeats: u64,
    /// Dead letters that are there.
    pub dead_letters: u64,
    /// Commits since the journal was created.
    pub commits: u64,
    /// Rows that events are stored in: a commit makes one, or one for each 60 KiB.
    pub event_rows: u64,
    /// What is damaged and lost, in sentences.
    pub losses: Vec<String>,
}

/// Events of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Day {
    /// Beginning of the day by the wall clock, in Unix milliseconds, UTC.
    pub wall_ms: u64,
    /// Events of it.
    pub events: u64,
}

impl Stats {
    pub(crate) fn new(meta: &Meta, file_bytes: u64) -> Self {
        Self {
            starts_ms: meta.starts.clone(),
            file_bytes,
            event_bytes: meta.event_bytes,
            heartbeat_bytes: meta.heartbeat_bytes,
            snapshot_bytes: meta.snapshot.map_or(0, |snapshot| snapshot.bytes),
            commits: meta.commits,
            ..Self::default()
        }
    }

    pub(crate) fn count(&mut self, event: &Event) {
        self.events += 1;
        match &event.kind {
            Some(kind) => *self.kinds.entry(kind.as_str()).or_default() += 1,
            None => self.unknown += 1,
        }
        let wall_ms = event.wall_ms - event.wall_ms % DAY_MS;
        // Clocks are set back at times: then a day comes twice in the journal and once here.
        match self.days.iter_mut().rev().find(|day| day.wall_ms == wall_ms) {
            Some(day) => day.events += 1,
            None => self.days.push(Day { wall_ms, events: 1 }),
        }
    }
}
