//! Rows of the journal: records behind their lengths, each with a checksum.

use prost::Message;
use pulsegate_journal::fuzzing::{
    is_cut, is_sound, messages, meta_again, push_record, snapshot_entry_again,
};
use pulsegate_journal::{DeadLetter, HeartbeatRecord};
use pulsegate_wire::{AgentRecord, Event};

/// Bytes before the message of a record: its length and its version.
const HEAD: usize = 5;

/// A row as it lies in the store, and a message that a record holds.
pub fn journal_row(bytes: &[u8]) {
    row(bytes);
    record(bytes);
}

/// What can be read of any row can be written and read again.
fn row(bytes: &[u8]) {
    let read = messages(bytes);
    let sound: Vec<&[u8]> = read.iter().copied().flatten().collect();
    assert_eq!(is_sound(bytes), sound.len() == read.len());
    let mut written = Vec::new();
    sound.iter().for_each(|message| push_record(&mut written, message));
    let again: Vec<&[u8]> = messages(&written).into_iter().flatten().collect();
    assert_eq!(again, sound);
    if is_sound(bytes) {
        assert_eq!(written, bytes, "there is one way to write a row");
    } else {
        assert!(is_cut(bytes) || read.contains(&None), "damage is told");
    }
    sound.iter().for_each(|message| decode(message));
}

/// Any message makes a sound record, and no bit of it changes unnoticed.
fn record(message: &[u8]) {
    decode(message);
    let mut row = Vec::new();
    push_record(&mut row, message);
    push_record(&mut row, b"the next");
    assert!(is_sound(&row));
    // Which bit follows from the message, so that the same input does the same.
    let sum = message.iter().fold(7_usize, |sum, &byte| sum.wrapping_mul(31) + usize::from(byte));
    let place = HEAD + sum % (message.len() + 4);
    row[place] ^= 1 << (sum % 8);
    assert!(!is_sound(&row), "bit {} of byte {place}", sum % 8);
    assert_eq!(messages(&row), [None, Some(&b"the next"[..])], "what follows can be read");
}

fn decode(message: &[u8]) {
    again::<Event>(message);
    again::<AgentRecord>(message);
    again::<HeartbeatRecord>(message);
    again::<DeadLetter>(message);
    for read in [meta_again, snapshot_entry_again] {
        if let Some(written) = read(message) {
            assert_eq!(read(&written), Some(written));
        }
    }
}

/// What can be read is the same when it is read again, by its bytes: NaN equals nothing.
fn again<M: Message + Default>(message: &[u8]) {
    if let Ok(read) = M::decode(message) {
        let bytes = read.encode_to_vec();
        let again = M::decode(bytes.as_slice()).expect("what was written can be read");
        assert_eq!(again.encode_to_vec(), bytes);
    }
}
