//! What a policy costs: time a call, beside the built-in policy and beside an empty call in the
//! same process.
//!
//! A figure by itself says more about the machine than about the policy. So every subject is
//! measured in short slices, one after the other, round after round: what disturbs one slice
//! disturbs its neighbours too, and ratios between medians hold where figures do not.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_core::{Class, Incident, Observation, Signals, builtin};
use pulsegate_wire::{IncidentKind, Status};
use wasmtime::component::{Component, TypedFunc};

use crate::candidate::Trial;
use crate::instance::Instance;
use crate::limits::ROWS_PER_CALL;
use crate::{Candidate, Engine, Error, Fault, rows};

/// The component that does nothing.
const EMPTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/empty.wasm"));
/// How long one subject runs before the next one's turn. Source: chosen; long beside reading the
/// clock, short beside what else a machine does.
const SLICE: Duration = Duration::from_micros(500);
/// Instances that are made, and times that the component is compiled. Source: chosen.
const INSTANCES: usize = 31;
const COMPILATIONS: usize = 3;

/// What a policy costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What each kind of call takes, the empty one first, in nanoseconds.
    pub calls: Vec<Figure>,
    /// Time to compile the component.
    pub compile: Duration,
    /// Time to make an instance, with its settings taken.
    pub instance: Duration,
    /// Bytes of linear memory of an instance after all these calls.
    pub memory_bytes: usize,
    /// Bytes of the component.
    pub size: usize,
}

/// What one kind of call takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was called, such as `health, flat`.
    pub name: &'static str,
    /// Observations that one call answers; times are for each of them.
    pub rows: usize,
    /// Half of the slices took less, in nanoseconds.
    pub median_ns: f64,
    /// A tenth of the slices took less.
    pub low_ns: f64,
    /// A tenth of the slices took more.
    pub high_ns: f64,
}

/// Something that can be called many times.
struct Subject<'a> {
    name: &'static str,
    rows: usize,
    /// Calls in a slice.
    calls: u32,
    call: Box<dyn FnMut(usize) -> Result<(), Fault> + 'a>,
    slices: Vec<f64>,
}

/// Measures a policy for one class in so many rounds; each takes half a millisecond for each kind
/// of call. The breaker and the gateway's own work are not in it; the copy of an answer is.
///
/// # Errors
/// When the policy is no policy, or fails on an ordinary observation.
pub fn measure(
    engine: &Engine,
    class: &Class,
    executors: &[(String, u32)],
    source: &crate::Source,
    rounds: usize,
) -> Result<Measured, Error> {
    let crate::Source { name, bytes, settings, .. } = source;
    let mut compiled = Vec::new();
    let mut candidate = Candidate::load(engine, name, bytes)?;
    for _ in 0..COMPILATIONS {
        let began = Instant::now();
        candidate = Candidate::load(engine, name, bytes)?;
        compiled.push(began.elapsed());
    }
    let mut started = Vec::new();
    let mut start = || {
        let began = Instant::now();
        let trial = candidate.start(class, executors, settings);
        started.push(began.elapsed());
        trial
    };
    let mut trial = start()?;
    for _ in 1..INSTANCES {
        trial = start()?;
    }
    let seen = observations(class);
    let incident = Incident::ordinary(IncidentKind::Silence, Default::default(), class);
    let calls = {
        let Trial { instance, shape, .. } = &mut trial;
        let exports = candidate.exports();
        let mut shared = Shared { instance, seen: &seen, one: Vec::new(), many: Arc::default() };
        shared.fill(shape);
        let figures = run(engine, class, executors, &exports, &mut shared, &incident, rounds);
        figures.map_err(|(function, fault)| Error::Canary {
            policy: name.clone(),
            function: function_of(function),
            reason: fault.as_str().to_owned(),
        })?
    };
    Ok(Measured {
        calls,
        compile: median(compiled),
        instance: median(started),
        memory_bytes: trial.memory_bytes(),
        size: bytes.len(),
    })
}

