//! What operators read of the journal and of dead letters.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// How the journal does: `GET /v1/journal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalView {
    /// Start of the gateway that serves now, counted from the journal's creation.
    pub epoch: u32,
    /// Nothing outlives the process.
    pub ephemeral: bool,
    /// Why nothing can be written; absent while it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<String>,
    /// For how long nothing could be written, in milliseconds; 0 while it can.
    pub read_only_ms: u64,
    /// Core time: milliseconds since the journal was created, downtime not counted.
    pub core_ms: u64,
    /// Oldest event that is kept.
    pub oldest_seq: u64,
    /// Newest event that is durable; 0 when there is none.
    pub newest_seq: u64,
    /// Events that wait for a commit.
    pub queued_events: u64,
    /// Changes that could not be recorded since the start; a snapshot makes up for them.
    pub unrecorded: u64,
    /// Commits since the journal was created.
    pub commits: u64,
    /// Time that half of the last 1,024 commits did not exceed, in microseconds.
    pub commit_p50_us: u64,
    /// Time that 99 of 100 of them did not exceed, in microseconds.
    pub commit_p99_us: u64,
    /// Newest event when the newest snapshot was begun; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_seq: Option<u64>,
    /// Wall time since that snapshot was finished, in milliseconds.
    pub snapshot_age_ms: u64,
    /// Size of the file, in bytes; 0 in memory.
    pub file_bytes: u64,
    /// Bytes of events in it.
    pub event_bytes: u64,
    /// Bytes of recorded heartbeats in it.
    pub heartbeat_bytes: u64,
    /// Bytes of dead letters in it.
    pub dead_letter_bytes: u64,
    /// Heartbeats recorded since the journal was created.
    pub heartbeats: u64,
    /// Heartbeats that were to be recorded and did not fit, since the start.
    pub heartbeats_dropped: u64,
    /// Dead letters that are kept.
    pub dead_letters: u64,
    /// Dead letters that gave way to newer ones, since the start.
    pub dead_letters_evicted: u64,
    /// Digest of the durable state, in hexadecimal digits, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A dead letter: what mattered and could not be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// Its number: 1 for the first, never reused.
    pub id: u64,
    /// When it was kept, by the wall clock, in Unix milliseconds.
    pub kept_at_unix_ms: u64,
    /// Tenant that it came from.
    pub tenant: String,
    /// What it was: `heartbeat`.
    pub source: String,
    /// Why it could not be handled: the code of a problem, or `reordered`.
    pub reason: String,
    /// The same in a sentence.
    pub detail: String,
    /// How it came, in the words of the metrics.
    pub transport: String,
    /// Media type of the body.
    pub media_type: String,
    /// Agent that it names, as far as that could be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// Length of the body, in bytes.
    pub bytes: u64,
    /// The body, where it is text; listings leave it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64 (RFC 4648), where it is no text; listings leave it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// A page of dead letters, the oldest first: `GET /v1/dead-letters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterPage {
    /// The letters of this page, without their bodies.
    pub dead_letters: Vec<DeadLetterView>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of a dead letter: `POST /v1/dead-letters/{id}/replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayView {
    /// Number of the letter, which is gone now.
    pub id: u64,
    /// Agent that it was about.
    pub agent_id: String,
    /// It told something that was not known.
    pub changed: bool,
}

/// What was removed: `DELETE /v1/dead-letters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeView {
    /// How many letters.
    pub purged: u64,
}
