//! A journal on the disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pulsegate_core::Config;
use pulsegate_journal::offline::Offline;
use pulsegate_journal::{Journal, Options as JournalOptions, Place, RecordingMode};
use pulsegate_sim::gateway::Policies;
use pulsegate_sim::lives::{Crashes, Lives, Surges};
use pulsegate_sim::server::{HOUR, MINUTE, Micros};
use pulsegate_sim::world::Setting;
use serde_json::Value;

use super::support::{WALL_MS, candidate, run_into};
use crate::{Options, Replay, Report};

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("pulsegate-replay-{}-{test}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn night(agents: u32) -> Setting {
    let crashes = Crashes { every: 12 * HOUR, down: HOUR / 2, warned: 0.5, leaves: 0.1 };
    let surges = Surges { every: 2 * HOUR, lasts: 5 * MINUTE, depth: 2_000 };
    let lives = Lives {
        crashes: Some(crashes),
        surges: Some(surges),
        have_queue: true,
        tasks: Some(1),
        ..Lives::default()
    };
    Setting { seed: 11, agents, lives, ..Setting::default() }
}

/// Records a night under `steady` into a directory, and replays another policy on the way.
fn record(directory: &Path, agents: u32, lasts: Micros) -> Report {
    let mut options = JournalOptions::new(Place::Directory(directory.to_owned()));
    options.recording.mode = RecordingMode::All;
    // Whatever the wall clock says, they stay.
    options.recording.max_age = Duration::from_secs(100 * 365 * 86_400);
    let opened = Journal::open(options, WALL_MS, Box::new(|_| ())).expect("a journal");
    let enforced = Policies::reference("steady", "steady", "");
    let tried = candidate("queue-pressure", Value::Null);
    let journal = Some(opened.journal);
    let (_, report) = run_into(&night(agents), lasts, &enforced, Some(tried), journal);
    report.expect("it was replayed")
}

#[test]
fn a_journal_on_the_disk_tells_the_same_as_what_was_recorded() {
    let directory = Directory::new("same");
    let expected = record(&directory.0, 30, 6 * HOUR);
    let journal = Offline::open(&directory.0).expect("the journal that was just written");
    // The key of the simulated world, and not that of the journal which it was written into.
    let options = Options { core: Config::default(), hash_key: [11, 0], ..Options::default() };
    let mut replay = Replay::new(candidate("queue-pressure", Value::Null), options);
    let (mut told, mut last) = (0, 0);
    let read = crate::read(&journal, &mut replay, |progress| {
        told += 1;
        assert!(progress.done >= last && progress.of > 0);
        last = progress.done;
    });
    read.expect("it can be read");
    let report = replay.finish();
    assert!(report.estimate.detection.silences > 0, "agents crash in it");
    let document = |report: &Report| {
        let mut document = serde_json::to_value(report).expect("JSON");
        // Measured, so never the same twice.
        document["exact"]["policy_ns"] = Value::Null;
        document
    };
    assert_eq!(document(&report), document(&expected));
    assert_eq!(told > 0, report.scope.heartbeats >= 16_384);
}

/// The journal of the manual's transcript.
#[test]
#[ignore = "it leaves a journal behind, which the manual shows the report of"]
fn a_night_for_the_manual() {
    record(&std::env::temp_dir().join("pulsegate-night"), 200, 10 * HOUR);
}
