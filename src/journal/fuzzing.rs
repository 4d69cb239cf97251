//! What `tests/fuzz` may reach: rows as they lie in the store, and the verifier of events.

use prost::Message;
use pulsegate_wire::Event;

use crate::codec::{self, Damage};
use crate::meta::Meta;
use crate::offline::{Verdict, verify_events};
use crate::snapshot::SnapshotEntry;

/// Appends a record, given by the bytes of its message, to a row.
pub fn push_record(row: &mut Vec<u8>, message: &[u8]) {
    codec::push_bytes(row, message);
}

/// The messages of a row, in order; `None` for a record that is damaged, and as the last one for
/// what cannot be told apart into records.
#[must_use]
pub fn messages(row: &[u8]) -> Vec<Option<&[u8]>> {
    codec::messages(row).map(Result::ok).collect()
}

/// Whether the end of a row cannot be told apart into records.
#[must_use]
pub fn is_cut(row: &[u8]) -> bool {
    codec::messages(row).any(|message| message == Err(Damage::Row))
}

/// Whether every checksum of a row fits.
#[must_use]
pub fn is_sound(row: &[u8]) -> bool {
    codec::is_sound(row)
}

/// Reads a message as the journal's record of itself and writes it again; `None` where it is none.
#[must_use]
pub fn meta_again(message: &[u8]) -> Option<Vec<u8>> {
    Meta::decode(message).ok().map(|meta| meta.encode_to_vec())
}

/// Reads a message as a record of a snapshot and writes it again; `None` where it is none.
#[must_use]
pub fn snapshot_entry_again(message: &[u8]) -> Option<Vec<u8>> {
    SnapshotEntry::decode(message).ok().map(|entry| entry.encode_to_vec())
}

/// What `verify` says of these events, in a journal that begins with the first of them.
#[must_use]
pub fn verify(events: &[Event]) -> Verdict {
    verify_events([0x0123_4567, 0x89ab_cdef], events)
}
