//! How fast recorded heartbeats are replayed: `cargo bench --bench replay`.
//!
//! A journal on the disk with heartbeats of a thousand agents, as a gateway samples them, and the
//! events beside them. Read with owned texts (prost) and borrowed; replayed with `steady` and
//! `queue-pressure` in Wasm, and with the built-in policy as native code, which is what everything
//! but the candidate costs. One thread each; a core's rate is by the processor time of that thread,
//! so that a busy machine does not slow it. Rounds alternate; median and range. Without `--bench`
//! (under `cargo test --benches`) everything runs tiny and only once, so that it never rots.
#![allow(clippy::print_stdout, reason = "a bench prints a table")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pulsegate_core::cadence::{self, Guard};
use pulsegate_core::{Classes, Config, Millis, Observation, Signals, builtin};
use pulsegate_journal::offline::Offline;
use pulsegate_journal::{HeartbeatRecord, Journal, Place, Recording, RecordingMode};
use pulsegate_policy::{Limits, Pool, Source, reference};
use pulsegate_replay::{Candidate, Options, Replay, Report};
use pulsegate_wire::event::{CadenceMoved, GatewayEnded, Standing};
use pulsegate_wire::{Event, EventKind};

/// How much to do.
struct Scale {
    rounds: usize,
    agents: u64,
    heartbeats: u64,
}

const TINY: Scale = Scale { rounds: 1, agents: 50, heartbeats: 5_000 };
const FULL: Scale = Scale { rounds: 5, agents: 1_000, heartbeats: 1_500_000 };

/// Any wall time will do.
const WALL_MS: u64 = 1_790_000_000_000;
/// Heartbeats that are recorded between two looks at the writer.
const GROUP: u64 = 4_096;
/// Records are kept whatever the wall clock says.
const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);

fn main() {
    let is_full = std::env::args().any(|argument| argument == "--bench");
    let scale = if is_full { FULL } else { TINY };
    let directory = Directory::new();
    fill(&directory.0, &scale);
    let journal = Offline::open(&directory.0).expect("the journal that was just written");
    let cases: [(&str, &dyn Fn() -> u64); 5] = [
        ("read, texts owned (prost)", &|| {
            let mut count = 0;
            let told = journal.heartbeats(|_, _| {
                count += 1;
                true
            });
            told.expect("it can be read");
            count
        }),
        ("read, texts borrowed", &|| {
            let mut count = 0;
            let told = journal.recorded(|_, beat| {
                count += u64::from(beat.is_some());
                true
            });
            told.expect("it can be read");
            count
        }),
        ("replay, built-in policy", &|| replayed(&journal, None).scope.heartbeats),
        ("replay, `steady` in Wasm", &|| replayed(&journal, Some("steady")).scope.heartbeats),
        ("replay, `queue-pressure` in Wasm", &|| {
            replayed(&journal, Some("queue-pressure")).scope.heartbeats
        }),
    ];
    let mut rates = vec![Vec::new(); cases.len()];
    for _ in 0..scale.rounds {
        for ((_, run), rates) in cases.iter().zip(&mut rates) {
            let (began, worked) = (Instant::now(), processor_time());
            let count = run();
            assert_eq!(count, scale.heartbeats);
            let worked = processor_time().saturating_sub(worked).max(Duration::from_millis(1));
            let count = count as f64;
            rates.push((count / worked.as_secs_f64(), count / began.elapsed().as_secs_f64()));
        }
    }
    println!(
        "{:<34} {:>14} {:>22} {:>14} {:>9}",
        "heartbeats a second", "a core", "range", "by the clock", "ns each"
    );
    for ((name, _), rates) in cases.iter().zip(&mut rates) {
        rates.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (low, high) = (rates[0].0, rates[rates.len() - 1].0);
        let (core, clock) = rates[rates.len() / 2];
        let range = format!("{low:.0}-{high:.0}");
        println!("{name:<34} {core:>14.0} {range:>22} {clock:>14.0} {:>9.0}", 1e9 / core);
    }
    let median = |case: usize| rates[case][rates[case].len() / 2].0;
    println!("`steady` takes {:.2} times as long as the built-in policy", median(2) / median(3));
}

fn replayed(journal: &Offline, policy: Option<&str>) -> Report {
    let candidate = match policy {
        None => Candidate::builtin(&Classes::default(), Limits::default()),
        Some(policy) => {
            let found = reference::ALL.iter().find(|(name, _)| *name == policy);
            let (name, bytes) = found.expect("it is embedded");
            let settings = serde_json::Value::Null;
            let (name, bytes, pool) = ((*name).to_owned(), bytes.to_vec(), Pool::Native);
            let source = Source { name, bytes, settings, pool };
            Candidate::load(source, &Classes::default(), Limits::default())
        }
    };
    let options = Options { hash_key: journal.header().hash_key, ..Options::default() };
    let mut replay = Replay::new(candidate.expect("it loads"), options);
    pulsegate_replay::read(journal, &mut replay, |_| ()).expect("it can be read");
    replay.finish()
}

