//! Files that were damaged: the outcome is clear, and nothing is told that was not written.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use pulsegate_wire::{Event, EventKind};
use redb::ReadableTable as _;

use super::support::{Directory, WALL_MS, agent, event, settle};
use crate::{Entry, Journal, OpenError, Opened, offline};

/// Events of each part: before the snapshot began, and since.
const PART: u64 = 3_000;

/// A journal of events, a snapshot and events, closed in order.
fn filled() -> Directory {
    let directory = Directory::new();
    let journal = directory.open().journal;
    for first in (1..=PART).step_by(500) {
        journal.append((first..first + 500).map(event)).unwrap();
        settle(&journal);
    }
    let mut snapshot = journal.begin_snapshot();
    snapshot.add((0..2_000).map(agent).collect());
    snapshot.finish().unwrap();
    for first in (PART + 1..2 * PART).step_by(100) {
        journal.append((first..first + 100).map(event)).unwrap();
        settle(&journal);
    }
    journal.close(event(2 * PART + 1)).unwrap();
    directory
}

fn length(directory: &Directory) -> u64 {
    std::fs::metadata(directory.file()).unwrap().len()
}

fn try_open(directory: &Directory) -> Result<Opened, OpenError> {
    Journal::open(directory.options(), WALL_MS, Box::new(|_| ()))
}

