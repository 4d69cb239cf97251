//! What the disk makes durable, and how fast a restart reads it: `cargo bench --bench journal`.
//!
//! Events of one agent each, as a heartbeat causes them, are appended in groups of 1, 64 and 1,024;
//! each group waits for its commit, as the answers of a gateway do. Then without waiting: the
//! writer commits whatever has come meanwhile. Then a restart: a snapshot of a million agents and
//! ten million events after it are opened, told, and told to the state machine. Last, what a
//! repair after a crash adds. Without `--bench` (under `cargo test --benches`) everything runs
//! tiny and only once, so that it never rots.
#![allow(clippy::print_stdout, reason = "a bench prints a table")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use pulsegate_core::{ClassId, Config, Machine, PartitionHasher, TenantId};
use pulsegate_journal::{Entry, Journal, Notice, Opened, Options, Place, Unavailable};
use pulsegate_wire::event::{AgentRecord, CadenceMoved, GatewayEnded, GuardMemory, Standing};
use pulsegate_wire::{Event, EventKind};

/// How much to do.
struct Scale {
    /// Commits for each size of a group.
    commits: u64,
    /// Events without waiting.
    flood: u64,
    agents: u64,
    events: u64,
}

const TINY: Scale = Scale { commits: 20, flood: 5_000, agents: 2_000, events: 10_000 };
const FULL: Scale =
    Scale { commits: 2_000, flood: 2_000_000, agents: 1_000_000, events: 10_000_000 };

/// Any wall time will do.
const WALL_MS: u64 = 1_790_000_000_000;

fn main() {
    let is_full = std::env::args().any(|argument| argument == "--bench");
    let scale = if is_full { FULL } else { TINY };
    let directory = Directory::new();
    println!("{:<34} {:>12} {:>10} {:>10}", "", "events/s", "p50", "p99");
    for group in [1, 64, 1_024] {
        groups(&directory, group, scale.commits);
    }
    flood(&directory, scale.flood);
    restart(&directory, &scale);
}

