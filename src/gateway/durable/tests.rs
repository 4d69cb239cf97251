use std::path::{Path, PathBuf};

use pulsegate_journal::Notice;
use pulsegate_wire::event::FloorMoved;

use super::*;
use crate::config::Overrides;

fn floor(base_ms: u32) -> EventKind {
    EventKind::FloorMoved(FloorMoved { base_ms })
}

/// A directory of one test, removed when it is over.
struct Scratch {
    path: PathBuf,
    hub: Arc<Hub>,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("pulsegate-durable-{name}-{}", std::process::id());
        Self { path: std::env::temp_dir().join(name), hub: Arc::default() }
    }

    fn open(&self) -> (Durable, Opened) {
        let data = self.path.to_str().expect("a name");
        let overrides = Overrides::default().flag("--data", "journal.data_dir", data);
        let config = Config::parse("test", "", Path::new("."), &overrides).expect("it is fine");
        Durable::open(&Arc::new(config), Arc::default(), &self.hub).expect("a journal")
    }

    /// Lets a journal go as a process does that is killed.
    fn lose(&self, durable: Durable) {
        self.hub.disconnect();
        drop(durable);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[tokio::test]
async fn what_was_waited_for_is_there_after_a_restart() {
    let scratch = Scratch::new("restart");
    let (durable, opened) = scratch.open();
    assert_eq!((opened.epoch, opened.last_seq), (1, 0));
    drop(opened);
    let mark = durable.note("", floor(1_250));
    assert_eq!(durable.wait(mark).await, Ok(()));
    assert!(!durable.is_awaited(mark));
    scratch.lose(durable);
    let (durable, opened) = scratch.open();
    assert_eq!((opened.epoch, opened.last_seq, opened.was_clean), (2, 1, false));
    let events = durable.journal().read(0, 10).expect("it is readable");
    assert_eq!(events[0].kind, Some(floor(1_250)));
}

#[tokio::test]
async fn core_time_goes_on_where_it_was_recorded() {
    let scratch = Scratch::new("time");
    let (durable, opened) = scratch.open();
    drop(opened);
    durable.inner.clock.begin_at(core::Millis(7_000_000));
    let mark = durable.note("", floor(1));
    durable.wait(mark).await.expect("the disk takes it");
    scratch.lose(durable);
    let (durable, opened) = scratch.open();
    assert!(opened.core_ms >= 7_000_000, "{}", opened.core_ms);
    assert!(durable.inner.clock.now().0 >= 7_000_000);
}

#[tokio::test]
async fn a_commit_wakes_those_who_wait_for_it_and_no_others() {
    let commits = Commits::new(Arc::default());
    let (first, second) = (Mark::of(1), Mark::of(2));
    let (mut one, mut two) = (commits.wait(first).unwrap(), commits.wait(second).unwrap());
    commits.take(Notice::Committed(&[Arc::new(Event { seq: 1, ..Event::default() })]));
    assert_eq!(one.try_recv(), Ok(()));
    assert!(two.try_recv().is_err());
    assert!(commits.is_durable(first) && !commits.is_durable(second));
    // Whoever comes late does not wait.
    assert_eq!(commits.wait(first).unwrap().try_recv(), Ok(()));
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_lets_nobody_wait() {
    let commits = Commits::new(Arc::default());
    let waiting = commits.wait(Mark::of(1)).unwrap();
    commits.take(Notice::ReadOnly { reason: "no space left" });
    assert!(waiting.await.is_err());
    assert_eq!(commits.wait(Mark::of(2)).err(), Some(Unavailable));
    assert!(commits.is_read_only());
    commits.take(Notice::Writable { lasted_ms: 10 });
    assert!(!commits.is_read_only() && commits.wait(Mark::of(2)).is_ok());
}
