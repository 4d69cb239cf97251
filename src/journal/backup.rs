//! Copies of a journal.

use std::path::Path;

use crate::BackupError;
use crate::store::{Change, Result, Room, Source, Store, View};

/// Bytes of rows that are copied in one commit. Source: chosen; it bounds memory.
const STEP_BYTES: usize = 16 << 20;
/// Memory for pages of the copy. Source: chosen; it is written once, in order.
const CACHE_BYTES: usize = 32 << 20;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BackupReport {
    /// Size of the copy, in bytes.
    pub bytes: u64,
    /// Oldest event in it.
    pub oldest_seq: u64,
    /// Newest event in it.
    pub newest_seq: u64,
    /// Starts of the journal that was copied.
    pub epoch: u32,
    /// Core time of its newest record, in milliseconds.
    pub core_ms: u64,
}

/// Copies what a view shows into a new file. It gets its name when it is whole and durable.
pub(crate) fn copy(view: &View, file: &Path) -> std::result::Result<BackupReport, BackupError> {
    let failed = |reason: String| BackupError { file: file.to_owned(), reason };
    if file.exists() {
        return Err(failed("it exists already".to_owned()));
    }
    let part = file.with_extension("part");
    let _ = std::fs::remove_file(&part);
    let copied = copy_rows(view, &part).map_err(|error| error.to_string());
    let installed = copied.and_then(|report| {
        crate::open::install(&part, file).map_err(|error| error.to_string())?;
        let bytes = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
        Ok(BackupReport { bytes, ..report })
    });
    installed.map_err(|reason| {
        let _ = std::fs::remove_file(&part);
        failed(reason)
    })
}

fn copy_rows(view: &View, part: &Path) -> Result<BackupReport> {
    let mut meta = view.meta()?;
    let report = BackupReport {
        bytes: 0,
        oldest_seq: meta.first_seq,
        newest_seq: meta.last_seq,
        epoch: meta.epoch,
        core_ms: meta.core_ms,
    };
    let store = Store::open(&Source::File(part.to_owned()), CACHE_BYTES)?;
    meta.commits = 0;
    let mut changes = Vec::new();
    let mut bytes = 0;
    for room in Room::ALL {
        view.rows(room, (0, u64::MAX), |key, row| {
            bytes += row.len();
            changes.push(Change::put(room, key, row.to_vec()));
            if bytes >= STEP_BYTES {
                bytes = 0;
                meta.commits += 1;
                store.commit(&meta, &std::mem::take(&mut changes))?;
            }
            Ok(true)
        })?;
    }
    meta.commits += 1;
    store.commit(&meta, &changes)?;
    store.close()?;
    Ok(report)
}
