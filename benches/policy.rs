//! What a policy costs: nanoseconds a call, against an empty call in the same process.
//!
//! `cargo bench --bench policy`; the sizes of the components are printed first.
//! `PULSEGATE_BENCH_COMPONENT=FILE` also loads that component; with
//! `PULSEGATE_BENCH_POLICIES=DIR`, the components of that folder are measured as well.

#![allow(missing_docs, reason = "a bench has no public face")]
#![allow(clippy::print_stderr, reason = "the sizes are part of the result")]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pulsegate_core::{ClassId, Classes, Observation, Signals, TenantId, builtin};
use pulsegate_policy::{
    Assignment, Cache, Engine, Evaluation, Item, Limits, Memory, PolicySet, Pool, Revision, Route,
    Source, Worker, fixtures, reference,
};

const NORMAL: ClassId = ClassId(1);

fn seen() -> Observation {
    Observation {
        now_ms: 86_400_000,
        interval_ms: 30_000,
        queue_depth: 120.0,
        queue_trend: 1.5,
        cpu_percent: 40.0,
        signals: Signals::DIRECTIVE_SEEN.with(Signals::HAS_QUEUE_DEPTH),
        ..Observation::default()
    }
}

/// A set in which one policy answers what is asked for.
fn set(name: &str, health: bool, cadence: bool) -> PolicySet {
    let all = reference::ALL.iter().chain(fixtures::ALL);
    let (_, bytes) = all.into_iter().find(|(known, _)| *known == name).expect("it is embedded");
    let source = Source {
        name: name.into(),
        bytes: bytes.to_vec(),
        settings: serde_json::Value::Null,
        pool: Pool::Native,
    };
    let named = |wanted: bool| wanted.then(|| name.to_owned());
    let route = Route { health: named(health), cadence: named(cadence), ..Route::default() };
    let engine = Engine::new(Limits::default()).expect("an engine");
    PolicySet::load(&engine, &Classes::default(), vec![source], vec![route], &[]).expect("a set")
}

fn assigned(set: &PolicySet) -> Assignment {
    set.assign(TenantId(0), NORMAL, &BTreeMap::new())
}

/// A call of nothing, with the engine set up as the host's: what every call pays.
fn empty_call(c: &mut Criterion) {
    use wasmtime::component::{Component, Linker};
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    let engine = wasmtime::Engine::new(&config).expect("an engine");
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let component = Component::new(&engine, wat::parse_str(text).expect("text")).expect("good");
    let mut store = wasmtime::Store::new(&engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = Linker::new(&engine).instantiate(&mut store, &component).expect("it starts");
    let empty = instance.get_typed_func::<(), ()>(&mut store, "f").expect("it is there");
    c.bench_function("policy/empty", |b| b.iter(|| empty.call(&mut store, ()).expect("fine")));
}

fn one_by_one(c: &mut Criterion) {
    let classes = Classes::default();
    c.bench_function("policy/native", |b| {
        b.iter(|| builtin::decide(black_box(&seen()), &classes[NORMAL]));
    });
    let cases = [
        ("policy/flat/judge", "steady", true, false),
        ("policy/flat/suggest", "steady", false, true),
        ("policy/flat/evaluate", "steady", true, true),
        ("policy/rows/1", "remembers", false, true),
    ];
    for (label, name, health, cadence) in cases {
        let set = set(name, health, cadence);
        let (mut worker, assignment) = (Worker::new(), assigned(&set));
        let (custom, mut memory) = (BTreeMap::new(), Memory::default());
        c.bench_function(label, |b| {
            b.iter(|| {
                let seen = black_box(seen());
                worker.evaluate(&set, assignment, NORMAL, &seen, &custom, &mut memory)
            });
        });
    }
    let set = set("steady", true, false);
    let assignment = assigned(&set);
    c.bench_function("policy/fresh", |b| {
        b.iter(|| {
            let mut memory = Memory::default();
            let custom = BTreeMap::new();
            Worker::new().evaluate(&set, assignment, NORMAL, &seen(), &custom, &mut memory)
        });
    });
}

/// Per agent: one question to `steady`, both questions, and one with metrics and memory.
fn in_batches(c: &mut Criterion) {
    let cases = [
        ("suggest", "steady", false, true, 64),
        ("evaluate", "steady", true, true, 64),
        ("evaluate", "steady", true, true, 1_000),
        ("memory", "remembers", false, true, 64),
    ];
    for (label, name, health, cadence, count) in cases {
        let set = set(name, health, cadence);
        let (mut worker, assignment) = (Worker::new(), assigned(&set));
        let custom = BTreeMap::new();
        let mut memories = vec![Memory::default(); count];
        let item = |memory| Item {
            assignment,
            class: NORMAL,
            observation: seen(),
            custom: &custom,
            memory,
        };
        let mut items: Vec<_> = memories.iter_mut().map(item).collect();
        let mut answers: Vec<Evaluation> = Vec::new();
        let mut group = c.benchmark_group("policy/rows");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{label}/{count}"), |b| {
            b.iter(|| worker.evaluate_batch(&set, black_box(&mut items), &mut answers));
        });
    }
}

