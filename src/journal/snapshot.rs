//! A snapshot: the rows of every agent and lease, taken while events go on.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use pulsegate_wire::AgentRecord;
use pulsegate_wire::event::LeaseGranted;

use crate::SnapshotError;
use crate::codec;
use crate::meta::SnapshotMeta;
use crate::shared::{Shared, Work};

/// One record of a snapshot: an agent or a lease.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotEntry {
    #[prost(message, optional, tag = "1")]
    pub(crate) agent: Option<AgentRecord>,
    #[prost(message, optional, tag = "2")]
    pub(crate) lease: Option<LeaseGranted>,
    /// Tenant of the lease.
    #[prost(string, tag = "3")]
    pub(crate) tenant: String,
}

/// Where rows of snapshot `id` begin.
pub(crate) const fn first_row(id: u64) -> u64 {
    id << 24
}

/// A snapshot under way. It need not be of one moment: a row may be taken at any time after the
/// beginning, since every event after the beginning is applied to it at a restart. What is dropped
/// unfinished is discarded, and the one before stays in use.
#[derive(Debug)]
pub struct Snapshot {
    shared: Arc<Shared>,
    meta: SnapshotMeta,
    row: Vec<u8>,
    failed: Option<SnapshotError>,
}

impl Snapshot {
    pub(crate) fn begin(shared: Arc<Shared>) -> Self {
        let meta = shared.begin_snapshot();
        Self { shared, meta, row: Vec::new(), failed: None }
    }

    /// Newest event when it was begun.
    #[must_use]
    pub const fn from_seq(&self) -> u64 {
        self.meta.from_seq
    }

    /// Adds agents. Waits while 4 MiB of rows wait for the disk, so no lock should be held.
    pub fn add(&mut self, agents: Vec<AgentRecord>) {
        self.meta.agents += agents.len() as u64;
        for agent in agents {
            self.push(&SnapshotEntry { agent: Some(agent), ..SnapshotEntry::default() });
        }
    }

    /// Adds leases that are held, with the tenant of each.
    pub fn add_leases(&mut self, leases: Vec<(String, LeaseGranted)>) {
        self.meta.leases += leases.len() as u64;
        for (tenant, lease) in leases {
            self.push(&SnapshotEntry { tenant, lease: Some(lease), ..SnapshotEntry::default() });
        }
    }

    fn push(&mut self, entry: &SnapshotEntry) {
        if codec::is_full(&self.row, entry) {
            self.send();
        }
        codec::push(&mut self.row, entry);
    }

    fn send(&mut self) {
        let row = std::mem::take(&mut self.row);
        if self.failed.is_some() || row.is_empty() {
            return;
        }
        let key = first_row(self.meta.id) + u64::from(self.meta.rows);
        self.meta.rows += 1;
        self.meta.bytes += row.len() as u64;
        self.failed = self.shared.push_work(Work::SnapshotRow { key, row }).err();
    }

    /// Makes it the one that a restart begins from, once it is durable.
    ///
    /// # Errors
    /// When the journal is or becomes read-only, or is closed: the snapshot before stays in use.
    pub fn finish(mut self) -> Result<(), SnapshotError> {
        self.send();
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let done = Arc::new(Done::default());
        let after_seq = self.shared.appended();
        let work = Work::SnapshotFinish { meta: self.meta, after_seq, done: done.clone() };
        self.shared.push_work(work)?;
        done.wait()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.shared.end_snapshot(self.meta.id);
    }
}

/// An answer that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Done {
    answer: Mutex<Option<Result<(), SnapshotError>>>,
    given: Condvar,
}

impl Done {
    pub(crate) fn give(&self, answer: Result<(), SnapshotError>) {
        *self.answer.lock() = Some(answer);
        self.given.notify_all();
    }

    fn wait(&self) -> Result<(), SnapshotError> {
        let mut answer = self.answer.lock();
        loop {
            match answer.take() {
                Some(answer) => return answer,
                None => self.given.wait(&mut answer),
            }
        }
    }
}
