//! Damage: finding it at the start, and putting what can be read into a new file.

use prost::Message;

use crate::OpenError;
use crate::codec::{self, Damage};
use crate::meta::{Gap, Meta, SnapshotMeta};
use crate::open::{Trusted, damaged, install};
use crate::read;
use crate::replay::lost_events;
use crate::snapshot::{SnapshotEntry, first_row};
use crate::store::{Change, Result, Room, Source, Store, StoreError, View, weight};
use crate::writer::CACHE_BYTES;

/// Bytes of rows that are copied in one commit. Source: chosen; it bounds memory.
const STEP_BYTES: usize = 16 << 20;

/// Most gaps that are told apart; more become one with the last. Source: chosen; whoever has that
/// many needs a backup, not a list.
const GAPS: usize = 256;

/// What is damaged.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// In sentences.
    pub(crate) losses: Vec<String>,
    /// Events that are lost and were not told as such before, in order.
    pub(crate) gaps: Vec<Gap>,
}

/// Looks at what a restart reads: the newest snapshot and the events since it began. What is older
/// is looked at when it is read; reading gigabytes at every start would help nobody.
pub(crate) fn inspect(store: &Store, meta: &Meta) -> Inspection {
    let mut found = Inspection::default();
    let view = match store.view() {
        Ok(view) => view,
        Err(error) => {
            found.losses.push(error.to_string());
            return found;
        }
    };
    if let Some(snapshot) = meta.snapshot {
        let rows = sound_rows(&view, snapshot);
        if rows.as_ref().is_ok_and(|&rows| rows < u64::from(snapshot.rows)) || rows.is_err() {
            let rows = rows.unwrap_or(0);
            found.losses.push(format!(
                "the snapshot is damaged: {rows} of its {} rows are sound; what is known of the \
                 agents in the others are the events since",
                snapshot.rows
            ));
        }
    }
    let from = meta.snapshot.map_or(meta.first_seq, |snapshot| snapshot.from_seq + 1);
    let mut events = Coverage::new(from.max(meta.first_seq), meta.last_seq);
    let start = view.row_before(Room::Events, events.next).ok().flatten().unwrap_or(events.next);
    let result = view.rows(Room::Events, (start, meta.last_seq), |first, row| {
        events.cover(first, row);
        Ok(true)
    });
    if let Err(error) = result {
        found.losses.push(error.to_string());
    }
    found.gaps = events.end(&meta.gaps);
    found.losses.extend(found.gaps.iter().map(lost_events));
    found
}

fn sound_rows(view: &View, snapshot: SnapshotMeta) -> Result<u64> {
    let mut sound = 0;
    let rows = (first_row(snapshot.id), first_row(snapshot.id + 1) - 1);
    view.rows(Room::Snapshots, rows, |_, row| {
        sound += u64::from(codec::is_sound(row));
        Ok(true)
    })?;
    Ok(sound)
}

/// Which numbers of a range were seen.
struct Coverage {
    next: u64,
    last: u64,
    gaps: Vec<Gap>,
}

impl Coverage {
    const fn new(next: u64, last: u64) -> Self {
        Self { next, last, gaps: Vec::new() }
    }

    fn cover(&mut self, first: u64, row: &[u8]) {
        for (seq, message) in (first..).zip(codec::messages(row)) {
            let is_there = message.is_ok_and(|message| read::is_in_place(seq, message));
            if is_there && seq >= self.next {
                if seq > self.next {
                    self.lose(self.next, seq - 1);
                }
                self.next = seq + 1;
            }
        }
    }

    fn lose(&mut self, from: u64, to: u64) {
        let is_full = self.gaps.len() == GAPS;
        match self.gaps.last_mut() {
            Some(last) if is_full => last.to = to,
            _ => self.gaps.push(Gap { from, to }),
        }
    }

    /// The gaps that are not known yet.
    fn end(mut self, known: &[Gap]) -> Vec<Gap> {
        if self.next <= self.last {
            self.lose(self.next, self.last);
        }
        self.gaps.retain(|gap| !known.contains(gap));
        self.gaps
    }
}

/// Puts what can be read into a new file, and the old one aside, under a name that says so.
pub(crate) fn rebuild(
    old: Store,
    source: &Source,
    meta: &Meta,
    mut inspection: Inspection,
    wall_ms: u64,
) -> std::result::Result<Trusted, OpenError> {
    let failed = |error: StoreError| damaged(source, &error);
    let io_failed =
        |path: &std::path::Path, source| OpenError::Io { path: path.to_owned(), source };
    let Some(path) = source.path() else { return Err(failed(StoreError::new("it is gone"))) };
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let view = old.view().map_err(failed)?;
    let mut rescue = Rescue::new(Source::File(new.clone()), meta).map_err(failed)?;
    let mut events = Coverage::new(meta.first_seq, meta.last_seq);
    for room in Room::ALL {
        if let Err(error) = rescue.room(&view, room, &mut events) {
            inspection.losses.push(format!("{room:?}: {error}"));
        }
    }
    inspection.gaps = events.end(&meta.gaps);
    inspection.losses.retain(|loss| !loss.starts_with("event"));
    inspection.losses.extend(inspection.gaps.iter().map(lost_events));
    rescue.meta.gaps.extend(&inspection.gaps);
    rescue.meta.gaps.sort_unstable();
    rescue.meta.gaps.truncate(GAPS);
    rescue.finish().map_err(failed)?;
    drop(view);
    // What it complains of is what was found.
    let _ = old.close();
    let aside = path.with_extension(format!("damaged-{wall_ms}"));
    std::fs::rename(path, &aside).map_err(|error| io_failed(path, error))?;
    install(&new, path).map_err(|error| io_failed(&new, error))?;
    inspection.losses.push(format!(
        "what could be read is in a new file; the damaged one is kept as {}",
        aside.display()
    ));
    let store = Store::open(source, CACHE_BYTES).map_err(failed)?;
    let no_record = || StoreError::new("the new file is empty");
    let meta = store.meta().and_then(|meta| meta.ok_or_else(no_record)).map_err(failed)?;
    Ok(Trusted { store, meta, inspection })
}

