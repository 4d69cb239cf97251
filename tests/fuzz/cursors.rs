//! Places that clients hand back: where a watch goes on (`Last-Event-ID`, `since`), and where a
//! listing does.

use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use pulsegate_gateway::shard;
use pulsegate_gateway::watch::{Cursor, Hub, Next};
use pulsegate_journal::{Journal, Notice, Options, Place};
use pulsegate_wire::{AgentId, Event, limits};
use tokio::runtime::{Builder, Runtime};

/// Events in the journal of the target; those after the first half are in memory as well.
const EVENTS: u64 = 120;

/// A gateway's watch, and something that waits for it.
struct World {
    hub: Arc<Hub>,
    epoch: u32,
    runtime: Runtime,
}

/// A text that is handed back as a place.
pub fn cursors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(AgentId::check(text).is_ok(), AgentId::try_from(text.to_owned()).is_ok());
    again::<shard::Cursor>(text);
    if let Some(cursor) = again::<Cursor>(text) {
        resume(cursor);
    }
}

/// What is a place is the same when it is written and read again.
fn again<C: FromStr + ToString + PartialEq>(text: &str) -> Option<C> {
    let cursor: C = text.parse().ok()?;
    let written = cursor.to_string();
    assert!(written.len() <= limits::CURSOR_BYTES);
    assert!(written.parse().is_ok_and(|read: C| read == cursor), "{written}");
    Some(cursor)
}

/// A watcher goes on right after its place, or is told that it cannot; then it goes on from now.
fn resume(cursor: Cursor) {
    static WORLD: OnceLock<World> = OnceLock::new();
    let World { hub, epoch, runtime } = WORLD.get_or_init(World::new);
    let mut watcher = hub.watch(Some(cursor)).expect("there is room");
    let first = runtime.block_on(watcher.look());
    // Of the beginning of everything no epoch is known.
    let is_there = cursor.seq <= EVENTS && (cursor.epoch == *epoch || cursor.seq == 0);
    match first {
        Next::Events(events) => {
            let seen: Vec<u64> = events.iter().map(|shown| shown.event.seq).collect();
            assert_eq!(seen, (cursor.seq + 1..=EVENTS).collect::<Vec<u64>>(), "after {cursor}");
            assert!(is_there, "{cursor} is none");
        }
        Next::Reset { now, .. } => {
            assert_eq!(now, hub.now());
            assert!(!is_there || cursor.epoch > *epoch, "{cursor} is there");
        }
        Next::Ended => panic!("the hub goes on"),
    }
    let after = runtime.block_on(watcher.look());
    assert!(matches!(after, Next::Events(events) if events.is_empty()), "it has seen everything");
}

impl World {
    fn new() -> Self {
        let hub = Arc::new(Hub::default());
        let publishing = hub.clone();
        let publish = move |notice: Notice<'_>| {
            if let Notice::Committed(events) = notice {
                let half = events.partition_point(|event| event.seq <= EVENTS / 2);
                publishing.publish(&events[half..]);
            }
        };
        let options = Options::new(Place::Memory);
        let opened = Journal::open(options, 1, Box::new(publish)).expect("a journal in memory");
        hub.connect(opened.journal.clone(), opened.epoch);
        let events = (0..EVENTS).map(|_| Event::default());
        opened.journal.append(events).expect("there is room");
        while hub.now().seq < EVENTS {
            std::thread::yield_now();
        }
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Self { hub, epoch: opened.epoch, runtime }
    }
}
