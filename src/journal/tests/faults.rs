//! Disks that are full, broken or slow: it is said, nothing that was acknowledged is lost, and
//! writing goes on when it can.

use std::sync::Arc;

use pulsegate_wire::EventKind;

use super::support::{Directory, Heard, Told, event, settle, until};
use crate::store::Faults;
use crate::{Journal, Unavailable};

fn opened(directory: &Directory) -> (Journal, Arc<Faults>, Arc<Heard>) {
    drop(directory.open());
    let (faults, heard) = (Arc::new(Faults::default()), Arc::new(Heard::default()));
    let opened = directory.open_faulty(&faults, &heard);
    (opened.journal, faults, heard)
}

fn is_read_only(told: &[Told]) -> bool {
    told.iter().any(|told| matches!(told, Told::ReadOnly(_)))
}

/// Heals the disk, and checks that all went on: in order, once, with the time of it told.
fn goes_on(directory: &Directory, journal: Journal, faults: &Faults, heard: &Heard, events: u64) {
    faults.heal();
    let told = heard.until(|told| told.contains(&Told::Writable));
    let committed = |told: &Told| matches!(told, Told::Committed(_));
    let writable = told.iter().position(|told| *told == Told::Writable).unwrap();
    let before: Vec<&Told> = told[..writable].iter().filter(|told| committed(told)).collect();
    assert_eq!(before.len() as u64, events, "what waited is told before");
    assert_eq!(journal.append([event(1)]), Ok(events + 2));
    settle(&journal);
    drop(journal);
    let journal = directory.open().journal;
    let read = journal.read(0, usize::MAX).unwrap();
    assert!(read.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    assert_eq!(read.len() as u64, events + 2);
    let Some(EventKind::ReadOnly(told)) = &read[events as usize].kind else {
        panic!("{:?}", read[events as usize])
    };
    assert!(!told.reason.is_empty());
}

#[test]
fn a_full_disk_is_said_and_what_waited_is_written_later() {
    let directory = Directory::new();
    let (journal, faults, heard) = opened(&directory);
    journal.append((1..=100).map(event)).unwrap();
    settle(&journal);
    faults.fill_after(20_000);
    journal.append((101..=5_000).map(event)).unwrap();
    let told = heard.until(is_read_only);
    assert_eq!(told.last(), Some(&Told::ReadOnly("the disk is full".to_owned())));
    let refused = journal.append([event(1)]).unwrap_err();
    assert_eq!(refused, Unavailable::ReadOnly { reason: "the disk is full".to_owned() });
    let status = journal.status();
    assert_eq!(status.read_only.as_deref(), Some("the disk is full"));
    assert_eq!((status.queue, journal.committed()), (4_900, 100));
    assert!(journal.begin_snapshot().finish().is_err());
    goes_on(&directory, journal, &faults, &heard, 5_000);
}

#[test]
fn a_disk_that_breaks_down_and_comes_back_loses_nothing() {
    let directory = Directory::new();
    let (journal, faults, heard) = opened(&directory);
    faults.break_down();
    journal.append((1..=10).map(event)).unwrap();
    heard.until(is_read_only);
    assert_eq!(journal.committed(), 0);
    goes_on(&directory, journal, &faults, &heard, 10);
}

#[test]
fn a_sync_that_fails_once_is_not_trusted_and_not_written_twice() {
    let directory = Directory::new();
    let (journal, faults, heard) = opened(&directory);
    faults.fail_one_sync();
    journal.append((1..=10).map(event)).unwrap();
    heard.until(is_read_only);
    goes_on(&directory, journal, &faults, &heard, 10);
}

#[test]
fn a_stuck_commit_counts_as_read_only_until_it_returns() {
    let directory = Directory::new();
    let (journal, faults, heard) = opened(&directory);
    faults.stick();
    journal.append((1..=10).map(event)).unwrap();
    let told = heard.until(is_read_only);
    let reason = "the disk takes longer than 1 s for a commit".to_owned();
    assert_eq!(told, [Told::ReadOnly(reason)]);
    assert!(journal.append([event(1)]).is_err());
    assert_eq!(journal.committed(), 0);
    goes_on(&directory, journal, &faults, &heard, 10);
}

#[test]
fn closing_on_a_broken_disk_says_what_is_lost() {
    let directory = Directory::new();
    let (journal, faults, heard) = opened(&directory);
    journal.append([event(1)]).unwrap();
    settle(&journal);
    faults.break_down();
    journal.append((2..=10).map(event)).unwrap();
    heard.until(is_read_only);
    let error = journal.close(event(11)).unwrap_err();
    assert_eq!(error.events, 10, "{error}");
    assert!(error.to_string().contains("the disk does not answer"), "{error}");
    let opened = directory.open();
    assert!(!opened.was_clean);
    assert_eq!(opened.last_seq, 1);
}

#[test]
fn wherever_a_commit_is_torn_what_was_acknowledged_is_there() {
    for room in (0..200_000).step_by(4_000) {
        let directory = Directory::new();
        let (journal, faults, heard) = opened(&directory);
        let mut acknowledged = 0;
        faults.fill_after(room);
        while let Ok(last) = journal.append((1..=40).map(event)) {
            until("it is written or refused", || {
                journal.committed() == last || journal.status().read_only.is_some()
            });
            if journal.committed() == last {
                acknowledged = last;
            }
        }
        heard.until(is_read_only);
        // What the disk has at this moment is what a loss of power would leave.
        let image = Directory::new();
        std::fs::copy(directory.file(), image.file()).unwrap();
        let opened = image.open();
        assert!(opened.losses.is_empty(), "{room}: {:?}", opened.losses);
        let read = opened.journal.read(0, usize::MAX).unwrap();
        assert!(read.len() as u64 >= acknowledged, "{room}: {acknowledged} were acknowledged");
        assert!(read.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    }
}

/// On a real file system that is full, where this process may mount one.
#[test]
fn a_file_system_that_is_really_full_is_survived() {
    let directory = Directory::new();
    let mount = |arguments: &[&str]| {
        std::process::Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=4m", "pulsegate-test"]) {
        eprintln!("SKIPPED: this process may not mount a file system");
        return;
    }
    let heard = Arc::new(Heard::default());
    let opened = Journal::open(directory.options(), super::support::WALL_MS, heard.listener());
    let journal = opened.unwrap().journal;
    let filler = directory.path().join("filler");
    std::fs::write(&filler, vec![1; 2 << 20]).unwrap();
    let mut events = 0;
    while let Ok(last) = journal.append((0..1_000).map(event)) {
        events = last;
        until("it is written or refused", || {
            journal.committed() == last || journal.status().read_only.is_some()
        });
    }
    let told = heard.until(is_read_only);
    assert!(told.contains(&Told::ReadOnly("the disk is full".to_owned())), "{:?}", told.last());
    assert!(journal.committed() < events);
    std::fs::remove_file(&filler).unwrap();
    heard.until(|told| told.contains(&Told::Writable));
    settle(&journal);
    let read = journal.read(0, usize::MAX).unwrap();
    assert!(read.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    assert_eq!(read.len() as u64, events + 1);
    drop(journal);
    assert_eq!(directory.open().last_seq, events + 1);
    assert!(mount(&["umount"]), "it was mounted");
}
