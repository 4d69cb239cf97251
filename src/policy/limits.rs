//! What a policy may use, by its pool, and the meter that each instance carries.

use std::time::Duration;

use wasmtime::{StoreLimits, StoreLimitsBuilder};

use crate::Error;

/// Most rows in one call: beyond, a call gains nothing and only delays its first agent.
/// Source: benches/policy.rs, 32 to 47 ns a row at 64 against 370 ns at one.
pub const ROWS_PER_CALL: usize = 64;
/// Most bytes that the host copies out of a guest in one call. Room for the largest description
/// (64 reasons of 200 bytes, 8 rules, 16 names) and four times the largest rows answer.
pub(crate) const ANSWER_BYTES: usize = 64 * 1024;

/// Time that an instance may take to start and to take its settings. Source: chosen; a native
/// start takes 0.1 ms, an interpreted one a few milliseconds.
const START: Duration = Duration::from_millis(100);
/// Largest component of a native policy. Source: chosen; the reference policies have 40 KB.
const NATIVE_COMPONENT_BYTES: usize = 8 << 20;

/// Which limits a policy runs under. The operator chooses: more time for a policy is more time
/// that a heartbeat may wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// Guests that are compiled to Wasm themselves: Rust, C and the like.
    #[default]
    Native,
    /// Guests that bring an interpreter along: Python, JavaScript and the like. More memory, a
    /// longer call and a larger component.
    Interpreted,
}

impl Pool {
    /// Every pool.
    pub const ALL: [Self; 2] = [Self::Native, Self::Interpreted];

    /// The word of configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Interpreted => "interpreted",
        }
    }

    /// The pool of a word.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pool| pool.as_str() == word)
    }
}

/// Limits of the policies of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Longest call, rounded up to ticks of 1 ms. A runaway call stops within this time of its own
    /// running: ticks that pass while the thread is not scheduled count as one. The clock rests
    /// between calls, and may find a call up to 5 ms after it began.
    pub call: Duration,
    /// Longest start of an instance together with its `configure`, and longest `describe`; rounded
    /// up and measured as a call is. An instance starts at the first heartbeat of a class on a
    /// thread, and again after each fault.
    pub start: Duration,
    /// Largest linear memory of an instance, in bytes. Growing beyond is a trap.
    pub memory_bytes: usize,
    /// Largest component, in bytes: what bounds the time to compile it, which nothing interrupts.
    pub component_bytes: usize,
}

/// Limits of every policy.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest call of a native policy, as [`PoolLimits::call`]; 3 ms.
    pub call: Duration,
    /// A call longer than this is slow; 0.5 ms. Slow calls are no faults, and their answers count;
    /// but a policy of which a quarter of the calls are slow opens its breaker: each heartbeat
    /// waits for its call, and the thread's others wait behind it. Shorter opens it for policies
    /// that merely think; longer lets a slow one take most of a processor. Source: chosen; a
    /// thousand times what a call takes.
    pub slow: Duration,
    /// Largest linear memory of an instance, in bytes; 16 MiB. Growing beyond is a trap.
    pub memory_bytes: usize,
    /// Limits of interpreted policies.
    pub interpreted: PoolLimits,
    /// Largest stack of a guest, in bytes; 256 KiB. At least 4 KiB.
    pub stack_bytes: usize,
    /// Policy time of a whole batch; then the built-in policy answers; 10 ms.
    pub batch: Duration,
    /// Faults within `breaker_window` that open the breaker of a policy; 10.
    pub breaker_faults: u32,
    /// Window of the breaker, and the time that it stays open; 60 s.
    pub breaker_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_millis(3),
            slow: Duration::from_micros(500),
            memory_bytes: 16 << 20,
            interpreted: PoolLimits::interpreted(),
            stack_bytes: 256 << 10,
            batch: Duration::from_millis(10),
            breaker_faults: 10,
            breaker_window: Duration::from_secs(60),
        }
    }
}

impl PoolLimits {
    /// The default limits of interpreted policies: 10 ms a call, since a call that makes the
    /// interpreter collect its garbage takes a hundred times as long as most; 100 ms a start; 64
    /// MiB of memory; 64 MiB of component, three times that of a Python guest.
    #[must_use]
    pub fn interpreted() -> Self {
        Self {
            call: Duration::from_millis(10),
            start: START,
            memory_bytes: 64 << 20,
            component_bytes: 64 << 20,
        }
    }

    /// Ticks of 1 ms that a call may run.
    pub(crate) fn call_ticks(&self) -> u32 {
        ticks(self.call)
    }

    /// Ticks of 1 ms that a start may run.
    pub(crate) fn start_ticks(&self) -> u32 {
        ticks(self.start)
    }

    fn check(&self, [call, start, memory]: [&'static str; 3]) -> Result<(), Error> {
        let refuse = |limit, reason| Err(Error::Limit { limit, reason });
        if self.call.is_zero() {
            return refuse(call, "a call needs at least 1 ms");
        }
        if self.start.is_zero() {
            return refuse(start, "a start needs at least 1 ms");
        }
        if self.memory_bytes < 64 << 10 {
            return refuse(memory, "an instance needs at least one page of 65536 bytes");
        }
        Ok(())
    }

    /// The memory limiter of one instance.
    pub(crate) fn store_limits(&self, pool: Pool) -> StoreLimits {
        // Source: `componentize-py` 0.25 makes 29 instances of 9 modules that share a table of
        // 9,700 elements and a memory; all else makes less than a native guest may.
        let (elements, parts) = match pool {
            Pool::Native => (10_000, 16),
            Pool::Interpreted => (100_000, 256),
        };
        StoreLimitsBuilder::new()
            .memory_size(self.memory_bytes)
            .table_elements(elements)
            .instances(parts)
            .tables(parts)
            .memories(4)
            .trap_on_grow_failure(true)
            .build()
    }
}

impl Limits {
    /// The limits of a pool.
    #[must_use]
    pub fn of(&self, pool: Pool) -> PoolLimits {
        match pool {
            Pool::Native => PoolLimits {
                call: self.call,
                start: START,
                memory_bytes: self.memory_bytes,
                component_bytes: NATIVE_COMPONENT_BYTES,
            },
            Pool::Interpreted => self.interpreted.clone(),
        }
    }

    /// Calls longer than this are slow: of an interpreted policy, half of what it may take. It
    /// needs two or three milliseconds for 64 rows, and its collector of garbage some at times.
    pub(crate) fn slow(&self, pool: Pool) -> Duration {
        match pool {
            Pool::Native => self.slow,
            Pool::Interpreted => self.interpreted.call / 2,
        }
    }

    /// The pool that a policy of so many bytes fits into, for tools that nobody told which one is
    /// meant. A gateway is told.
    #[must_use]
    pub fn pool_for(&self, bytes: usize) -> Pool {
        if bytes <= self.of(Pool::Native).component_bytes {
            Pool::Native
        } else {
            Pool::Interpreted
        }
    }

    /// Refuses limits under which no policy could ever answer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |limit, reason| Err(Error::Limit { limit, reason });
        self.of(Pool::Native).check(["call", "start", "memory_bytes"])?;
        self.interpreted.check([
            "interpreted.call",
            "interpreted.start",
            "interpreted.memory_bytes",
        ])?;
        if self.stack_bytes < 4 << 10 {
            return refuse("stack_bytes", "a guest needs at least 4096 bytes");
        }
        if self.breaker_faults == 0 {
            return refuse("breaker_faults", "a breaker that opens at 0 faults never closes");
        }
        Ok(())
    }
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
}
