//! The Wasm engine and the clock that interrupts runaway calls.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker, WasmStr};
use wasmtime::{Config, OptLevel, StoreContextMut};

use crate::bindings;
use crate::component::component;
use crate::instance::{Guest, why};
use crate::log::{LINES_PER_CALL, LogLine, LogRing, clean_line};
use crate::{Cache, Digest, Error, Limits};

/// Length of a tick, which a call is measured in. Shorter ticks interrupt more calls that are
/// merely slow; longer ones hold an agent up longer. Source: chosen.
const TICK: Duration = Duration::from_millis(1);
/// The clock rests for so long when no policy runs, which is so at nearly all looks: a call takes
/// less than a microsecond. Larger: a runaway call is noticed later, and holds an agent up for
/// longer; smaller: the machine is woken more often. Source: measured, 20 to 25 µs a wake-up on a
/// busy virtual core: 2 % of it at 1,000 a second, as much as half a microsecond a heartbeat.
const REST: Duration = Duration::from_millis(5);
/// Address space reserved for each linear memory, so that no access needs a bounds check.
/// Source: wasmtime, `Config::memory_reservation`.
const RESERVATION: u64 = 4 << 30;
/// The only interface that a policy may import functions from.
pub(crate) const LOG: &str = "pulsegate:policy/log@1.0.0";

/// Compiles components; keeps the clock that interrupts runaway calls, and the lines that
/// policies write. Cheap to clone: all clones are one. Its thread ends with the last clone and
/// the last [`PolicySet`](crate::PolicySet) made with it.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) limits: Limits,
    pub(crate) log: LogRing,
    pub(crate) calls: Calls,
    cache: OnceLock<Cache>,
    pub(crate) compiled: Compiled,
    start: Instant,
    now_ms: AtomicU64,
}

impl Engine {
    /// Starts an engine and its clock.
    ///
    /// # Errors
    /// [`Error::Limit`] when no policy could answer within the limits, [`Error::Engine`] when the
    /// machine cannot run it.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        limits.check()?;
        let refused = |error: wasmtime::Error| Error::Engine { reason: format!("{error:#}") };
        let wasm = wasmtime::Engine::new(&config(&limits)).map_err(refused)?;
        let linker = linker(&wasm).map_err(refused)?;
        let shared = Arc::new(Shared {
            wasm,
            linker,
            limits,
            log: LogRing::default(),
            calls: Calls::default(),
            cache: OnceLock::new(),
            compiled: Compiled::default(),
            start: Instant::now(),
            now_ms: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&shared);
        thread::Builder::new()
            .name("policy-clock".into())
            .spawn(move || tick(&weak))
            .map_err(|error| Error::Engine { reason: format!("no thread for a clock: {error}") })?;
        Ok(Self { shared })
    }

    /// Keeps compiled code in a cache from now on, and takes it from there; the first one counts.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        // Somebody else may have given one before: that one stays.
        let _ = self.shared.cache.set(cache);
        self
    }

    /// Takes the lines that policies wrote since the last time, and how many more were dropped.
    #[must_use]
    pub fn drain_log(&self) -> (Vec<LogLine>, u64) {
        self.shared.log.drain()
    }
}

impl Shared {
    /// Compiles a component, or what a compiler made of a policy, unless some set uses it already
    /// or its code is in the cache.
    pub(crate) fn compile(&self, bytes: &[u8], digest: Digest) -> Result<Arc<Component>, String> {
        let cache = self.cache.get();
        self.compiled.find(digest, || {
            if let Some(known) = cache.and_then(|cache| cache.load(&self.wasm, digest)) {
                return Ok(known);
            }
            let bytes = component(bytes)?;
            let made = Component::from_binary(&self.wasm, &bytes).map_err(|error| why(&error))?;
            if let Some(cache) = cache {
                cache.keep(&made, digest);
            }
            Ok(made)
        })
    }

    /// Milliseconds since the engine started, as of the last tick.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What makes a policy give the same answer on every machine, fast, and never hold it up.
fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .memory_reservation(RESERVATION)
        .max_wasm_stack(limits.stack_bytes)
        .wasm_backtrace_max_frames(None);
    config
}

