//! Appending, reading, opening again.

use std::sync::Arc;

use pulsegate_wire::event::{FloorMoved, GatewayEnded};
use pulsegate_wire::{Event, EventKind};

use super::support::{Directory, Heard, Told, WALL_MS, event, settle, until};
use crate::{Entry, Journal, OpenError, Options, Place, ReadError, Unavailable};

fn ended() -> Event {
    let kind = EventKind::GatewayEnded(GatewayEnded { agents: 7, digest: "d".to_owned() });
    Event { at_ms: 99_000, kind: Some(kind), ..Event::default() }
}

#[test]
fn what_was_appended_is_there_once_and_in_order_after_opening_again() {
    let directory = Directory::new();
    let opened = directory.open();
    assert_eq!((opened.epoch, opened.last_seq, opened.down_ms), (1, 0, 0));
    assert!(opened.was_clean);
    let journal = opened.journal;
    for first in [1, 101, 201] {
        let last = journal.append((first..first + 100).map(event)).unwrap();
        assert_eq!(last, first + 99);
    }
    journal.close(ended()).unwrap();

    let opened = directory.open();
    assert!(opened.was_clean && opened.losses.is_empty());
    assert_eq!((opened.epoch, opened.last_seq, opened.core_ms), (2, 301, 99_000));
    let mut entries = Vec::new();
    let report = opened.replay.for_each(|entry| entries.push(entry)).unwrap();
    assert_eq!(report.events, 301);
    for (entry, number) in entries.iter().zip(1_u64..) {
        let Entry::Event(told) = entry else { panic!("{entry:?}") };
        let mut expected = if number == 301 { ended() } else { event(number) };
        expected.wall_ms = told.wall_ms;
        assert_eq!(*told, Event { epoch: 1, seq: number, ..expected });
    }
    assert_eq!(opened.journal.append([event(1)]).unwrap(), 302);
}

#[test]
fn a_journal_that_was_not_closed_says_so_and_keeps_what_was_committed() {
    let directory = Directory::new();
    let opened = directory.open();
    let [key, floor] = [opened.hash_key[0], u64::from(opened.floor_base_ms)];
    assert_eq!(floor, 0);
    let moved = EventKind::FloorMoved(FloorMoved { base_ms: 1_250 });
    let moved = Event { at_ms: 5, kind: Some(moved), ..Event::default() };
    opened.journal.append([event(1), moved]).unwrap();
    opened.journal.mark_time(77_000);
    drop((opened.journal, opened.replay));

    let options = directory.options();
    let opened = Journal::open(options, u64::MAX / 2, Box::new(|_| ())).unwrap();
    assert!(!opened.was_clean);
    assert_eq!((opened.last_seq, opened.core_ms), (2, 77_000));
    assert_eq!((opened.hash_key[0], opened.floor_base_ms), (key, 1_250));
    assert!(opened.down_ms > 0);
    assert_eq!(opened.starts_lately, 1);
}

#[test]
fn only_what_is_durable_is_told_and_in_order() {
    let directory = Directory::new();
    let heard = Arc::new(Heard::default());
    let opened = Journal::open(directory.options(), WALL_MS, heard.listener()).unwrap();
    let journal = opened.journal;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                for number in 1..=250 {
                    journal.append([event(number)]).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let told = heard.until(|told| told.len() == 1_000);
    assert!(told.iter().zip(1..).all(|(told, seq)| *told == Told::Committed(seq)));
    assert_eq!(journal.read(0, 2_000).unwrap().len(), 1_000);
}

#[test]
fn reading_goes_on_from_any_number() {
    let directory = Directory::new();
    let journal = directory.open().journal;
    // Rows of all sizes, up to several in one commit.
    for batch in [1_u64, 2, 700, 3_000] {
        journal.append((0..batch).map(event)).unwrap();
        settle(&journal);
    }
    let all = journal.read(0, usize::MAX).unwrap();
    assert_eq!(all.len(), 3_703);
    for (after, limit) in [(0, 1), (1, 5), (2, 701), (700, 3_000), (3_702, 9), (3_000, 0)] {
        let read = journal.read(after, limit).unwrap();
        let expected: Vec<Event> = all.iter().skip(after as usize).take(limit).cloned().collect();
        assert_eq!(read, expected, "after {after}");
    }
    assert_eq!(journal.read(3_703, 10), Ok(Vec::new()));
    assert_eq!(journal.read(u64::MAX, 10), Ok(Vec::new()));
}

#[test]
fn a_second_process_is_kept_out_and_told_who_has_it() {
    let directory = Directory::new();
    let first = directory.open();
    let error = directory.open_error();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let holder = format!("in use by process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    drop(first);
    assert_eq!(directory.open().epoch, 2);
}

#[test]
fn a_journal_in_memory_does_all_the_same() {
    let open = || Journal::open(Options::new(Place::Memory), WALL_MS, Box::new(|_| ())).unwrap();
    let opened = open();
    assert_eq!((opened.epoch, opened.down_ms), (1, 0));
    opened.journal.append((1..=5).map(event)).unwrap();
    settle(&opened.journal);
    assert_eq!(opened.journal.read(2, 9).unwrap().len(), 3);
    opened.journal.close(ended()).unwrap();
    assert_eq!(open().last_seq, 0);
}

#[test]
fn a_full_queue_refuses_all_of_a_batch_or_nothing() {
    let directory = Directory::new();
    let journal = directory.open_with(Options { queue: 10, ..directory.options() }).journal;
    let error = journal.append((0..11).map(event)).unwrap_err();
    assert_eq!(error, Unavailable::QueueFull { limit: 10 });
    assert_eq!(journal.appended(), 0);
    assert_eq!(journal.append((0..10).map(event)), Ok(10));
    settle(&journal);
    assert_eq!(journal.read(0, 99).unwrap().len(), 10);
}

#[test]
fn a_closed_journal_takes_nothing_more() {
    let directory = Directory::new();
    let journal = directory.open().journal;
    let other = journal.clone();
    journal.close(ended()).unwrap();
    assert_eq!(other.append([event(1)]), Err(Unavailable::Closed));
    assert!(other.close(ended()).is_err());
    assert!(other.begin_snapshot().finish().is_err());
    assert!(matches!(other.read(0, 1), Err(ReadError::Unavailable { .. })));
}

#[test]
fn the_status_says_what_there_is() {
    let directory = Directory::new();
    let journal = directory.open().journal;
    journal.append((1..=5).map(event)).unwrap();
    settle(&journal);
    // The writer tells what is durable before it counts what waits anew.
    until("nothing waits", || journal.status().queue == 0);
    let status = journal.status();
    assert_eq!((status.oldest_seq, status.newest_seq, status.written), (1, 5, 5));
    assert!(status.file_bytes > 0 && status.event_bytes > 0);
    assert!(status.commits >= 2 && status.commit_p99 >= status.commit_p50);
    assert_eq!((status.read_only, status.queue), (None, 0));
    assert!(!status.is_snapshot_due);
}
