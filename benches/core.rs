//! What one core makes of heartbeats: `cargo bench --bench core`.
//!
//! One million agents with ids of 24 bytes beat in random order; each heartbeat is found by name
//! (hash included), handled, judged by the built-in policy and decided, and the wheel turns a tick
//! every 10 ms of virtual time. Among a million agents a lookup waits for memory: one by one the
//! waits add up, in bursts (`Machine::find_all`) they overlap. Then the same with the reference
//! policy `steady` in Wasm for both questions: flat calls one by one, rows in bursts. Without
//! `--bench` (under `cargo test --benches`) everything runs tiny and only once, so that it never
//! rots.
#![allow(clippy::print_stdout, reason = "a bench prints a table")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use pulsegate_core::wheel::Wheel;
use pulsegate_core::{
    Beat, Config, Effects, Handled, Machine, Millis, PartitionHasher, TenantId, Ticket, Verdict,
    builtin,
};
use pulsegate_policy::{
    Engine, Evaluation, Item, Limits, Memory, PolicySet, Pool, Route, Source, Worker, reference,
};

/// Virtual time in which every agent beats once: just below the default interval.
const ROUND_MS: u64 = 28_000;

struct World {
    machine: Machine,
    config: Config,
    hasher: PartitionHasher,
    effects: Effects,
    judge: Judge,
}

/// Who gives verdicts.
enum Judge {
    Builtin,
    Wasm(Box<Wasm>),
}

/// `steady` with everything that calling it takes.
struct Wasm {
    set: PolicySet,
    worker: Worker,
    memories: Vec<Memory>,
    answers: Vec<Evaluation>,
}

impl Wasm {
    fn steady(config: &Config) -> Self {
        let name = "steady";
        let (_, bytes) =
            reference::ALL.iter().find(|(known, _)| *known == name).expect("it is embedded");
        let source = Source {
            name: name.into(),
            bytes: bytes.to_vec(),
            settings: serde_json::Value::Null,
            pool: Pool::Native,
        };
        let asked = || Some(name.to_owned());
        let route = Route { health: asked(), cadence: asked(), ..Route::default() };
        let engine = Engine::new(Limits::default()).expect("an engine");
        let set = PolicySet::load(&engine, &config.classes, vec![source], vec![route], &[])
            .expect("a set");
        Self { set, worker: Worker::new(), memories: Vec::new(), answers: Vec::new() }
    }

    fn judge(&mut self, tickets: &[Ticket], verdicts: &mut Vec<Verdict>) {
        let Self { set, worker, memories, answers } = self;
        let (labels, none) = (BTreeMap::new(), BTreeMap::new());
        memories.resize(tickets.len(), Memory::default());
        let assignment = |ticket: &Ticket| set.assign(TenantId(0), ticket.class, &labels);
        if let ([ticket], [memory]) = (tickets, &mut memories[..]) {
            let seen = &ticket.observation;
            let (assignment, class) = (assignment(ticket), ticket.class);
            verdicts.push(worker.evaluate(set, assignment, class, seen, &none, memory).verdict);
            return;
        }
        let item = |(ticket, memory): (&Ticket, _)| Item {
            assignment: assignment(ticket),
            class: ticket.class,
            observation: ticket.observation,
            custom: &none,
            memory,
        };
        let mut items: Vec<_> = tickets.iter().zip(memories).map(item).collect();
        worker.evaluate_batch(set, &mut items, answers);
        verdicts.extend(answers.iter().map(|answer| answer.verdict));
    }
}

struct Scale {
    agents: u32,
    rounds: u64,
}

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let scale = if full {
        Scale { agents: 1_000_000, rounds: 5 }
    } else {
        Scale { agents: 500, rounds: 2 }
    };
    println!("{} agents, 24-byte ids, random order, one core", scale.agents);
    heartbeats(&scale);
    wheel(&scale);
}

/// Names in the order in which they beat: a random one, compared to that of registration.
fn names(scale: &Scale, shuffled: bool) -> Vec<[u8; 24]> {
    let mut names: Vec<[u8; 24]> = (0..scale.agents)
        .map(|agent| {
            let mut name = [0; 24];
            name.copy_from_slice(format!("worker-{agent:09}-eu-west").as_bytes());
            name
        })
        .collect();
    if shuffled {
        shuffle(&mut names);
    }
    names
}

/// Fisher and Yates, with a fixed seed.
fn shuffle<T>(items: &mut [T]) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..items.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        items.swap(last, (random % (last as u64 + 1)) as usize);
    }
}