/// Opens a damaged journal and checks that what it tells is true: what it replays is what was
/// written, and what it does not replay is among what it says is lost. Whether it could be opened.
fn opens_truthfully(directory: &Directory, what: &str) -> bool {
    let opened = match try_open(directory) {
        Ok(opened) => opened,
        Err(OpenError::Damaged { reason, .. }) => {
            assert!(!reason.is_empty());
            return false;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let (mut agents, mut seqs) = (0, BTreeSet::new());
    let told = opened.replay.for_each(|entry| match entry {
        Entry::Agent(told) => {
            agents += 1;
            let number = told.standing.unwrap().incarnation;
            assert_eq!(told, agent(number), "{what}");
        }
        Entry::Event(told) => {
            let expected = Event { epoch: 1, seq: told.seq, ..event(told.seq) };
            let expected = Event { wall_ms: told.wall_ms, ..expected };
            assert_eq!(told, expected, "{what}");
            assert!(seqs.insert(told.seq), "{what}: {} twice", told.seq);
        }
        Entry::Lease { .. } => panic!("{what}: there was no lease"),
    });
    let told = told.unwrap();
    let lost = 2_000 - agents + (PART + 1) - seqs.len() as u64;
    let losses = [opened.losses, told.losses].concat();
    assert!(lost == 0 || !losses.is_empty(), "{what}: {lost} are lost and nothing is said");
    // It goes on: what is appended now comes after all that was, and the gaps are told.
    let journal = opened.journal;
    let next = journal.append([event(1)]).unwrap();
    settle(&journal);
    assert!(next > 2 * PART + 1, "{what}");
    let first_new = journal.read(2 * PART + 1, 100).unwrap();
    let gaps = first_new.iter().filter(|e| matches!(e.kind, Some(EventKind::Truncated(_))));
    let is_of_events = |loss: &&String| loss.starts_with("event");
    assert_eq!(gaps.count(), losses.iter().filter(is_of_events).count(), "{what}: {losses:?}");
    true
}

#[test]
fn what_is_no_journal_is_refused_with_what_to_do() {
    let directory = filled();
    for bytes in [&b""[..], b"x", b"not a journal at all", &[0; 8_192]] {
        std::fs::write(directory.file(), bytes).unwrap();
        let error = directory.open_error();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
        assert_eq!(std::fs::read(directory.file()).unwrap(), bytes, "it was left as it was");
    }
}

#[test]
fn a_newer_format_is_refused_with_what_to_do() {
    let directory = filled();
    let database = redb::Database::open(directory.file()).unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert("format", &[9, 0, 0, 0][..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = directory.open_error();
    assert!(matches!(error, OpenError::Newer { found: 9, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("start the version of pulsegate that wrote it"), "{error}");
}

#[test]
fn a_file_that_was_cut_is_refused_or_says_what_is_lost() {
    let directory = filled();
    let whole = std::fs::read(directory.file()).unwrap();
    let mut opened = 0;
    for part in 1..16 {
        std::fs::write(directory.file(), &whole[..whole.len() * part / 16]).unwrap();
        opened += u32::from(opens_truthfully(&directory, &format!("{part}/16 of the file")));
    }
    assert!(opened < 15, "no cut was noticed");
}

#[test]
fn damaged_events_are_left_out_and_said() {
    let directory = filled();
    let file = OpenOptions::new().read(true).write(true).open(directory.file()).unwrap();
    // A record that a restart reads, found by a name that only it contains.
    let mut bytes = vec![0; length(&directory) as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let sought = prost::Message::encode_to_vec(&Event { seq: 5_555, ..Event::default() });
    let at = bytes.windows(sought.len()).position(|window| window == sought).unwrap();
    file.write_all_at(b"?", at as u64 + 1).unwrap();
    let opened = try_open(&directory).unwrap();
    assert_eq!(opened.losses[0], "event 5555 is damaged and lost", "{:?}", opened.losses);
    assert!(opened.losses[1].contains("damaged-"), "{:?}", opened.losses);
    assert_eq!(opened.replay.for_each(|_| ()).unwrap().events, PART);
    settle(&opened.journal);
    let told = opened.journal.read(2 * PART + 1, 9).unwrap();
    let Some(EventKind::Truncated(gap)) = &told[0].kind else { panic!("{told:?}") };
    assert_eq!((gap.from_seq, gap.to_seq), (5_555, 5_556));
    // A reader gets what lies before the gap, then hears of the gap, then gets what lies behind.
    assert_eq!(opened.journal.read(5_550, 9).unwrap().len(), 4);
    let gone = opened.journal.read(5_554, 9).unwrap_err();
    assert_eq!(gone, crate::ReadError::Gone { oldest: 5_556 });
    assert_eq!(opened.journal.read(5_555, 9).unwrap()[0].seq, 5_556);
    drop(opened.journal);
    assert!(try_open(&directory).unwrap().losses.is_empty(), "it was repaired once");
}

#[test]
fn events_that_lie_under_a_wrong_number_are_lost_and_said() {
    let directory = filled();
    let database = redb::Database::open(directory.file()).unwrap();
    let table = redb::TableDefinition::<u64, &[u8]>::new("events");
    let transaction = database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(table).unwrap();
        let place = rows.range(..PART + 1_500).unwrap().next_back().unwrap().unwrap().0.value();
        let row = rows.remove(place).unwrap().unwrap().value().to_vec();
        rows.insert(place + 2, row.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    assert!(opens_truthfully(&directory, "a row that lies elsewhere"));
    let journal = offline::Offline::open(directory.path()).unwrap();
    let (mut told, mut losses) = (0, Vec::new());
    journal.events(|_| told += 1, |loss| losses.push(loss)).unwrap();
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert!(losses[0].starts_with("events 4") && told < 2 * PART, "{told} told, {losses:?}");
}

#[test]
fn no_damaged_byte_makes_it_panic_or_lie() {
    let directory = filled();
    let whole = std::fs::read(directory.file()).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut opened, mut refused) = (0, 0);
    for round in 0..60 {
        let mut bytes = whole.clone();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A byte, or a whole page.
        let at = (seed >> 20) as usize % bytes.len();
        let run = if round % 2 == 0 { 1 } else { 4_096 };
        bytes[at..].iter_mut().take(run).for_each(|byte| *byte ^= 0x55);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        std::fs::write(directory.file(), &bytes).unwrap();
        match opens_truthfully(&directory, &format!("{run} bytes at {at} of {}", bytes.len())) {
            true => opened += 1,
            false => refused += 1,
        }
    }
    assert!(opened > 0, "{refused} of 60 were refused");
}
