//! The durable record of a gateway: events, snapshots, sampled heartbeats, dead letters.
//!
//! One file in the data directory, on redb; one thread that writes. What is appended is numbered
//! at once, in memory, and made durable by group commits: the writer takes all that waits and
//! commits it in one transaction. Whoever must not answer before the disk has it waits until
//! [`Journal::committed`] reaches the number it was given; the listener is told of every commit.
//!
//! Invariants:
//! - Numbers rise by one and are never reused; what [`Journal::read`] shows is durable.
//! - What was said to be committed survives a crash of the process and of the machine.
//! - A disk that fails or is full makes the journal read-only: it says so, refuses appends, keeps
//!   what waits, and tries again every second.
//! - Damage is said, never hidden: a record that fails its checksum is left out, and listed.
//!
//! This room knows no network and no state machine: it stores what others decided.

mod backup;
mod codec;
mod dead_letters;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod heartbeats;
mod journal;
mod lock;
mod meta;
pub mod offline;
mod open;
mod options;
mod percentiles;
mod read;
mod replay;
mod retention;
mod salvage;
mod shared;
mod snapshot;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::BackupReport;
pub use dead_letters::{DeadLetter, DeadLetterLimits};
pub use error::{
    BackupError, CloseError, OpenError, ReadError, ReplayError, SnapshotError, Unavailable,
};
pub use heartbeats::{CustomView, HeartbeatRecord, HeartbeatView, Observed, samples};
pub use journal::{Journal, Status};
pub use open::Opened;
pub use options::{Notice, Options, Place, Recording, RecordingMode, Retention};
pub use replay::{Entry, Replay, ReplayReport};
pub use snapshot::Snapshot;
