//! What a restart begins from: the rows of the newest snapshot, then the events since it began.

use std::sync::Arc;

use prost::Message;
use pulsegate_wire::event::LeaseGranted;
use pulsegate_wire::{AgentRecord, Event};

use crate::ReplayError;
use crate::codec;
use crate::meta::{Gap, SnapshotMeta};
use crate::read;
use crate::shared::Shared;
use crate::snapshot::{SnapshotEntry, first_row};
use crate::store::{Result, Room, StoreError, View};

/// One thing that was known.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An agent, as it stood some time after the snapshot began.
    Agent(AgentRecord),
    /// A lease, likewise.
    Lease {
        /// Its tenant.
        tenant: String,
        /// Who holds it.
        lease: LeaseGranted,
    },
    /// What happened since the snapshot began. An event can be older than the row that it is
    /// about: rows and events both say how things stood afterwards, so the last one wins.
    Event(Event),
}

/// What was replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Agents in the snapshot.
    pub agents: u64,
    /// Leases in the snapshot.
    pub leases: u64,
    /// Events since it began.
    pub events: u64,
    /// What could not be read and was not told of before, in sentences.
    pub losses: Vec<String>,
}

/// The past, to be told once.
#[derive(Debug)]
pub struct Replay {
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// First and last event.
    pub(crate) events: (u64, u64),
}

impl Replay {
    /// Tells it, oldest first. It reads beside the writer, so the gateway may append meanwhile;
    /// what it appends is not told.
    ///
    /// # Errors
    /// When the store cannot be read; what was told before stays told.
    pub fn for_each(self, f: impl FnMut(Entry)) -> std::result::Result<ReplayReport, ReplayError> {
        let failed = |error: StoreError| ReplayError { reason: error.to_string() };
        let view = self.shared.view().map_err(failed)?;
        tell(&view, self.snapshot, self.events, f).map_err(failed)
    }
}

/// Tells a snapshot and the events after it.
pub(crate) fn tell(
    view: &View,
    snapshot: Option<SnapshotMeta>,
    events: (u64, u64),
    mut f: impl FnMut(Entry),
) -> Result<ReplayReport> {
    let mut report = ReplayReport::default();
    if let Some(snapshot) = snapshot {
        tell_rows(view, snapshot, &mut report, &mut f)?;
    }
    let ReplayReport { events: told, losses, .. } = &mut report;
    let visit = |event| {
        *told += 1;
        f(Entry::Event(event));
    };
    let gaps = &view.meta()?.gaps;
    read::scan(view, events, visit, |gap| {
        if !gaps.contains(&gap) {
            losses.push(lost_events(&gap));
        }
    })?;
    Ok(report)
}

/// The sentence on events that are lost.
pub(crate) fn lost_events(gap: &Gap) -> String {
    match *gap {
        Gap { from, to } if from == to => format!("event {from} is damaged and lost"),
        Gap { from, to } => format!("events {from} to {to} are damaged and lost"),
    }
}

fn tell_rows(
    view: &View,
    snapshot: SnapshotMeta,
    report: &mut ReplayReport,
    f: &mut impl FnMut(Entry),
) -> Result<()> {
    let rows = (first_row(snapshot.id), first_row(snapshot.id + 1) - 1);
    view.rows(Room::Snapshots, rows, |_, row| {
        for message in codec::messages(row) {
            let entry = message.ok().and_then(|message| SnapshotEntry::decode(message).ok());
            let Some(SnapshotEntry { agent, lease, tenant }) = entry else { continue };
            if let Some(agent) = agent {
                report.agents += 1;
                f(Entry::Agent(agent));
            }
            if let Some(lease) = lease {
                report.leases += 1;
                f(Entry::Lease { tenant, lease });
            }
        }
        Ok(true)
    })?;
    if (report.agents, report.leases) != (snapshot.agents, snapshot.leases) {
        report.losses.push(format!(
            "the snapshot is damaged: {} of {} agents and {} of {} leases can be read",
            report.agents, snapshot.agents, report.leases, snapshot.leases
        ));
    }
    Ok(())
}
