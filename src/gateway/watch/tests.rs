use pulsegate_journal::{Options, Place};
use pulsegate_wire::EventKind;
use pulsegate_wire::event::FloorMoved;

use super::*;

fn event(base_ms: u32) -> Event {
    Event { kind: Some(EventKind::FloorMoved(FloorMoved { base_ms })), ..Event::default() }
}

/// A hub behind a journal in memory.
fn hub() -> (Arc<Hub>, Journal) {
    let hub = Arc::new(Hub::default());
    let publishing = Arc::downgrade(&hub);
    let listener = move |notice: pulsegate_journal::Notice<'_>| {
        if let (pulsegate_journal::Notice::Committed(events), Some(hub)) =
            (notice, publishing.upgrade())
        {
            hub.publish(events);
        }
    };
    let opened = Journal::open(Options::new(Place::Memory), 1, Box::new(listener));
    let opened = opened.expect("a journal in memory");
    hub.connect(opened.journal.clone(), opened.epoch);
    (hub, opened.journal.clone())
}

/// Takes events until this many have come; a reset is a failure.
async fn take(watcher: &mut Watcher, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match watcher.next().await {
            Next::Events(events) => seen.extend(events.iter().map(|shown| shown.event.seq)),
            other => panic!("{other:?} after {seen:?}"),
        }
    }
    seen
}

#[tokio::test]
async fn a_watcher_sees_every_event_once_and_in_order() {
    let (hub, journal) = hub();
    let mut watcher = hub.watch(None).expect("there is room");
    for round in 0..20 {
        journal.append((0..100).map(|n| event(round * 100 + n))).expect("there is room");
    }
    let seen = take(&mut watcher, 2_000).await;
    assert_eq!(seen, (1..=2_000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_watcher_that_fell_behind_what_is_kept_in_memory_reads_on_from_the_journal() {
    let (hub, journal) = hub();
    let mut watcher = hub.watch(None).expect("there is room");
    let all = RING as u64 + 5_000;
    for chunk in 0..all / 500 {
        journal.append((0..500).map(|n| event(chunk as u32 * 500 + n))).expect("there is room");
        while journal.committed() < (chunk + 1) * 500 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(hub.ring.lock().len(), RING);
    let seen = take(&mut watcher, (all / 500 * 500) as usize).await;
    assert!(seen.iter().copied().eq(1..=all / 500 * 500));
}

#[tokio::test]
async fn a_place_that_this_journal_does_not_know_is_reset_and_then_goes_on() {
    let (hub, journal) = hub();
    journal.append((0..10).map(event)).expect("there is room");
    while hub.now().seq < 10 {
        tokio::task::yield_now().await;
    }
    let epoch = hub.now().epoch;
    let strangers = [
        Cursor { epoch, seq: 11 },
        Cursor { epoch: epoch + 1, seq: 5 },
        // Of another timeline: that event was recorded in this epoch.
        Cursor { epoch: epoch - 1, seq: 5 },
    ];
    for from in strangers {
        let mut watcher = hub.watch(Some(from)).expect("there is room");
        let next = watcher.next().await;
        assert!(matches!(next, Next::Reset { now, .. } if now.seq == 10), "{from}: {next:?}");
    }
    let mut watcher = hub.watch(Some(Cursor { epoch, seq: 4 })).expect("there is room");
    assert_eq!(take(&mut watcher, 6).await, [5, 6, 7, 8, 9, 10]);
    hub.close();
    assert!(matches!(watcher.next().await, Next::Ended));
}

#[test]
fn a_cursor_is_what_it_was_written_as_and_nothing_else_is_one() {
    let cursor = Cursor { epoch: 3, seq: 1_042 };
    assert_eq!(cursor.to_string(), "3-1042");
    assert_eq!("3-1042".parse(), Ok(cursor));
    for text in ["", "3", "3-", "-3", "3-1-2", "+3-1", "3--1", "a-1", "3-99999999999999999999"] {
        assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
    }
}

#[tokio::test]
async fn a_place_behind_the_last_number_that_there_can_be_is_none() {
    let (hub, journal) = hub();
    journal.append([event(1)]).expect("there is room");
    for seq in [u64::MAX - 1, u64::MAX] {
        let mut watcher = hub.watch(Some(Cursor { epoch: 1, seq })).expect("there is room");
        assert!(matches!(watcher.look().await, Next::Reset { .. }), "{seq}");
    }
}