fn linker(wasm: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(wasm);
    linker.instance(LOG)?.func_wrap("write", write_log)?;
    Ok(linker)
}

/// The only function that a policy may call. Beyond its share of lines nothing is even copied.
fn write_log(
    mut store: StoreContextMut<'_, Guest>,
    (level, message): (bindings::LogLevel, WasmStr),
) -> wasmtime::Result<()> {
    let guest = store.data_mut();
    guest.lines += 1;
    if guest.lines > LINES_PER_CALL {
        return Ok(());
    }
    let message = clean_line(&message.to_str(&store)?);
    let guest = store.data();
    let line = LogLine { policy: guest.policy.to_string(), level: level.into(), message };
    guest.engine.log.push(line);
    Ok(())
}

/// Which instances run a call now.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Vec<Weak<AtomicBool>>>);

impl Calls {
    /// What a new instance says here whether it runs; forgotten when it is dropped.
    pub(crate) fn add(&self) -> Arc<AtomicBool> {
        let runs = Arc::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|runs| runs.strong_count() > 0);
        all.push(Arc::downgrade(&runs));
        runs
    }

    /// Instances that live.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|runs| runs.strong_count() > 0).count()
    }

    fn is_any(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).any(|runs| runs.load(Ordering::Relaxed))
    }
}

/// Ticks until the engine is gone. A tick that comes late is one tick: when the machine is
/// overloaded, every call gets the more time. So does a call that begins while the clock rests.
#[allow(clippy::disallowed_methods, reason = "this thread does nothing but wait")]
fn tick(shared: &Weak<Shared>) {
    let mut pause = REST;
    loop {
        thread::sleep(pause);
        let Some(shared) = shared.upgrade() else { return };
        let now = u64::try_from(shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.now_ms.store(now, Ordering::Relaxed);
        shared.wasm.increment_epoch();
        pause = if shared.calls.is_any() { TICK } else { REST };
    }
}

/// Components that some set uses: a reload that changes a route, or some settings, does not
/// compile again what it keeps, which takes seconds where a guest brings an interpreter.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<Vec<(Digest, Weak<Component>)>>);

impl Compiled {
    /// The component of these bytes, compiled unless it is there.
    fn find(
        &self,
        digest: Digest,
        compile: impl FnOnce() -> Result<Component, String>,
    ) -> Result<Arc<Component>, String> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            lock().iter().find(|(known, _)| *known == digest).and_then(|(_, c)| c.upgrade());
        if let Some(component) = known {
            return Ok(component);
        }
        // Not under the lock: it takes long, and twice is no harm.
        let component = Arc::new(compile()?);
        let mut all = lock();
        all.retain(|(_, component)| component.strong_count() > 0);
        all.push((digest, Arc::downgrade(&component)));
        Ok(component)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, component)| component.strong_count() > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_sees_calls_that_run_and_no_others() {
        let calls = Calls::default();
        let [one, other] = [calls.add(), calls.add()];
        assert!(!calls.is_any());
        other.store(true, Ordering::Relaxed);
        assert!(calls.is_any());
        drop(other);
        assert!(!calls.is_any(), "an instance that trapped is dropped while it runs");
        one.store(true, Ordering::Relaxed);
        assert!(calls.is_any());
        one.store(false, Ordering::Relaxed);
        assert!(!calls.is_any());
    }

    #[test]
    fn limits_that_no_policy_could_keep_are_refused() {
        let refused = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            match Engine::new(limits) {
                Err(Error::Limit { limit, .. }) => limit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(|l| l.call = Duration::ZERO), "call");
        assert_eq!(refused(|l| l.memory_bytes = 1_000), "memory_bytes");
        assert_eq!(refused(|l| l.stack_bytes = 0), "stack_bytes");
        assert_eq!(refused(|l| l.breaker_faults = 0), "breaker_faults");
    }

    #[test]
    fn what_the_machine_cannot_do_is_an_engine_error() {
        let limits = Limits { stack_bytes: usize::MAX, ..Limits::default() };
        assert!(matches!(Engine::new(limits), Err(Error::Engine { .. })));
    }
}
