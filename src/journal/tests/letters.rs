//! Dead letters and recorded heartbeats, over openings.

use super::support::{Directory, until};
use crate::{DeadLetter, HeartbeatRecord, Observed, Options, Recording, RecordingMode};

fn letter(body: &str) -> DeadLetter {
    DeadLetter {
        wall_ms: 5,
        tenant: "default".to_owned(),
        source: "heartbeat".to_owned(),
        reason: "schema_unsupported".to_owned(),
        body: body.as_bytes().to_vec(),
        ..DeadLetter::default()
    }
}

fn beat(number: u64) -> HeartbeatRecord {
    let observed = Observed { now_ms: number, lateness_ms: -5, ..Observed::default() };
    HeartbeatRecord {
        at_ms: number,
        wall_ms: u64::MAX >> 1,
        agent_id: "a".repeat(100),
        observed: Some(observed),
        custom: [("depth".to_owned(), 1.5)].into(),
        ..HeartbeatRecord::default()
    }
}

#[test]
fn dead_letters_survive_and_are_taken_once() {
    let directory = Directory::new();
    let journal = directory.open().journal;
    let ids: Vec<u64> = ["a", "b", "c", "d"].map(|body| journal.dead_letter(letter(body))).into();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(journal.take_dead_letter(2).unwrap().unwrap().body, b"b");
    assert_eq!(journal.take_dead_letter(2).unwrap(), None);
    drop(journal);

    let journal = directory.open().journal;
    let bodies = |after| -> Vec<Vec<u8>> {
        journal.dead_letters(after, 9).unwrap().into_iter().map(|letter| letter.body).collect()
    };
    assert_eq!(bodies(0), [b"a", b"c", b"d"]);
    assert_eq!(bodies(1), [b"c", b"d"]);
    assert_eq!(journal.find_dead_letter(4).unwrap().unwrap().id, 4);
    assert_eq!(journal.purge_dead_letters(3), 2);
    assert_eq!(bodies(0), [b"d"]);
    assert_eq!(journal.dead_letter(letter("e")), 5);
    drop(journal);
    let journal = directory.open().journal;
    assert_eq!(journal.dead_letters(0, 9).unwrap().len(), 2);
    assert_eq!(journal.status().dead_letters, 2);
}

#[test]
fn heartbeats_are_recorded_within_their_bound() {
    let directory = Directory::new();
    let recording =
        Recording { mode: RecordingMode::All, max_bytes: 300_000, ..Default::default() };
    let journal = directory.open_with(Options { recording, ..directory.options() }).journal;
    assert!(journal.is_recorded(u64::MAX, u64::MAX));
    (1..=5_000).for_each(|number| journal.record(beat(number)));
    until("they are written", || journal.status().heartbeats == 5_000);
    until("old ones give way", || journal.status().heartbeat_bytes <= 300_000);
    let beats = journal.heartbeats(0, usize::MAX).unwrap();
    let (first, _) = beats[0];
    assert!(first > 1 && beats.len() < 5_000);
    assert!(beats.iter().zip(first..).all(|((at, kept), n)| *at == n && *kept == beat(n)));
    assert_eq!(journal.heartbeats(4_990, 3).unwrap()[0].0, 4_991);
}

#[test]
fn nothing_is_recorded_when_recording_is_off() {
    let directory = Directory::new();
    let recording = Recording { mode: RecordingMode::Off, ..Default::default() };
    let journal = directory.open_with(Options { recording, ..directory.options() }).journal;
    assert!(!journal.is_recorded(0, 1));
    journal.record(beat(1));
    let id = journal.dead_letter(letter("a"));
    drop(journal);
    let journal = directory.open().journal;
    assert_eq!((id, journal.status().dead_letters, journal.status().heartbeats), (1, 1, 0));
}