/// The instance, and what it is asked, ready to be passed.
struct Shared<'a> {
    instance: &'a mut Instance,
    seen: &'a [Observation],
    one: Vec<Arc<Vec<f64>>>,
    many: Arc<Vec<f64>>,
}

impl Shared<'_> {
    fn fill(&mut self, shape: &crate::describe::Shape) {
        let kept = [0.0; rows::COLUMNS_MAX];
        let custom = shape.metrics.iter().map(|name| (name.clone(), 1.5)).collect();
        let row = |seen: &Observation| {
            let mut row = Vec::new();
            rows::push(&mut row, shape, seen, &custom, &kept[..shape.columns]);
            row
        };
        self.one = self.seen.iter().map(|seen| Arc::new(row(seen))).collect();
        self.many = Arc::new(self.seen.iter().flat_map(row).collect());
    }
}

/// One kind of call of the policy.
#[derive(Clone, Copy)]
enum Kind {
    Judge,
    JudgeRow,
    JudgeRows,
    Suggest,
    SuggestRow,
    SuggestRows,
    Propose,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str, usize); 7] = [
        (Self::Judge, "health", "health, flat", 1),
        (Self::JudgeRow, "health", "health, one row", 1),
        (Self::JudgeRows, "health", "health, rows of 64", ROWS_PER_CALL),
        (Self::Suggest, "cadence", "cadence, flat", 1),
        (Self::SuggestRow, "cadence", "cadence, one row", 1),
        (Self::SuggestRows, "cadence", "cadence, rows of 64", ROWS_PER_CALL),
        (Self::Propose, "recovery", "recovery", 1),
    ];

    fn call(self, of: &mut Shared<'_>, incident: &Incident, turn: usize) -> Result<(), Fault> {
        let turn = turn % of.seen.len();
        match self {
            Self::Judge => drop(black_box(of.instance.judge((&of.seen[turn]).into())?)),
            Self::JudgeRow => drop(black_box(of.instance.judge_rows(&of.one[turn])?)),
            Self::JudgeRows => drop(black_box(of.instance.judge_rows(&of.many)?)),
            Self::Suggest => drop(black_box(of.instance.suggest((&of.seen[turn]).into())?)),
            Self::SuggestRow => drop(black_box(of.instance.suggest_rows(&of.one[turn])?)),
            Self::SuggestRows => drop(black_box(of.instance.suggest_rows(&of.many)?)),
            Self::Propose => drop(black_box(of.instance.propose(incident.into())?)),
        }
        Ok(())
    }
}

/// The function behind a kind of call, as errors name it.
fn function_of(name: &'static str) -> &'static str {
    match name {
        "health, flat" => "health.judge",
        "health, one row" | "health, rows of 64" => "health.judge-rows",
        "cadence, flat" => "cadence.suggest",
        "cadence, one row" | "cadence, rows of 64" => "cadence.suggest-rows",
        "recovery" => "recovery.propose",
        other => other,
    }
}

/// Runs every kind of call in turn, round after round.
fn run(
    engine: &Engine,
    class: &Class,
    executors: &[(String, u32)],
    exports: &[&'static str],
    of: &mut Shared<'_>,
    incident: &Incident,
    rounds: usize,
) -> Result<Vec<Figure>, (&'static str, Fault)> {
    let seen = of.seen;
    let of = std::cell::RefCell::new(of);
    let mut subjects = vec![subject("an empty call", 1, empty(engine))];
    if exports.contains(&"health") {
        subjects.push(subject("health, built in", 1, move |turn: usize| {
            black_box(builtin::judge(black_box(&seen[turn % seen.len()])));
            Ok(())
        }));
    }
    if exports.contains(&"cadence") {
        subjects.push(subject("cadence, built in", 1, move |turn: usize| {
            black_box(builtin::suggest(black_box(&seen[turn % seen.len()]), class));
            Ok(())
        }));
    }
    if exports.contains(&"recovery") {
        subjects.push(subject("recovery, built in", 1, move |_| {
            black_box(builtin::propose(black_box(incident), executors));
            Ok(())
        }));
    }
    for (kind, question, name, rows) in Kind::ALL {
        if exports.contains(&question) {
            let of = &of;
            let call = move |turn| kind.call(*of.borrow_mut(), incident, turn);
            subjects.push(subject(name, rows, call));
        }
    }
    for subject in &mut subjects {
        subject.calibrate().map_err(|fault| (subject.name, fault))?;
    }
    for _ in 0..rounds.max(1) {
        for subject in &mut subjects {
            subject.slice().map_err(|fault| (subject.name, fault))?;
        }
    }
    Ok(subjects.into_iter().map(Subject::figure).collect())
}

fn subject<'a>(
    name: &'static str,
    rows: usize,
    call: impl FnMut(usize) -> Result<(), Fault> + 'a,
) -> Subject<'a> {
    Subject { name, rows, calls: 1, call: Box::new(call), slices: Vec::new() }
}

