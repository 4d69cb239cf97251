//! Bytes of a record: a version, a protobuf message, a checksum; and of a row of many.

use prost::Message;

/// Version of a record's bytes.
pub(crate) const RECORD_VERSION: u8 = 1;
/// Bytes that stand before the message: length of the record (4) and version (1).
const HEAD: usize = 5;
/// Bytes of the checksum (CRC-32, IEEE), over version and message.
const CHECKSUM: usize = 4;
/// Most bytes of a row, unless one record alone is longer. A row fills a run of 4 KiB pages whose
/// number is a power of two, so this stays a little below 64 KiB. Smaller rows cost more steps in
/// the tree, larger ones more room for what does not fill them. Source: chosen.
pub(crate) const ROW_BYTES: usize = 60 << 10;

/// Appends one record to a row.
pub(crate) fn push(row: &mut Vec<u8>, message: &impl Message) {
    push_with(row, |row| {
        let encoded = message.encode(row);
        debug_assert!(encoded.is_ok(), "a vector grows");
    });
}

/// Appends one record, given by the bytes of its message.
pub(crate) fn push_bytes(row: &mut Vec<u8>, message: &[u8]) {
    push_with(row, |row| row.extend_from_slice(message));
}

fn push_with(row: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = row.len();
    row.extend_from_slice(&[0; 4]);
    row.push(RECORD_VERSION);
    write(row);
    let checksum = crc32fast::hash(&row[start + 4..]);
    row.extend_from_slice(&checksum.to_le_bytes());
    let length = (row.len() - start - 4) as u32;
    row[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// One record as a row of its own.
pub(crate) fn one(message: &impl Message) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEAD + message.encoded_len() + CHECKSUM);
    push(&mut row, message);
    row
}

/// Whether a record fits a row that begins to be full.
pub(crate) fn is_full(row: &[u8], message: &impl Message) -> bool {
    !row.is_empty() && row.len() + HEAD + CHECKSUM + message.encoded_len() > ROW_BYTES
}

/// Something in a row is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The checksum of this record does not fit; those after it can be read.
    Record,
    /// The rest of the row cannot be told apart into records.
    Row,
}

/// The messages of a row, in order.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

/// The messages of a row, in order.
pub(crate) fn messages(row: &[u8]) -> Messages<'_> {
    Messages { rest: row }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<&'a [u8], Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else {
            self.rest = &[];
            return Some(Err(Damage::Row));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length < 1 + CHECKSUM || length > rest.len() {
            self.rest = &[];
            return Some(Err(Damage::Row));
        }
        let (record, rest) = rest.split_at(length);
        self.rest = rest;
        let (body, checksum) = record.split_at(length - CHECKSUM);
        let fits = crc32fast::hash(body).to_le_bytes() == *checksum;
        Some(if fits && body[0] == RECORD_VERSION { Ok(&body[1..]) } else { Err(Damage::Record) })
    }
}

/// The only message of a row.
pub(crate) fn read_one<M: Message + Default>(row: &[u8]) -> Result<M, Damage> {
    let body = messages(row).next().ok_or(Damage::Row)??;
    M::decode(body).map_err(|_| Damage::Record)
}

/// Whether every checksum of a row fits.
pub(crate) fn is_sound(row: &[u8]) -> bool {
    messages(row).all(|message| message.is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulsegate_wire::event::{Forgotten, Truncated};
    use pulsegate_wire::{Event, EventKind};

    use super::*;

    fn event(seq: u64, agent: &str) -> Event {
        let kind = match seq % 2 {
            0 => EventKind::Forgotten(Forgotten { from: 5 }),
            _ => EventKind::Truncated(Truncated { reason: agent.repeat(2), ..Default::default() }),
        };
        Event { seq, agent_id: agent.to_owned(), kind: Some(kind), ..Event::default() }
    }

    proptest! {
        #[test]
        fn what_is_pushed_comes_out_again(agents in prop::collection::vec("[a-z]{0,40}", 0..50)) {
            let events: Vec<Event> =
                agents.iter().zip(1..).map(|(agent, seq)| event(seq, agent)).collect();
            let mut row = Vec::new();
            for event in &events {
                push(&mut row, event);
            }
            let read: Vec<Event> =
                messages(&row).map(|body| Event::decode(body.unwrap()).unwrap()).collect();
            prop_assert_eq!(read, events);
            prop_assert!(is_sound(&row));
        }

        #[test]
        fn no_changed_bit_goes_unnoticed(seq in 1..9_u64, place in 0..1_000_usize, bit in 0..8) {
            let mut row = Vec::new();
            push(&mut row, &event(seq, "one"));
            push(&mut row, &event(seq + 1, "two"));
            let place = place % row.len();
            row[place] ^= 1_u8 << bit;
            prop_assert!(!is_sound(&row));
        }

        #[test]
        fn no_bytes_make_reading_panic(row in prop::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&row) {
                let _ = message.map(Event::decode);
            }
        }

        #[test]
        fn a_cut_row_keeps_what_was_whole(cut in 0..500_usize) {
            let mut row = Vec::new();
            push(&mut row, &event(1, "one"));
            let first = row.len();
            push(&mut row, &event(2, "two"));
            let cut = cut % row.len();
            let whole = messages(&row[..cut]).filter(Result::is_ok).count();
            prop_assert_eq!(whole, usize::from(cut >= first));
        }
    }
}
