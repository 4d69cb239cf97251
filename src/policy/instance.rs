//! One warm instance of a policy: its store, its functions and the meter of the running call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wasmtime::component::{
    Component, ComponentExportIndex, Instance as WasmInstance, InstancePre, TypedFunc,
};
use wasmtime::{ResourceLimiter, Store, StoreLimits, Trap, UpdateDeadline};

use crate::bindings::{Description, Hint, Incident, Judgement, Observation, Plan};
use crate::engine::Shared;
use crate::limits::ANSWER_BYTES;
use crate::log::LINES_PER_CALL;
use crate::{Fault, Pool, PoolLimits};

/// What the host keeps with an instance.
pub(crate) struct Guest {
    pub(crate) engine: Arc<Shared>,
    /// Name of the policy.
    pub(crate) policy: Arc<str>,
    /// Lines written in the running call.
    pub(crate) lines: u32,
    meter: Meter,
    /// Ticks that the running call has left.
    ticks: u32,
    /// Whether a call runs, as the clock sees it.
    runs: Arc<AtomicBool>,
}

/// Remembers that a guest wanted more than it may have: the error that stops it does not tell.
struct Meter {
    limits: StoreLimits,
    exceeded: bool,
    /// Bytes of all linear memories; they never shrink.
    memory_bytes: usize,
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let outcome = self.limits.memory_growing(current, desired, maximum);
        if matches!(outcome, Ok(true)) {
            self.memory_bytes += desired - current;
        } else {
            self.exceeded = true;
        }
        outcome
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let outcome = self.limits.table_growing(current, desired, maximum);
        self.exceeded |= !matches!(outcome, Ok(true));
        outcome
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

/// The functions that a policy exports, looked up once.
#[derive(Clone)]
pub(crate) struct Exports {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) configure: ComponentExportIndex,
    pub(crate) health: Option<[ComponentExportIndex; 2]>,
    pub(crate) cadence: Option<[ComponentExportIndex; 2]>,
    pub(crate) recovery: Option<ComponentExportIndex>,
}

/// Everything that a new instance is made of.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) engine: Arc<Shared>,
    pub(crate) policy: Arc<str>,
    /// Bytes of the component.
    pub(crate) size: usize,
    pub(crate) pool: Pool,
    /// What `pre` is of; held so that another set finds it.
    pub(crate) _component: Arc<Component>,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) exports: Exports,
}

/// Why an instance could not be made.
#[derive(Debug)]
pub(crate) enum StartError {
    /// A function has another type.
    Type(&'static str, String),
    /// It trapped, ran too long or wanted too much; whether a pool with higher limits might help.
    Start(String, bool),
    /// It refused its settings.
    Settings(String),
}

type Flat<Answer> = TypedFunc<(Observation,), (Answer,)>;
/// The matrix is lowered from a shared vector because a function's parameter type may not borrow.
pub(crate) type Rows = TypedFunc<(Arc<Vec<f64>>,), (Vec<f64>,)>;

/// One warm instance. After any fault it is dropped: a trap leaves a guest half-way.
pub(crate) struct Instance {
    store: Store<Guest>,
    instance: WasmInstance,
    ticks: u32,
    start_ticks: u32,
    judge: Option<(Flat<Judgement>, Rows)>,
    suggest: Option<(Flat<Hint>, Rows)>,
    propose: Option<TypedFunc<(Incident,), (Plan,)>>,
}

impl Prepared {
    /// Makes an instance and hands it its settings.
    pub(crate) fn start(&self, settings: &str) -> Result<Instance, StartError> {
        let limits = self.engine.limits.of(self.pool);
        let guest = Guest {
            engine: Arc::clone(&self.engine),
            policy: Arc::clone(&self.policy),
            lines: 0,
            meter: Meter {
                limits: limits.store_limits(self.pool),
                exceeded: false,
                memory_bytes: 0,
            },
            ticks: 0,
            runs: self.engine.calls.add(),
        };
        let mut store = Store::new(&self.engine.wasm, guest);
        store.limiter(|guest| &mut guest.meter as &mut dyn ResourceLimiter);
        store.epoch_deadline_callback(|mut store| Ok(spend_tick(store.data_mut())));
        store.set_hostcall_fuel(ANSWER_BYTES);
        arm(&mut store, limits.start_ticks());
        let instance = match self.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(start_error(&store, &error)),
        };
        let configure: TypedFunc<(&str,), (Result<(), String>,)> =
            lookup(&mut store, &instance, &self.exports.configure, "manifest.configure")?;
        let outcome = configure.call(&mut store, (settings,));
        let (accepted,) = outcome.map_err(|error| start_error(&store, &error))?;
        accepted.map_err(|text| StartError::Settings(crate::log::clean_line(&text)))?;
        store.data().runs.store(false, Relaxed);
        Instance::resolve(store, instance, &self.exports, &limits)
    }
}

