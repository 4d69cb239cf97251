//! The journal of a simulated gateway: what was recorded, how much of it is durable, and a disk
//! that is quick, slow or full.
//!
//! One commit at a time takes all that waits when it begins, as the real writer does. A kill leaves
//! what was committed, and of a commit under way all or nothing.

use pulsegate_wire::event::{AgentRecord, Event, LeaseGranted};

use crate::random::Random;
use crate::server::{MS, Micros, SECOND};

/// How the disk works.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Mean time of a commit, exponentially distributed.
    pub commit: Micros,
    /// Share of commits that take long.
    pub slow: f64,
    /// Median of those, lognormally distributed.
    pub slow_median: Micros,
    /// Mean time from one full disk to the next; `None` for never.
    pub full_every: Option<Micros>,
    /// Mean time until there is room again.
    pub full_lasts: Micros,
}

impl Default for Disk {
    /// A common solid-state disk: 2 ms.
    fn default() -> Self {
        Self {
            commit: 2 * MS,
            slow: 0.0,
            slow_median: 300 * MS,
            full_every: None,
            full_lasts: 30 * SECOND,
        }
    }
}

/// A commit that takes longer makes the gateway read-only. Source: DESIGN §2.
pub(super) const STUCK: Micros = SECOND;

/// Core time of an idle gateway is made durable this often. Source: the journal's writer.
const MARK: Micros = 60 * SECOND;

/// A snapshot: rows, and the number of the last event that they need not be followed by.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) rows: Vec<AgentRecord>,
    pub(super) leases: Vec<LeaseGranted>,
    from: u64,
}

/// A commit under way.
#[derive(Clone, Debug)]
struct Commit {
    upto: u64,
    began: Micros,
    done_at: Micros,
    core_ms: u64,
    floor_base_ms: u32,
    snapshot: Option<Snapshot>,
}

/// What was recorded.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Disk,
    random: Random,
    snapshot: Snapshot,
    /// Events since the snapshot.
    events: Vec<Event>,
    /// Number of the event before the first of them.
    before: u64,
    durable: u64,
    core_ms: u64,
    commit: Option<Commit>,
    /// To go with the next commit.
    next_snapshot: Option<Snapshot>,
    read_only: bool,
    full_at: Micros,
    full_until: Micros,
    marked_at: Micros,
    pub(super) epoch: u32,
    /// The fleet's floor as it was recorded last.
    pub(super) floor_base_ms: u32,
    durable_floor_ms: u32,
}

/// What the passing of time did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// More is durable.
    Committed,
    /// A commit takes so long that nothing may wait for it.
    ReadOnly,
    /// More is durable, and writing works again.
    Writable,
}

impl Journal {
    pub(super) fn new(disk: Disk, seed: u64) -> Self {
        let mut random = Random::new(seed, "disk");
        let full_at = next_full(&disk, &mut random, 0);
        Self {
            disk,
            random,
            snapshot: Snapshot::default(),
            events: Vec::new(),
            before: 0,
            durable: 0,
            core_ms: 0,
            commit: None,
            next_snapshot: None,
            read_only: false,
            full_at,
            full_until: 0,
            marked_at: 0,
            epoch: 1,
            floor_base_ms: 0,
            durable_floor_ms: 0,
        }
    }

    /// From now on the disk works as it should.
    pub(super) fn heal(&mut self, now: Micros) {
        self.disk = Disk { commit: self.disk.commit, ..Disk::default() };
        self.full_at = Micros::MAX;
        self.full_until = now;
        if let Some(commit) = &mut self.commit {
            commit.done_at = commit.done_at.min(now + self.disk.commit);
        }
    }

    /// Number of the newest event.
    pub(super) fn appended(&self) -> u64 {
        self.before + self.events.len() as u64
    }