fn heartbeats(scale: &Scale) {
    let registered = names(scale, false);
    let beating = names(scale, true);
    let hasher = PartitionHasher::new([1, 2]);
    let before = resident_bytes();
    let config = Config { max_agents: scale.agents, ..Config::default() };
    let machine = Machine::new(config.clone());
    let (effects, judge) = (Effects::default(), Judge::Builtin);
    let mut world = World { machine, config, hasher, effects, judge };

    let started = Stopwatch::start();
    round(&mut world, &registered, 1, 1);
    report("register", scale.agents.into(), started);
    let resident = resident_bytes().saturating_sub(before);

    let mut sequence = 1;
    for who in ["built-in", "steady in Wasm"] {
        if who != "built-in" {
            world.judge = Judge::Wasm(Box::new(Wasm::steady(&world.config)));
        }
        for burst in [1, 8, 64] {
            for _ in 0..scale.rounds {
                sequence += 1;
                let started = Stopwatch::start();
                round(&mut world, &beating, sequence, burst);
                report(&format!("{who}, bursts of {burst}"), scale.agents.into(), started);
            }
        }
    }
    let machine = &world.machine;
    assert_eq!(machine.census().total(), scale.agents);
    assert_eq!(machine.census().in_state(pulsegate_wire::State::Alive), scale.agents);

    let (hot, cold) = machine.memory();
    let each = |bytes: usize| bytes as f64 / f64::from(scale.agents);
    println!("{:<28} {:>8.1} bytes an agent", "hot memory", each(hot));
    println!("{:<28} {:>8.1} bytes an agent", "cold memory", each(cold));
    println!("{:<28} {:>8.1} bytes an agent", "resident, measured", each(resident));
}

/// Every agent beats once, spread over [`ROUND_MS`], in bursts: of one, as single requests come,
/// or of many, as batches and pipelined connections deliver them.
fn round(world: &mut World, names: &[[u8; 24]], sequence: u64, burst: usize) {
    let start = sequence * ROUND_MS;
    let World { machine, config, hasher, effects, judge } = world;
    let (mut keys, mut slots) = (Vec::with_capacity(burst), Vec::with_capacity(burst));
    let (mut tickets, mut verdicts) = (Vec::with_capacity(burst), Vec::with_capacity(burst));
    for (index, names) in names.chunks(burst).enumerate() {
        let index = (index * burst) as u64;
        let now = Millis(start + index * ROUND_MS / u64::from(config.max_agents));
        while machine.handle_deadlines(now, 1_000, effects) {}
        keys.clear();
        keys.extend(names.iter().map(|name| {
            let id = std::str::from_utf8(name).unwrap_or_default();
            hasher.key(TenantId(0), id)
        }));
        if let [key] = keys[..] {
            slots.clear();
            slots.push(machine.find(key));
        } else {
            machine.find_all(&keys, &mut slots);
        }
        for (&key, &slot) in keys.iter().zip(&slots) {
            let beat = beat(index, sequence);
            match machine.handle_heartbeat(now, key, slot, &beat, effects) {
                Ok(Handled::Observe(ticket)) => tickets.push(ticket),
                other => unreachable!("a heartbeat in order was {other:?}"),
            }
        }
        match judge {
            Judge::Builtin => verdicts.extend(tickets.iter().map(|ticket: &Ticket| {
                builtin::decide(&ticket.observation, &config.classes[ticket.class])
            })),
            Judge::Wasm(wasm) => wasm.judge(&tickets, &mut verdicts),
        }
        for (ticket, verdict) in tickets.drain(..).zip(verdicts.drain(..)) {
            black_box(machine.decide(now, &ticket, &verdict, effects));
        }
        if !effects.is_empty() {
            effects.clear();
        }
    }
}

fn beat(index: u64, sequence: u64) -> Beat {
    Beat {
        incarnation: 1,
        sequence,
        directive_seen: sequence - 1,
        queue_depth: Some(index & 15),
        active_tasks: Some(1),
        cpu_percent: Some(40.0),
        memory_bytes: Some(100 << 20),
        error_count: Some(0),
        latency_ms: Some(12.0),
        ..Beat::default()
    }
}

fn wheel(scale: &Scale) {
    let mut order: Vec<u32> = (0..scale.agents).collect();
    shuffle(&mut order);
    let mut wheel = Wheel::default();
    wheel.grow(order.len());
    for round in 0..scale.rounds {
        let started = Stopwatch::start();
        for (index, &timer) in order.iter().enumerate() {
            let now = round * ROUND_MS + index as u64 * ROUND_MS / u64::from(scale.agents);
            wheel.arm(timer, Millis(now + 50_000));
            assert_eq!(wheel.pop(Millis(now)), None);
        }
        report("wheel: relink and tick", scale.agents.into(), started);
    }
}

fn report(what: &str, count: u64, started: Stopwatch) {
    let elapsed = started.elapsed().as_secs_f64();
    let per_second = count as f64 / elapsed / 1e6;
    println!("{what:<28} {:>8.1} ns  {per_second:>6.2} M/s", elapsed * 1e9 / count as f64);
}

/// Counts the time that this thread really ran, so that others on the same machine slow the bench
/// down only through the memory that they share with it.
struct Stopwatch {
    wall: std::time::Instant,
    ran: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: std::time::Instant::now(), ran: Self::ran() }
    }

    fn elapsed(&self) -> Duration {
        let ran = self.ran.zip(Self::ran()).map(|(before, now)| now.saturating_sub(before));
        ran.unwrap_or_else(|| self.wall.elapsed())
    }

    /// By the account of the kernel's scheduler; `None` where it gives none.
    fn ran() -> Option<Duration> {
        let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        account.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }
}

/// Memory of this process that is in use, by the kernel's account; 0 where it gives none.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_usize) * 4_096
}
