//! A process that is killed at any moment: what it acknowledged is there, once and in order.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::{Directory, agent, event, settle, standing};
use crate::{Entry, Journal, Options, Place, RecordingMode};

/// Where the child finds its directory.
const DIRECTORY: &str = "PULSEGATE_TEST_JOURNAL";
/// How many kills: in CI as below, more where somebody has the time.
const KILLS: &str = "PULSEGATE_TEST_KILLS";
const KILLS_IN_CI: u64 = 50;

fn options(directory: &Path) -> Options {
    let mut options = Options::new(Place::Directory(directory.to_owned()));
    options.recording.mode = RecordingMode::All;
    options.retention.max_bytes = 1 << 20;
    options
}

/// Appends without end and says what is durable; killed by the test below.
#[test]
#[ignore = "the child of a_kill_at_any_moment_loses_nothing_that_was_acknowledged"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let opened = Journal::open(options(directory.as_ref()), 1, Box::new(|_| ())).unwrap();
    let journal = opened.journal;
    let mut out = std::io::stdout();
    writeln!(out, "epoch {}", opened.epoch).unwrap();
    for round in 0_u64.. {
        let next = journal.appended() + 1;
        let last = journal.append((next..next + 1 + round * 7 % 60).map(event)).unwrap();
        journal.mark_time(last * 10 + 1);
        journal.record(crate::HeartbeatRecord { wall_ms: round, ..Default::default() });
        if round % 8 == 3 {
            let mut snapshot = journal.begin_snapshot();
            snapshot.add((0..200).map(agent).collect());
            snapshot.finish().unwrap();
        }
        settle(&journal);
        writeln!(out, "ack {last}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let directory = Directory::new();
    let kills = std::env::var_os(KILLS).and_then(|kills| kills.to_str()?.parse().ok());
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let (mut acknowledged, mut epoch, mut core_ms) = (0, 0, 0);
    for kill in 0..kills.unwrap_or(KILLS_IN_CI) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_micros((seed >> 33) % 60_000);
        acknowledged = run_and_kill(directory.path(), delay, kill == 0).max(acknowledged);

        let what = format!("kill {kill} after {delay:?}, {acknowledged} acknowledged");
        let opened = Journal::open(options(directory.path()), 1, Box::new(|_| ())).unwrap();
        assert!(opened.losses.is_empty(), "{what}: {:?}", opened.losses);
        assert!(opened.epoch > epoch, "{what}: the epoch must grow");
        assert!(opened.core_ms >= core_ms.max(acknowledged * 10), "{what}: time must not go back");
        assert!(opened.last_seq >= acknowledged, "{what}: only {} are there", opened.last_seq);
        (epoch, core_ms) = (opened.epoch, opened.core_ms);
        let (last_seq, mut next) = (opened.last_seq, None);
        let told = opened.replay.for_each(|entry| match entry {
            Entry::Event(told) => {
                assert_eq!(told.seq, next.unwrap_or(told.seq), "{what}");
                assert_eq!(told.standing, Some(standing(told.seq)), "{what}");
                next = Some(told.seq + 1);
            }
            entry => assert!(matches!(entry, Entry::Agent(_)), "{entry:?}"),
        });
        let told = told.unwrap();
        assert!(told.agents == 0 || told.agents == 200, "{what}: {told:?}");
        assert!(next.is_none_or(|next| next == last_seq + 1), "{what}");
        drop(opened.journal);
    }
    assert!(acknowledged > kills.unwrap_or(KILLS_IN_CI), "the children did nothing");
}

/// Runs a child, kills it some time after it began to serve, and returns what it acknowledged.
fn run_and_kill(directory: &Path, delay: Duration, wait_for_one: bool) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let seen = acknowledged.clone();
    let (began, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Some(seq) = line.strip_prefix("ack ") {
                // A line that the kill cut in two is no acknowledgement that somebody got.
                seen.store(seq.parse().unwrap_or(0), Ordering::Release);
                let _ = began.send(());
            } else if line.contains("epoch ") && !wait_for_one {
                let _ = began.send(());
            }
        }
    });
    begun.recv_timeout(super::support::PATIENCE).unwrap();
    // The moment of the kill is the point; nothing waits for it.
    let (_forever, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    acknowledged.load(Ordering::Acquire)
}