/// A new file with what can be read of a damaged one.
struct Rescue {
    store: Store,
    meta: Meta,
    changes: Vec<Change>,
    bytes: usize,
}

impl Rescue {
    fn new(source: Source, meta: &Meta) -> Result<Self> {
        let store = Store::open(&source, CACHE_BYTES)?;
        let mut meta = Meta { event_bytes: 0, heartbeat_bytes: 0, commits: 0, ..meta.clone() };
        if let Some(snapshot) = &mut meta.snapshot {
            *snapshot = SnapshotMeta { agents: 0, leases: 0, rows: 0, bytes: 0, ..*snapshot };
        }
        Ok(Self { store, meta, changes: Vec::new(), bytes: 0 })
    }

    /// Copies a room: from the front as far as it can be read, then from the back.
    fn room(&mut self, view: &View, room: Room, events: &mut Coverage) -> Result<()> {
        let mut copied_to = 0;
        let forwards = view.rows(room, (0, u64::MAX), |key, row| {
            copied_to = key;
            self.row(room, key, row, events)?;
            Ok(true)
        });
        let Err(error) = forwards else { return Ok(()) };
        // Rows are kept until they can be taken in order.
        let mut behind = Vec::new();
        let _ = view.rows_backwards(room, (copied_to + 1, u64::MAX), |key, row| {
            behind.push((key, row.to_vec()));
            Ok(true)
        });
        for (key, row) in behind.into_iter().rev() {
            self.row(room, key, &row, events)?;
        }
        Err(error)
    }

    /// Copies what is sound of a row.
    fn row(&mut self, room: Room, key: u64, row: &[u8], events: &mut Coverage) -> Result<()> {
        if codec::is_sound(row) {
            self.put(room, key, row.to_vec())?;
        } else {
            let parts = sound_parts(key, row);
            match room {
                Room::Events | Room::Heartbeats => {
                    for (key, part) in parts {
                        self.put(room, key, part)?;
                    }
                }
                // The rows of a snapshot are not numbered by record, so they stay one row.
                Room::Snapshots => {
                    let parts: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
                    self.put(room, key, parts)?;
                }
                Room::Letters => {}
            }
        }
        if room == Room::Events {
            events.cover(key, row);
        }
        Ok(())
    }

    fn put(&mut self, room: Room, key: u64, row: Vec<u8>) -> Result<()> {
        match room {
            Room::Events => self.meta.event_bytes += weight(row.len()),
            Room::Heartbeats => self.meta.heartbeat_bytes += weight(row.len()),
            Room::Snapshots => self.count(key, &row),
            Room::Letters => {}
        }
        self.bytes += row.len();
        self.changes.push(Change::put(room, key, row));
        if self.bytes >= STEP_BYTES { self.flush() } else { Ok(()) }
    }

    /// Counts what the newest snapshot still has.
    fn count(&mut self, key: u64, row: &[u8]) {
        let Some(snapshot) = self.meta.snapshot.as_mut() else { return };
        if key >> 24 != snapshot.id {
            return;
        }
        snapshot.rows += 1;
        snapshot.bytes += row.len() as u64;
        for body in codec::messages(row).flatten() {
            let Ok(entry) = SnapshotEntry::decode(body) else { continue };
            snapshot.agents += u64::from(entry.agent.is_some());
            snapshot.leases += u64::from(entry.lease.is_some());
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.meta.commits += 1;
        self.bytes = 0;
        self.store.commit(&self.meta, &std::mem::take(&mut self.changes))
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.store.close()
    }
}

/// The runs of sound records in a row, each with the number of its first.
fn sound_parts(first: u64, row: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut parts: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut is_open = false;
    for (seq, message) in (first..).zip(codec::messages(row)) {
        match message {
            Ok(body) => {
                if !is_open {
                    parts.push((seq, Vec::new()));
                }
                is_open = true;
                let part = parts.last_mut().map(|(_, part)| part);
                part.into_iter().for_each(|part| codec::push_bytes(part, body));
            }
            Err(Damage::Record | Damage::Row) => is_open = false,
        }
    }
    parts
}
