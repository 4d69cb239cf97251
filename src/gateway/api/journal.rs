//! `/v1/journal`: how the journal does, and a copy of it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as FromState;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use pulsegate_journal::{BackupReport, Journal, ReadError};
use pulsegate_wire::view::JournalView;
use pulsegate_wire::{Code, Problem};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::State;
use super::agents::{Params, pairs};
use super::chunks::{self, Chunk};
use super::problem::Refused;

/// Name of a copy, until it is opened, in the directory of the journal: there is nowhere else that
/// it is known to fit.
const COPY: &str = "backup.tmp";
/// How long an answer waits for its copy to be whole: it then says how long it is, or why there is
/// none. A larger journal is answered with what can be said until then. Source: chosen; below the
/// 30 s that any answer of an operator's route may take to begin.
const HEAD_WAIT: Duration = Duration::from_secs(20);
/// When whoever finds a backup under way shall come again. Source: chosen; most take less.
const BUSY_RETRY_MS: u64 = 10_000;
/// Bytes that are read and sent at once. Source: chosen; what a connection can take meanwhile.
const PIECE: usize = 256 << 10;

/// Backups, one at a time: each reads the whole file and writes as much.
#[derive(Clone, Debug)]
pub struct Backups(Arc<Semaphore>);

impl Default for Backups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// `GET /v1/journal`
pub(super) async fn show(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Json<JournalView>, Refused> {
    let mut wants_digest = false;
    for (name, value) in pairs(params)? {
        match (name.as_str(), value.as_str()) {
            ("digest", "true") => wants_digest = true,
            ("digest", "false") => wants_digest = false,
            ("digest", _) => return Err(Refused::field(&name, "must be true or false")),
            _ => return Err(Refused::field(&name, "unknown parameter; known: digest")),
        }
    }
    let view = blocking(move || {
        // Each shard is locked while its agents are gone over.
        let digest = wants_digest.then(|| format!("{:016x}", state.shards.digest()));
        JournalView { digest, ..view(&state) }
    });
    view.await.map(Json)
}

fn view(state: &State) -> JournalView {
    let status = state.durable.journal().status();
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    JournalView {
        epoch: state.hub.now().epoch,
        ephemeral: state.config.load().journal.ephemeral,
        read_only: status.read_only,
        read_only_ms: status.read_only_ms,
        core_ms: state.clock.now().0,
        oldest_seq: status.oldest_seq,
        newest_seq: status.newest_seq,
        queued_events: status.queue,
        unrecorded: state.durable.lost(),
        commits: status.commits,
        commit_p50_us: microseconds(status.commit_p50),
        commit_p99_us: microseconds(status.commit_p99),
        snapshot_seq: status.snapshot_seq,
        snapshot_age_ms: status.snapshot_age_ms,
        file_bytes: status.file_bytes,
        event_bytes: status.event_bytes,
        heartbeat_bytes: status.heartbeat_bytes,
        dead_letter_bytes: status.dead_letter_bytes,
        heartbeats: status.heartbeats,
        heartbeats_dropped: status.heartbeats_dropped,
        dead_letters: status.dead_letters,
        dead_letters_evicted: status.dead_letters_evicted,
        digest: None,
    }
}

/// Does what may block where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request could not be handled: a bug");
        Refused::new(Code::Internal, "the cause stands in the gateway's log")
    })
}

/// The journal cannot be read now.
pub(super) fn unreadable(error: &ReadError) -> Refused {
    unavailable(&error.to_string())
}

fn unavailable(detail: &str) -> Refused {
    let problem = Problem::new(Code::JournalUnavailable, detail);
    Refused::from(problem.with_retry_after_ms(BUSY_RETRY_MS))
}

/// `GET /v1/journal/backup`
pub(super) async fn backup(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Response, Refused> {
    if let Some((name, _)) = pairs(params)?.first() {
        return Err(Refused::field(name, "unknown parameter; there are none"));
    }
    let directory = {
        let journal = &state.config.load().journal;
        journal.data_dir.clone().filter(|_| !journal.ephemeral)
    };
    let Some(directory) = directory else {
        let detail = "the journal is kept in memory only: there is nothing to keep a copy of";
        return Err(Refused::new(Code::NotFound, detail));
    };
    let Ok(turn) = state.backups.0.clone().try_acquire_owned() else {
        let problem = Problem::new(Code::Overloaded, "a backup is under way already");
        return Err(problem.with_retry_after_ms(BUSY_RETRY_MS).into());
    };
    let (sender, body) = chunks::body();
    let (made, copied) = oneshot::channel();
    let journal = state.durable.journal().clone();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        hand_out(&journal, &directory, made, &sender);
    });
    let report = match tokio::time::timeout(HEAD_WAIT, copied).await {
        Ok(Ok(copied)) => Some(copied.map_err(|reason| unavailable(&reason))?),
        Ok(Err(_)) => {
            return Err(Refused::new(Code::Internal, "the cause stands in the gateway's log"));
        }
        Err(_) => None,
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let mut say = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    say(CONTENT_TYPE, "application/octet-stream");
    say(CONTENT_DISPOSITION, "attachment; filename=\"journal.redb\"");
    say(CACHE_CONTROL, "no-store");
    if let Some(report) = report {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(report.bytes));
    }
    Ok(response)
}

/// Makes a copy, says so, and sends it piece by piece as it is taken.
fn hand_out(
    journal: &Journal,
    directory: &Path,
    made: oneshot::Sender<Result<BackupReport, String>>,
    sender: &mpsc::Sender<Chunk>,
) {
    let mut file = match copy(journal, directory) {
        Ok((file, report)) => {
            tracing::info!(bytes = report.bytes, newest_seq = report.newest_seq, "a backup");
            // Whoever waits no longer has begun with the answer already.
            let _ = made.send(Ok(report));
            file
        }
        Err(reason) => {
            tracing::warn!(reason, "no backup could be made");
            if let Err(Err(reason)) = made.send(Err(reason)) {
                let _ = sender.blocking_send(Err(io::Error::other(reason)));
            }
            return;
        }
    };
    loop {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).map(|length| {
            piece.truncate(length);
            Bytes::from(piece)
        });
        let is_end = read.as_ref().is_ok_and(Bytes::is_empty);
        let is_broken = read.is_err();
        if is_end || sender.blocking_send(read).is_err() || is_broken {
            return;
        }
    }
}

/// Makes a copy, and opens it: it goes with whoever reads it.
fn copy(journal: &Journal, directory: &Path) -> Result<(File, BackupReport), String> {
    let file = directory.join(COPY);
    // What a gateway that was killed meanwhile has left.
    let _ = std::fs::remove_file(&file);
    let report = journal.backup(&file).map_err(|error| error.to_string())?;
    let opened = File::open(&file);
    let removed = std::fs::remove_file(&file);
    opened.and_then(|opened| removed.map(|()| (opened, report))).map_err(|error| error.to_string())
}
