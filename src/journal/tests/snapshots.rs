//! Snapshots, and what they make superfluous.

use std::time::Duration;

use pulsegate_wire::event::LeaseGranted;

use super::support::{Directory, agent, event, settle, until};
use crate::{Entry, Options, ReadError, Retention};

#[test]
fn a_restart_begins_from_the_newest_whole_snapshot() {
    let directory = Directory::new();
    let journal = directory.open().journal;
    journal.append((1..=50).map(event)).unwrap();
    let mut snapshot = journal.begin_snapshot();
    assert_eq!(snapshot.from_seq(), 50);
    snapshot.add((0..1_000).map(agent).collect());
    journal.append((51..=60).map(event)).unwrap();
    snapshot.add((1_000..3_000).map(agent).collect());
    let lease = LeaseGranted { name: "l".to_owned(), token: 1 << 32, ..Default::default() };
    snapshot.add_leases(vec![("t".to_owned(), lease.clone())]);
    snapshot.finish().unwrap();
    let mut unfinished = journal.begin_snapshot();
    unfinished.add((0..5_000).map(|n| agent(n + 9_000)).collect());
    drop(unfinished);
    journal.append((61..=65).map(event)).unwrap();
    drop(journal);

    let opened = directory.open();
    let (mut agents, mut leases, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let report = opened.replay.for_each(|entry| match entry {
        Entry::Agent(agent) => agents.push(agent),
        Entry::Lease { tenant, lease } => leases.push((tenant, lease)),
        Entry::Event(event) => events.push(event.seq),
    });
    assert!(report.unwrap().losses.is_empty());
    assert_eq!(agents, (0..3_000).map(agent).collect::<Vec<_>>());
    assert_eq!(leases, [("t".to_owned(), lease)]);
    assert_eq!(events, (51..=65).collect::<Vec<_>>());
}

#[test]
fn only_what_a_snapshot_covers_goes_and_reading_it_says_gone() {
    let directory = Directory::new();
    // Every event here is older than a second.
    let retention = Retention { max_age: Duration::from_secs(1), ..Retention::default() };
    let journal = directory.open_with(Options { retention, ..directory.options() }).journal;
    for first in (0..1_000).step_by(100) {
        let old = (first..first + 100).map(|n| pulsegate_wire::Event { wall_ms: 1, ..event(n) });
        journal.append(old).unwrap();
        settle(&journal);
    }
    assert_eq!(journal.status().oldest_seq, 1);
    journal.begin_snapshot().finish().unwrap();
    until("old events go", || journal.status().oldest_seq > 900);
    let oldest = journal.status().oldest_seq;
    assert_eq!(journal.read(0, 9), Err(ReadError::Gone { oldest }));
    assert_eq!(journal.read(oldest - 2, 9), Err(ReadError::Gone { oldest }));
    assert_eq!(journal.read(oldest - 1, 1).unwrap()[0].seq, oldest);
    assert_eq!(journal.append([event(1)]).unwrap(), 1_001);
    drop(journal);
    let opened = directory.open();
    assert_eq!(opened.replay.for_each(|_| ()).unwrap().events, 1);
}

#[test]
fn the_file_keeps_its_bound_under_long_churn() {
    let directory = Directory::new();
    let retention = Retention { max_bytes: 2 << 20, ..Retention::default() };
    let journal = directory.open_with(Options { retention, ..directory.options() }).journal;
    let mut largest = 0;
    for round in 0..60_u64 {
        for _ in 0..10 {
            journal.append((0..1_000).map(event)).unwrap();
            settle(&journal);
        }
        let mut snapshot = journal.begin_snapshot();
        snapshot.add((0..2_000).map(agent).collect());
        snapshot.finish().unwrap();
        until("its bytes are within the bound", || journal.status().event_bytes <= 2 << 20);
        if round == 20 {
            largest = journal.status().file_bytes;
        }
    }
    let status = journal.status();
    assert!(status.newest_seq == 600_000 && status.oldest_seq > 500_000, "{status:?}");
    let size = status.file_bytes;
    assert!(size <= largest && size < 16 << 20, "{size} bytes, {largest} long before");
}