impl Subject<'_> {
    fn timed(&mut self) -> Result<Duration, Fault> {
        let began = Instant::now();
        for turn in 0..self.calls {
            (self.call)(turn as usize)?;
        }
        Ok(began.elapsed())
    }

    /// Finds out how many calls fill a slice.
    fn calibrate(&mut self) -> Result<(), Fault> {
        while self.timed()? < SLICE && self.calls < 1 << 20 {
            self.calls *= 2;
        }
        Ok(())
    }

    fn slice(&mut self) -> Result<(), Fault> {
        let elapsed = self.timed()?;
        let answered = f64::from(self.calls) * self.rows as f64;
        self.slices.push(elapsed.as_nanos() as f64 / answered);
        Ok(())
    }

    fn figure(mut self) -> Figure {
        self.slices.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = self.slices.len().saturating_sub(1);
            self.slices.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
        };
        Figure {
            name: self.name,
            rows: self.rows,
            median_ns: at(0.5),
            low_ns: at(0.1),
            high_ns: at(0.9),
        }
    }
}

/// A call of nothing, in the same engine.
fn empty(engine: &Engine) -> impl FnMut(usize) -> Result<(), Fault> + use<> {
    let made = || -> wasmtime::Result<_> {
        let wasm = &engine.shared.wasm;
        let component = Component::from_binary(wasm, EMPTY)?;
        let mut store = wasmtime::Store::new(wasm, ());
        // No clock interrupts it: it ends by itself.
        store.set_epoch_deadline(u64::MAX / 2);
        let linker = wasmtime::component::Linker::new(wasm);
        let instance = linker.instantiate(&mut store, &component)?;
        let empty: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "f")?;
        Ok((store, empty))
    };
    let mut made = made();
    move |_| match &mut made {
        Ok((store, empty)) => empty.call(store, ()).map_err(|_| Fault::Trap),
        Err(_) => Err(Fault::Trap),
    }
}

/// Agents of all kinds, as many as fit into one call: most are well, some are not.
fn observations(class: &Class) -> Vec<Observation> {
    let usual = Observation::ordinary(class);
    let seen = |index: usize| {
        let turn = index as u32;
        Observation {
            status: if turn % 16 == 5 { Status::Degraded } else { Status::Healthy },
            signals: Signals::DIRECTIVE_SEEN
                .with(Signals::HAS_QUEUE_DEPTH)
                .with(Signals::HAS_CPU_PERCENT)
                .with_if(turn.is_multiple_of(8), Signals::IDLE),
            lateness_ms: i64::from(turn) * 7 - 200,
            queue_depth: f64::from(turn * turn),
            queue_trend: f64::from(turn) / 4.0 - 8.0,
            cpu_percent: f64::from(turn) * 1.5,
            errors: if turn % 32 == 9 { 7 } else { 0 },
            fleet_load: 0.25,
            ..usual
        }
    };
    (0..ROWS_PER_CALL).map(seen).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
