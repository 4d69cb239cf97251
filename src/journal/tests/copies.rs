//! Backups, restoring, and looking at a journal that nobody has open.

use pulsegate_wire::event::{GatewayEnded, GatewayStarted, Registered, Silent};
use pulsegate_wire::{Event, EventKind};

use super::support::{Directory, agent, event, settle, standing};
use crate::offline::{self, Offline};
use crate::{HeartbeatRecord, OpenError, Options, Recording, RecordingMode};

fn told(agent: &str, at_ms: u64, state: i32, kind: EventKind) -> Event {
    let standing = pulsegate_wire::event::Standing { state, ..standing(1) };
    let (tenant, agent_id) = ("default".to_owned(), agent.to_owned());
    Event {
        at_ms,
        tenant,
        agent_id,
        standing: Some(standing),
        kind: Some(kind),
        ..Event::default()
    }
}

#[test]
fn a_backup_of_a_running_journal_is_whole_and_goes_on_above_all_its_tokens() {
    let [live, backups, place] = [Directory::new(), Directory::new(), Directory::new()];
    let journal = live.open().journal;
    journal.append((1..=500).map(event)).unwrap();
    let mut snapshot = journal.begin_snapshot();
    snapshot.add((0..100).map(agent).collect());
    snapshot.finish().unwrap();
    journal.append((501..=600).map(event)).unwrap();
    settle(&journal);
    let copied = journal.backup(&backups.file()).unwrap();
    assert_eq!((copied.oldest_seq, copied.newest_seq, copied.epoch), (1, 600, 1));
    // The original goes on, and its next starts give tokens of their epochs.
    journal.append([event(601)]).unwrap();
    let error = journal.backup(&backups.file()).unwrap_err();
    assert!(error.to_string().ends_with("it exists already"), "{error}");

    let restored = offline::restore(backups.path(), place.path()).unwrap();
    assert_eq!((restored.epoch, restored.newest_seq), (1_025, 600));
    let again = offline::restore(backups.path(), place.path()).unwrap_err();
    assert!(matches!(again, OpenError::Io { .. }), "{again}");
    let opened = place.open();
    assert_eq!((opened.epoch, opened.last_seq), (1_026, 600));
    let report = opened.replay.for_each(|_| ()).unwrap();
    assert_eq!((report.agents, report.events), (100, 100));
    let id = |directory: &Directory| Offline::open(directory.path()).unwrap().header().journal_id;
    drop((opened.journal, journal));
    assert_ne!(id(&live), id(&place));
    assert_eq!(id(&live), id(&backups));
}

#[test]
fn a_journal_in_use_is_not_opened_offline_and_a_missing_one_is_not_made() {
    let [used, empty] = [Directory::new(), Directory::new()];
    let journal = used.open().journal;
    let error = Offline::open(used.path()).err().unwrap();
    assert!(error.to_string().contains("is in use by process"), "{error}");
    drop(journal);
    assert_eq!(Offline::open(used.path()).unwrap().header().epoch, 1);
    assert_eq!(used.open().epoch, 2, "looking at it was no start");
    let error = Offline::open(empty.path()).err().unwrap();
    assert!(matches!(error, OpenError::Absent { .. }), "{error}");
    assert!(!empty.file().exists());
}

#[test]
fn what_is_counted_and_verified_is_what_was_written() {
    let directory = Directory::new();
    let recording = Recording { mode: RecordingMode::All, ..Recording::default() };
    let journal = directory.open_with(Options { recording, ..directory.options() }).journal;
    let silent = |last_receipt_ms, grace_ms| Silent {
        last_receipt_ms,
        in_force_ms: 30_000,
        grace_ms,
        ..Silent::default()
    };
    let started = EventKind::GatewayStarted(GatewayStarted::default());
    journal.append([Event { kind: Some(started), ..Event::default() }]).unwrap();
    let events = [
        told("good", 0, 2, EventKind::Registered(Registered::default())),
        told("good", 50_000, 3, EventKind::Suspected(silent(0, 20_000))),
        told("early", 0, 2, EventKind::Registered(Registered::default())),
        told("early", 49_000, 3, EventKind::Suspected(silent(0, 20_000))),
    ];
    journal.append(events).unwrap();
    journal.record(HeartbeatRecord {
        at_ms: 30_000,
        tenant: "default".to_owned(),
        agent_id: "early".to_owned(),
        wall_ms: u64::MAX >> 1,
        ..HeartbeatRecord::default()
    });
    let ended = EventKind::GatewayEnded(GatewayEnded::default());
    journal.close(Event { kind: Some(ended), ..Event::default() }).unwrap();

    let mut offline = Offline::open(directory.path()).unwrap();
    let stats = offline.stats().unwrap();
    assert_eq!((stats.events, stats.heartbeats, stats.kinds["suspected"]), (6, 1, 2));
    assert!(stats.losses.is_empty() && offline.header().is_clean);
    let verdict = offline::verify(&mut offline).unwrap();
    let found: Vec<&str> = verdict.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        found,
        [
            "default/early is suspected 1000 ms early",
            "default/early is suspected by a silence since 0 ms, and was heard at 30000 ms"
        ]
    );
    assert_eq!((verdict.silences, verdict.silences_with_heartbeats), (2, 1));
    assert!(verdict.unchecked[0].starts_with("1 silences"), "{:?}", verdict.unchecked);
}
