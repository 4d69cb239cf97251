//! What is removed, in small steps between commits, so that the file keeps within its bounds.

use std::time::Duration;

use prost::Message;
use pulsegate_wire::Event;

use crate::HeartbeatRecord;
use crate::codec;
use crate::meta::Meta;
use crate::shared::{Shared, wall_ms};
use crate::snapshot::first_row;
use crate::store::{Change, Result, Room, View, weight};

/// How often the bounds are looked at. Source: chosen; at most a second above them.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// Most rows that one commit removes, so that nobody waits long behind it. A row holds what one
/// commit wrote, or 60 KiB, so this removes faster than anything is written. Source: chosen.
const STEP: usize = 256;

/// Adds the removals that are due. Whether more is due at once.
pub(crate) fn trim(shared: &Shared, meta: &mut Meta, changes: &mut Vec<Change>) -> Result<bool> {
    let view = shared.view()?;
    let now_ms = wall_ms();
    let mut is_more = events(shared, &view, meta, now_ms, changes)?;
    is_more |= heartbeats(shared, &view, meta, now_ms, changes)?;
    is_more |= snapshots(shared, &view, meta, changes)?;
    Ok(is_more)
}

/// Events that the newest snapshot made superfluous and that are too old or too many.
fn events(
    shared: &Shared,
    view: &View,
    meta: &mut Meta,
    now_ms: u64,
    changes: &mut Vec<Change>,
) -> Result<bool> {
    let Some(snapshot) = meta.snapshot else { return Ok(false) };
    let retention = shared.options.retention;
    let oldest_ms = now_ms.saturating_sub(retention.max_age.as_millis() as u64);
    let mut removed = Vec::new();
    // A row can go when the next one begins: only then it is known where it ends.
    let mut before: Option<(u64, u64, bool)> = None;
    view.rows(Room::Events, (0, snapshot.from_seq + 1), |first, row| {
        if let Some((key, weight, is_old)) = before {
            if removed.len() == STEP || !(is_old || meta.event_bytes > retention.max_bytes) {
                return Ok(false);
            }
            meta.event_bytes = meta.event_bytes.saturating_sub(weight);
            meta.first_seq = first;
            removed.push(Change::remove(Room::Events, key));
        }
        let is_old = last_wall_ms(row).is_none_or(|wall_ms| wall_ms < oldest_ms);
        before = Some((first, weight(row.len()), is_old));
        Ok(true)
    })?;
    let is_more = removed.len() == STEP;
    changes.append(&mut removed);
    Ok(is_more)
}

/// Wall time of the last event of a row.
fn last_wall_ms(row: &[u8]) -> Option<u64> {
    let last = codec::messages(row).last()?.ok()?;
    Some(Event::decode(last).ok()?.wall_ms)
}

/// Heartbeats that are too old or too many.
fn heartbeats(
    shared: &Shared,
    view: &View,
    meta: &mut Meta,
    now_ms: u64,
    changes: &mut Vec<Change>,
) -> Result<bool> {
    let recording = shared.options.recording;
    let oldest_ms = now_ms.saturating_sub(recording.max_age.as_millis() as u64);
    let mut removed = 0;
    view.rows(Room::Heartbeats, (0, u64::MAX), |first, row| {
        let last = codec::messages(row).last().and_then(|message| message.ok());
        let wall_ms = last.and_then(|last| HeartbeatRecord::decode(last).ok()).map(|b| b.wall_ms);
        let is_old = wall_ms.is_none_or(|wall_ms| wall_ms < oldest_ms);
        if removed == STEP || !(is_old || meta.heartbeat_bytes > recording.max_bytes) {
            return Ok(false);
        }
        meta.heartbeat_bytes = meta.heartbeat_bytes.saturating_sub(weight(row.len()));
        changes.push(Change::remove(Room::Heartbeats, first));
        removed += 1;
        Ok(true)
    })?;
    Ok(removed == STEP)
}

/// Rows of snapshots that are neither the newest nor under way.
fn snapshots(shared: &Shared, view: &View, meta: &Meta, changes: &mut Vec<Change>) -> Result<bool> {
    let mut kept = shared.queue.lock().snapshots.clone();
    kept.extend(meta.snapshot.map(|snapshot| snapshot.id));
    let put = |key| {
        let puts = changes.iter().filter(|change| change.room == Room::Snapshots);
        puts.map(|change| change.key).any(|put| put == key)
    };
    let mut removed = Vec::new();
    let mut from = 0;
    // Each snapshot that is kept is stepped over, so that its rows are not read.
    for id in kept.iter().copied().chain([u64::MAX >> 24]) {
        view.rows(Room::Snapshots, (from, first_row(id).saturating_sub(1)), |key, _| {
            if removed.len() < STEP && !put(key) {
                removed.push(Change::remove(Room::Snapshots, key));
            }
            Ok(removed.len() < STEP)
        })?;
        from = first_row(id + 1);
    }
    let is_more = removed.len() == STEP;
    changes.append(&mut removed);
    Ok(is_more)
}
