//! What can go wrong, and what somebody can do about it.

use std::path::PathBuf;

/// Why a journal cannot be opened. The file is as it was, but for a repair after a crash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the data directory {} is in use by {holder}; stop it, or name another directory",
        directory.display()
    )]
    Locked {
        /// The data directory.
        directory: PathBuf,
        /// Who has it, as far as it is known: `process 4711`.
        holder: String,
    },
    /// The directory, or a file in it, cannot be made or read.
    #[error("{} cannot be used", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no journal where one was expected.
    #[error("there is no journal in {}", directory.display())]
    Absent {
        /// The data directory.
        directory: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "the journal in {} has format {found}, and this version knows formats up to \
         {known}: start the version of pulsegate that wrote it, or a newer one",
        directory.display()
    )]
    Newer {
        /// The data directory.
        directory: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// Nothing in it can be trusted.
    #[error(
        "the journal {} is damaged beyond repair ({reason}): restore a backup with \
         `pulsegate journal restore`, or move the file away to begin a new journal, which forgets \
         all agents, leases and tokens",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The first commit failed: the epoch of this start is not durable.
    #[error("the journal {} cannot be written: {reason}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the store said.
        reason: String,
    },
}

/// Why events were not taken. None of them was numbered; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The journal cannot be written at the moment.
    #[error("the journal is read-only: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// More events wait for the disk than may.
    #[error("{limit} events wait for the disk already")]
    QueueFull {
        /// Most events that may wait.
        limit: usize,
    },
    /// It was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why something cannot be read. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What was asked for is no longer there.
    #[error("events before {oldest} are gone")]
    Gone {
        /// Oldest event that is there and can be read onwards from.
        oldest: u64,
    },
    /// The store cannot be read at the moment.
    #[error("the journal cannot be read: {reason}")]
    Unavailable {
        /// What the store said.
        reason: String,
    },
}

/// Why the past cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal cannot be replayed: {reason}")]
#[non_exhaustive]
pub struct ReplayError {
    /// What the store said.
    pub reason: String,
}

/// Why a snapshot was not finished. The one before it stays in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot was given up: {reason}")]
#[non_exhaustive]
pub struct SnapshotError {
    /// Why.
    pub reason: String,
}

/// Why there is no backup. The journal has not changed; nothing is left in the target.
#[derive(Debug, thiserror::Error)]
#[error("no backup was made in {}: {reason}", file.display())]
#[non_exhaustive]
pub struct BackupError {
    /// Where it was to be.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// Why a journal did not end in order. What was committed is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{events} events were not written before the end: {reason}")]
#[non_exhaustive]
pub struct CloseError {
    /// How many were lost, the last one included.
    pub events: u64,
    /// Why.
    pub reason: String,
}