impl Instance {
    fn resolve(
        mut store: Store<Guest>,
        instance: WasmInstance,
        exports: &Exports,
        limits: &PoolLimits,
    ) -> Result<Self, StartError> {
        let judge = match &exports.health {
            None => None,
            Some([flat, rows]) => Some((
                lookup(&mut store, &instance, flat, "health.judge")?,
                lookup(&mut store, &instance, rows, "health.judge-rows")?,
            )),
        };
        let suggest = match &exports.cadence {
            None => None,
            Some([flat, rows]) => Some((
                lookup(&mut store, &instance, flat, "cadence.suggest")?,
                lookup(&mut store, &instance, rows, "cadence.suggest-rows")?,
            )),
        };
        let propose = match &exports.recovery {
            None => None,
            Some(index) => Some(lookup(&mut store, &instance, index, "recovery.propose")?),
        };
        let (ticks, start_ticks) = (limits.call_ticks(), limits.start_ticks());
        Ok(Self { store, instance, ticks, start_ticks, judge, suggest, propose })
    }

    /// Asks what the policy says about itself.
    pub(crate) fn describe(&mut self, exports: &Exports) -> Result<Description, StartError> {
        let describe: TypedFunc<(), (Description,)> =
            lookup(&mut self.store, &self.instance, &exports.describe, "manifest.describe")?;
        arm(&mut self.store, self.start_ticks);
        let outcome = describe.call(&mut self.store, ());
        self.store.data().runs.store(false, Relaxed);
        outcome.map(|(answer,)| answer).map_err(|error| start_error(&self.store, &error))
    }

    /// Whether the guest was refused memory or tables.
    pub(crate) fn wanted_more(&self) -> bool {
        self.store.data().meter.exceeded
    }

    pub(crate) fn judge(&mut self, seen: Observation) -> Result<Judgement, Fault> {
        let Some((flat, _)) = self.judge else { return Err(Fault::BadAnswer) };
        arm(&mut self.store, self.ticks);
        let outcome = flat.call(&mut self.store, (seen,));
        self.end(outcome)
    }

    pub(crate) fn suggest(&mut self, seen: Observation) -> Result<Hint, Fault> {
        let Some((flat, _)) = self.suggest else { return Err(Fault::BadAnswer) };
        arm(&mut self.store, self.ticks);
        let outcome = flat.call(&mut self.store, (seen,));
        self.end(outcome)
    }

    pub(crate) fn judge_rows(&mut self, rows: &Arc<Vec<f64>>) -> Result<Vec<f64>, Fault> {
        let Some((_, function)) = self.judge else { return Err(Fault::BadAnswer) };
        arm(&mut self.store, self.ticks);
        let outcome = function.call(&mut self.store, (Arc::clone(rows),));
        self.end(outcome)
    }

    pub(crate) fn suggest_rows(&mut self, rows: &Arc<Vec<f64>>) -> Result<Vec<f64>, Fault> {
        let Some((_, function)) = self.suggest else { return Err(Fault::BadAnswer) };
        arm(&mut self.store, self.ticks);
        let outcome = function.call(&mut self.store, (Arc::clone(rows),));
        self.end(outcome)
    }

    pub(crate) fn propose(&mut self, incident: Incident) -> Result<Plan, Fault> {
        let Some(propose) = self.propose else { return Err(Fault::BadAnswer) };
        arm(&mut self.store, self.ticks);
        let outcome = propose.call(&mut self.store, (incident,));
        self.end(outcome)
    }

    /// Bytes of its linear memories now.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().meter.memory_bytes
    }

    fn end<Answer>(&self, outcome: wasmtime::Result<(Answer,)>) -> Result<Answer, Fault> {
        let guest = self.store.data();
        guest.runs.store(false, Relaxed);
        if guest.lines > LINES_PER_CALL {
            guest.engine.log.count_dropped(u64::from(guest.lines - LINES_PER_CALL));
        }
        match outcome {
            Ok((answer,)) => Ok(answer),
            Err(_) if guest.meter.exceeded => Err(Fault::Trap),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// Gives the next call its ticks. The deadline is always the next tick, and each tick that finds
/// the call running takes one away. So a thread that is not scheduled for a while loses one tick,
/// not the call: only a guest that really runs on is stopped.
fn arm(store: &mut Store<Guest>, ticks: u32) {
    let guest = store.data_mut();
    guest.ticks = ticks;
    guest.lines = 0;
    guest.runs.store(true, Relaxed);
    store.set_epoch_deadline(1);
}

fn spend_tick(guest: &mut Guest) -> UpdateDeadline {
    guest.ticks = guest.ticks.saturating_sub(1);
    if guest.ticks == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
}

fn lookup<Params, Answer>(
    store: &mut Store<Guest>,
    instance: &WasmInstance,
    index: &ComponentExportIndex,
    name: &'static str,
) -> Result<TypedFunc<Params, Answer>, StartError>
where
    Params: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
    Answer: wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
{
    let typed = instance.get_typed_func(store, index);
    typed.map_err(|error| StartError::Type(name, why(&error)))
}

/// What kind of fault an error of the engine is: what is neither a trap nor too long is an answer
/// that could not be read.
fn fault(error: &wasmtime::Error) -> Fault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Timeout,
        Some(_) => Fault::Trap,
        None => Fault::BadAnswer,
    }
}

/// Why a start ended. That it has too many parts is not a trap and has no type of its own.
fn start_error(store: &Store<Guest>, error: &wasmtime::Error) -> StartError {
    let reason = why(error);
    let is_limited = store.data().meter.exceeded
        || fault(error) == Fault::Timeout
        || reason.contains("resource limit exceeded");
    StartError::Start(reason, is_limited)
}

/// An error of the engine in one line.
pub(crate) fn why(error: &wasmtime::Error) -> String {
    crate::log::clean_line(&format!("{error:#}"))
}