/// Policies of a folder, as `tests/it/templates.rs` leaves them or as anybody has built them:
/// both questions of one heartbeat in the flat form, a batch of 64 in the rows form, a fresh
/// instance with both questions, and loading.
fn from_a_folder(c: &mut Criterion) {
    let Some(folder) = std::env::var_os("PULSEGATE_BENCH_POLICIES") else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("it").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "wasm"));
    files.sort();
    for path in files {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("readable");
        measure(c, &name, &bytes, Limits::default().pool_for(bytes.len()));
    }
}

fn measure(c: &mut Criterion, name: &str, bytes: &[u8], pool: Pool) {
    let load = || {
        let engine = Engine::new(Limits::default()).expect("an engine");
        let source = Source {
            name: name.into(),
            bytes: bytes.to_vec(),
            settings: serde_json::Value::Null,
            pool,
        };
        let named = Some(name.to_owned());
        let route = Route { health: named.clone(), cadence: named, ..Route::default() };
        PolicySet::load(&engine, &Classes::default(), vec![source], vec![route], &[])
    };
    let begun = std::time::Instant::now();
    let set = load().expect("a set");
    eprintln!("{name}: {} bytes, loaded in {:?} by pool {pool:?}", bytes.len(), begun.elapsed());
    let (mut worker, assignment) = (Worker::new(), assigned(&set));
    let (custom, mut memory) = (BTreeMap::new(), Memory::default());
    let mut group = c.benchmark_group(format!("policy/file/{name}"));
    group.bench_function("flat/evaluate", |b| {
        b.iter(|| {
            let seen = black_box(seen());
            worker.evaluate(&set, assignment, NORMAL, &seen, &custom, &mut memory)
        });
    });
    group.bench_function("fresh", |b| {
        b.iter(|| Worker::new().evaluate(&set, assignment, NORMAL, &seen(), &custom, &mut memory));
    });
    let mut memories = vec![Memory::default(); 64];
    let item =
        |memory| Item { assignment, class: NORMAL, observation: seen(), custom: &custom, memory };
    let mut items: Vec<_> = memories.iter_mut().map(item).collect();
    let mut answers: Vec<Evaluation> = Vec::new();
    group.throughput(Throughput::Elements(64));
    group.bench_function("rows/evaluate/64", |b| {
        b.iter(|| worker.evaluate_batch(&set, black_box(&mut items), &mut answers));
    });
    let faults = answers.iter().flat_map(|answer| answer.calls).flatten();
    assert!(faults.into_iter().all(|call| call.fault.is_none()), "{name}: a batch has faults");
    group.finish();
}

fn sizes(_: &mut Criterion) {
    for (name, bytes) in reference::ALL {
        eprintln!("component {name}: {} bytes", bytes.len());
    }
}

/// From bytes to a policy that can be asked: compiled, and from the cache of compiled code.
fn loading(c: &mut Criterion) {
    let mut all: Vec<(String, Vec<u8>)> =
        reference::ALL.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    if let Some(file) = std::env::var_os("PULSEGATE_BENCH_COMPONENT") {
        all.push(("file".to_owned(), std::fs::read(file).expect("a component")));
    }
    let directory = std::env::temp_dir().join(format!("pulsegate-bench-{}", std::process::id()));
    let limits = Limits { memory_bytes: 256 << 20, ..Limits::default() };
    let plain = Engine::new(limits.clone()).expect("an engine");
    let cache = Cache::open(&directory).expect("a cache");
    let cached = Engine::new(limits).expect("an engine").with_cache(cache);
    let mut group = c.benchmark_group("policy/load");
    group.sample_size(10);
    for (name, bytes) in &all {
        let admit = |engine: &Engine| {
            let (name, bytes) = ("p".to_owned(), bytes.clone());
            let (settings, pool) = (serde_json::Value::Null, Pool::Native);
            let source = Source { name, bytes, settings, pool };
            Revision::admit(engine, source, &Classes::default(), &[]).expect("it is admitted")
        };
        group.bench_function(format!("compiled/{name}"), |b| b.iter(|| admit(&plain)));
        // The first admission fills the cache.
        admit(&cached);
        group.bench_function(format!("cached/{name}"), |b| b.iter(|| admit(&cached)));
    }
    group.finish();
    let _ = std::fs::remove_dir_all(&directory);
}

criterion_group! {
    name = policy;
    config = Criterion::default()
        .sample_size(30)
        .measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(300));
    targets = sizes, empty_call, one_by_one, in_batches, loading, from_a_folder
}
criterion_main!(policy);