/// What this thread has worked so far: the kernel counts it in hundredths of a second.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A directory for one journal.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self(path.join(format!("bench-replay-{}", std::process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Records heartbeats as a gateway does.
fn fill(directory: &Path, scale: &Scale) {
    let mut options = pulsegate_journal::Options::new(Place::Directory(directory.to_owned()));
    options.recording = Recording { mode: RecordingMode::All, max_bytes: 64 << 30, max_age: AGES };
    let opened = Journal::open(options, WALL_MS, Box::new(|_| ())).expect("a journal");
    let journal = opened.journal;
    let mut fleet = Fleet::new(scale.agents);
    let mut recorded = 0;
    while recorded < scale.heartbeats {
        let group = GROUP.min(scale.heartbeats - recorded);
        let mut moved = Vec::new();
        (0..group).for_each(|_| journal.record(fleet.beat(&mut moved)));
        recorded += group;
        // An event wakes the writer.
        moved.push(fleet.event());
        journal.append(moved).expect("the disk takes it");
        while journal.status().heartbeats + 8 * GROUP < recorded {
            std::thread::yield_now();
        }
    }
    assert_eq!(journal.status().heartbeats_dropped, 0);
    let ended = EventKind::GatewayEnded(GatewayEnded::default());
    let ended = Event { kind: Some(ended), ..Event::default() };
    journal.close(ended).expect("an end in order");
}

/// Agents whose queues come and go, paced by the built-in policy.
struct Fleet {
    config: Config,
    /// Guard, instant of the next heartbeat, sequence.
    agents: Vec<(Guard, u64, u64)>,
    next: usize,
    now_ms: u64,
}

impl Fleet {
    fn new(agents: u64) -> Self {
        let agents = (0..agents).map(|agent| (Guard::new(30_000), 1 + agent * 30, 0)).collect();
        Self { config: Config::default(), agents, next: 0, now_ms: 0 }
    }

    fn beat(&mut self, moved: &mut Vec<Event>) -> HeartbeatRecord {
        let place = self.next;
        self.next = (self.next + 1) % self.agents.len();
        let (guard, at_ms, sequence) = &mut self.agents[place];
        *sequence += 1;
        self.now_ms = self.now_ms.max(*at_ms);
        let class = self.config.classes.normal();
        let class = &self.config.classes[class];
        let first = if *sequence == 1 { Signals::FIRST } else { Signals::DIRECTIVE_SEEN };
        let errors = if (*sequence + place as u64) % 97 < 4 { 9 } else { 0 };
        let seen = Observation {
            now_ms: *at_ms,
            signals: first.with(Signals::HAS_QUEUE_DEPTH).with(Signals::HAS_CPU_PERCENT),
            interval_ms: guard.stored_ms(),
            lateness_ms: 4,
            queue_depth: ((*sequence * 131 + place as u64 * 17) % 700) as f64,
            queue_trend: 0.5,
            cpu_percent: 37.5,
            errors,
            fleet_load: 0.002,
            ..Observation::default()
        };
        let verdict = builtin::decide(&seen, class);
        let cap_ms = self.config.cadence.cap_ms(class.cap_ms(), None);
        let step = guard.step(Millis(*at_ms), verdict.interval_ms, cap_ms, &self.config.cadence);
        let sent_ms = cadence::early(step.stored_ms, 1_000, place as u64, *sequence, 7);
        let record = HeartbeatRecord {
            at_ms: *at_ms,
            wall_ms: WALL_MS + *at_ms,
            tenant: "default".to_owned(),
            agent_id: format!("fleet-a/agent-{place:010}"),
            class: "normal".to_owned(),
            incarnation: WALL_MS,
            sequence: *sequence,
            observed: Some((&seen).into()),
            judged: verdict.health.as_str().to_owned(),
            score: verdict.score,
            hint_ms: verdict.interval_ms,
            policy: "steady@0123456789ab".to_owned(),
            reason: builtin::REASONS[usize::from(verdict.source.reason)].to_owned(),
            stored_ms: step.stored_ms,
            effective_ms: step.stored_ms,
            sent_ms,
            bound: step.bound.as_str().to_owned(),
            ..HeartbeatRecord::default()
        };
        *at_ms += u64::from(sent_ms);
        if step.stored_ms != step.before_ms {
            let (from_ms, to_ms, turned) = (step.before_ms, step.stored_ms, step.turned);
            let kind = CadenceMoved { from_ms, to_ms, turned, guard: None };
            moved.push(Event {
                agent_id: record.agent_id.clone(),
                kind: Some(EventKind::CadenceMoved(kind)),
                ..self.event()
            });
        }
        record
    }

    /// An event of the present.
    fn event(&self) -> Event {
        Event {
            at_ms: self.now_ms,
            wall_ms: WALL_MS + self.now_ms,
            tenant: "default".to_owned(),
            agent_id: "fleet-a/agent-0000000000".to_owned(),
            class: "normal".to_owned(),
            standing: Some(Standing { in_force_ms: 30_000, ..Standing::default() }),
            kind: Some(EventKind::InForce(pulsegate_wire::event::InForce { from_ms: 30_000 })),
            ..Event::default()
        }
    }
}