    pub(super) fn is_durable(&self, mark: u64) -> bool {
        mark <= self.durable
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Events since the snapshot.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether everything is durable, and a snapshot that has to make up for something is too.
    pub(super) fn is_whole(&self) -> bool {
        let owes = self.commit.as_ref().is_some_and(|commit| commit.snapshot.is_some());
        !self.read_only && !owes && self.next_snapshot.is_none()
    }

    /// Appends events. The caller does not while it is read-only.
    pub(super) fn append(
        &mut self,
        now: Micros,
        core_ms: u64,
        events: impl Iterator<Item = Event>,
    ) {
        assert!(!self.read_only, "nothing is recorded in read-only mode");
        self.events.extend(events);
        self.begin(now, core_ms);
    }

    /// Rows of everybody as they stand now go with the next commit.
    pub(super) fn take_snapshot(
        &mut self,
        now: Micros,
        core_ms: u64,
        (rows, leases): (Vec<AgentRecord>, Vec<LeaseGranted>),
    ) {
        self.next_snapshot = Some(Snapshot { rows, leases, from: self.appended() });
        self.begin(now, core_ms);
    }

    fn begin(&mut self, now: Micros, core_ms: u64) {
        let is_behind = self.floor_base_ms != self.durable_floor_ms;
        let has_work = is_behind || self.durable < self.appended() || self.next_snapshot.is_some();
        let is_marked = now >= self.marked_at + MARK;
        if self.commit.is_some() || !(has_work || is_marked) {
            return;
        }
        self.marked_at = now;
        let done_at = now + self.duration(now);
        self.commit = Some(Commit {
            upto: self.appended(),
            began: now,
            done_at,
            core_ms,
            floor_base_ms: self.floor_base_ms,
            snapshot: self.next_snapshot.take(),
        });
    }

    fn duration(&mut self, now: Micros) -> Micros {
        if now >= self.full_at {
            self.full_until = now + self.random.exponential(self.disk.full_lasts as f64) as Micros;
            self.full_at = next_full(&self.disk, &mut self.random, self.full_until);
        }
        if now < self.full_until {
            return self.full_until - now + self.disk.commit;
        }
        if self.random.happens(self.disk.slow) {
            let lasts = self.random.lognormal(self.disk.slow_median as f64, 1.0);
            return (lasts as Micros).clamp(1, 60 * SECOND);
        }
        1 + self.random.exponential(self.disk.commit as f64) as Micros
    }

    /// When something happens by itself.
    pub(super) fn next_deadline(&self) -> Micros {
        match &self.commit {
            Some(commit) if self.read_only => commit.done_at,
            Some(commit) => commit.done_at.min(commit.began + STUCK),
            None => self.marked_at + MARK,
        }
    }

    /// Lets time come to `now`; to be called until it says that nothing happened.
    pub(super) fn handle_time(&mut self, now: Micros, core_ms: u64) -> Option<Turn> {
        self.begin(now, core_ms);
        let commit = self.commit.as_ref()?;
        if commit.done_at > now {
            let is_stuck = !self.read_only && commit.began + STUCK <= now;
            self.read_only |= is_stuck;
            return is_stuck.then_some(Turn::ReadOnly);
        }
        let commit = self.commit.take()?;
        self.settle(commit);
        let turn = if self.read_only { Turn::Writable } else { Turn::Committed };
        self.read_only = false;
        self.begin(now, core_ms);
        Some(turn)
    }

    fn settle(&mut self, commit: Commit) {
        self.durable = commit.upto;
        self.core_ms = commit.core_ms;
        self.durable_floor_ms = commit.floor_base_ms;
        if let Some(snapshot) = commit.snapshot {
            let gone = (snapshot.from - self.before) as usize;
            self.events.drain(..gone);
            self.before = snapshot.from;
            self.snapshot = snapshot;
        }
    }

    /// The process is killed: what is not durable is gone.
    pub(super) fn crash(&mut self) {
        if let Some(commit) = self.commit.take()
            && self.random.happens(0.5)
        {
            self.settle(commit);
        }
        self.next_snapshot = None;
        self.read_only = false;
        self.floor_base_ms = self.durable_floor_ms;
        self.events.truncate((self.durable - self.before) as usize);
    }

    /// The next process opens it: rows, events since, and the core time to go on from.
    pub(super) fn open(&mut self, now: Micros) -> (Snapshot, Vec<Event>, u64) {
        self.epoch += 1;
        self.marked_at = now;
        let (snapshot, events) = self.recorded();
        let newest = events.last().map_or(0, |event| event.at_ms);
        (snapshot.clone(), events.to_vec(), self.core_ms.max(newest))
    }

    /// Rows, and all events since.
    pub(super) fn recorded(&self) -> (&Snapshot, &[Event]) {
        (&self.snapshot, &self.events)
    }
}

fn next_full(disk: &Disk, random: &mut Random, now: Micros) -> Micros {
    disk.full_every
        .map_or(Micros::MAX, |every| now.saturating_add(random.exponential(every as f64) as Micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(disk: Disk) -> Journal {
        Journal::new(disk, 5)
    }

    fn append(journal: &mut Journal, now: Micros, at_ms: u64) {
        journal.append(now, at_ms, std::iter::once(Event { at_ms, ..Event::default() }));
    }

    #[test]
    fn a_kill_keeps_what_was_committed_and_of_a_commit_under_way_all_or_nothing() {
        let mut kept = Vec::new();
        for seed in 0..64 {
            let mut journal = Journal::new(Disk::default(), seed);
            append(&mut journal, 0, 1);
            let done = journal.next_deadline();
            assert_eq!(journal.handle_time(done, 1), Some(Turn::Committed));
            assert!(journal.is_durable(1));
            append(&mut journal, done, 2);
            append(&mut journal, done, 3);
            journal.crash();
            kept.push(journal.open(done).1.len());
        }
        assert!(kept.iter().all(|kept| (1..=2).contains(kept)), "the third was in no commit");
        assert!(kept.contains(&1) && kept.contains(&2));
    }

    #[test]
    fn a_slow_commit_makes_it_read_only_after_a_second_and_until_it_is_done() {
        let slow = Disk { slow: 1.0, slow_median: 10 * SECOND, ..Disk::default() };
        let mut journal = journal(slow);
        append(&mut journal, 0, 1);
        let done = journal.commit.as_ref().map_or(0, |commit| commit.done_at);
        assert!(done > SECOND);
        assert_eq!(journal.next_deadline(), SECOND);
        assert_eq!(journal.handle_time(SECOND, 1), Some(Turn::ReadOnly));
        assert_eq!(journal.next_deadline(), done);
        assert_eq!(journal.handle_time(done, 1), Some(Turn::Writable));
        assert!(!journal.is_read_only() && journal.is_durable(1));
    }

    #[test]
    fn a_snapshot_takes_the_place_of_what_came_before() {
        let mut journal = journal(Disk::default());
        append(&mut journal, 0, 1);
        journal.take_snapshot(0, 1, (vec![AgentRecord::default()], Vec::new()));
        append(&mut journal, 0, 2);
        assert!(!journal.is_whole());
        while journal.commit.is_some() {
            let at = journal.next_deadline();
            journal.handle_time(at, 2);
        }
        let (snapshot, events) = journal.recorded();
        assert_eq!((snapshot.rows.len(), events.len(), journal.appended()), (1, 1, 2));
        assert!(journal.is_whole());
    }
}