/// A directory for journals, one after the other.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self(path.join(format!("bench-journal-{}", std::process::id())))
    }

    /// An empty journal, and the numbers that became durable, as they do.
    fn fresh(&self) -> (Opened, Receiver<u64>) {
        let _ = std::fs::remove_dir_all(&self.0);
        self.open()
    }

    fn open(&self) -> (Opened, Receiver<u64>) {
        let (told, durable) = mpsc::channel();
        let listener = Box::new(move |notice: Notice<'_>| {
            if let Notice::Committed(events) = notice
                && let Some(last) = events.last()
            {
                // Whoever has gone away waits for nothing.
                let _ = told.send(last.seq);
            }
        });
        let options = Options::new(Place::Directory(self.0.clone()));
        (Journal::open(options, WALL_MS, listener).expect("a journal"), durable)
    }

    /// Size of the file, in MiB.
    fn mebibytes(&self) -> u64 {
        std::fs::metadata(self.0.join("journal.redb")).map_or(0, |metadata| metadata.len() >> 20)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn groups(directory: &Directory, group: u64, commits: u64) {
    let (opened, durable) = directory.fresh();
    let mut times = Vec::new();
    let started = Instant::now();
    for round in 0..commits {
        let began = Instant::now();
        let last = opened.journal.append((0..group).map(|i| event(round * group + i)));
        let last = last.expect("the disk takes it");
        while durable.recv().expect("a commit") < last {}
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let what = format!("groups of {group}, each waits");
    report(&what, group * commits, started.elapsed(), Some((at(50), at(99))));
}

fn flood(directory: &Directory, events: u64) {
    let (opened, durable) = directory.fresh();
    let started = Instant::now();
    fill(&opened.journal, &durable, events);
    let elapsed = started.elapsed();
    let status = opened.journal.status();
    let commits = Some((status.commit_p50, status.commit_p99));
    report("without waiting", events, elapsed, commits);
    println!("{:<34} {:>12}", "  bytes an event, on the disk", status.event_bytes / events.max(1));
}

/// Appends events of 64 agents at a time, and waits only where the queue is full.
fn fill(journal: &Journal, durable: &Receiver<u64>, events: u64) {
    let mut next = 0;
    let mut last = journal.appended();
    while next < events {
        let group = 64.min(events - next);
        match journal.append((next..next + group).map(event)) {
            Ok(seq) => (last, next) = (seq, next + group),
            Err(Unavailable::QueueFull { .. }) => drop(durable.recv().expect("a commit")),
            Err(error) => panic!("{error}"),
        }
    }
    while durable.recv().expect("a commit") < last {}
}

fn restart(directory: &Directory, scale: &Scale) {
    let (opened, durable) = directory.fresh();
    let mut snapshot = opened.journal.begin_snapshot();
    let started = Instant::now();
    for first in (0..scale.agents).step_by(1_000) {
        snapshot.add((first..(first + 1_000).min(scale.agents)).map(agent).collect());
    }
    snapshot.finish().expect("a snapshot");
    report("snapshot, agents a second", scale.agents, started.elapsed(), None);
    fill(&opened.journal, &durable, scale.events);
    let ended = EventKind::GatewayEnded(GatewayEnded::default());
    let ended = Event { kind: Some(ended), ..Event::default() };
    opened.journal.close(ended).expect("an end in order");
    println!("{:<34} {:>8} MiB", "  size of the file", directory.mebibytes());

    let records = scale.agents + scale.events + 1;
    let started = Instant::now();
    let (opened, _durable) = directory.open();
    elapsed("open after an end in order", started);
    let started = Instant::now();
    let mut told = 0;
    opened.replay.for_each(|_| told += 1).expect("the past");
    assert_eq!(told, records);
    report("replay: told", records, started.elapsed(), None);
    drop(opened.journal);

    // The mark of an end in order is gone now, as after a crash of the gateway, but the file was
    // closed; so the repair is shown by a copy of a file that is in use.
    let (opened, _durable) = directory.open();
    let copy = Directory(directory.0.with_extension("copy"));
    std::fs::create_dir_all(&copy.0).expect("a directory");
    let file = |directory: &Directory| directory.0.join("journal.redb");
    std::fs::copy(file(directory), file(&copy)).expect("a copy");
    drop(opened);
    let started = Instant::now();
    let (opened, _durable) = copy.open();
    elapsed("open after a crash, with a repair", started);

    let hasher = PartitionHasher::new(opened.hash_key);
    let mut machine = Machine::new(Config::default());
    let started = Instant::now();
    let taken = opened.replay.for_each(|entry| {
        let result = match &entry {
            Entry::Agent(row) => {
                let key = hasher.key(TenantId(0), &row.agent_id);
                machine.restore(row, key, ClassId(1)).map(drop)
            }
            Entry::Event(event) => {
                machine.apply(event, hasher.key(TenantId(0), &event.agent_id), ClassId(1))
            }
            Entry::Lease { .. } => Ok(()),
        };
        result.expect("there is room");
    });
    taken.expect("the past");
    assert_eq!(u64::from(machine.census().total()), scale.agents);
    report("replay: told to the machine", records, started.elapsed(), None);
}

/// Name of an agent, with 24 bytes.
fn name(number: u64) -> String {
    format!("fleet-a/agent-{number:010}")
}

fn standing(number: u64) -> Standing {
    Standing {
        state: 2,
        health: 1,
        incarnation: WALL_MS + number,
        interval_ms: 30_000,
        in_force_ms: 30_000,
        since_ms: number,
        heard: true,
        ..Standing::default()
    }
}

/// A move of the cadence: the most frequent event of a fleet that works.
fn event(number: u64) -> Event {
    // As agents beat: each in turn, in an order that no cache foresees.
    let agent = number.wrapping_mul(7_919) % 2_000;
    let guard = Some(GuardMemory { dwell_until_ms: number + 60_000, ..GuardMemory::default() });
    Event {
        at_ms: number,
        wall_ms: WALL_MS + number,
        tenant: "default".to_owned(),
        agent_id: name(agent),
        class: "normal".to_owned(),
        standing: Some(standing(number)),
        kind: Some(EventKind::CadenceMoved(CadenceMoved {
            from_ms: 20_000,
            to_ms: 30_000,
            turned: false,
            guard,
        })),
        ..Event::default()
    }
}

fn agent(number: u64) -> AgentRecord {
    AgentRecord {
        tenant: "default".to_owned(),
        agent_id: name(number),
        class: "normal".to_owned(),
        standing: Some(standing(number)),
        ..AgentRecord::default()
    }
}

fn report(what: &str, count: u64, took: Duration, times: Option<(Duration, Duration)>) {
    let per_second = count as f64 / took.as_secs_f64();
    let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let (p50, p99) = times.map(|(p50, p99)| (milliseconds(p50), milliseconds(p99))).unzip();
    let (p50, p99) = (p50.unwrap_or_default(), p99.unwrap_or_default());
    println!("{what:<34} {per_second:>12.0} {p50:>10} {p99:>10}");
}

fn elapsed(what: &str, started: Instant) {
    println!("{what:<34} {:>10.2} s", started.elapsed().as_secs_f64());
}
