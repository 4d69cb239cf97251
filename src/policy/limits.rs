//! What a policy may use, and the meter that each instance carries.

use std::time::Duration;

use wasmtime::{StoreLimits, StoreLimitsBuilder};

use crate::Error;

/// Most rows in one call: beyond, a call gains nothing and only delays its first agent.
/// Source: benches/policy.rs, 32 to 47 ns a row at 64 against 370 ns at one.
pub const ROWS_PER_CALL: usize = 64;
/// Most bytes that the host copies out of a guest in one call. Room for the largest description
/// (64 reasons of 200 bytes, 8 rules, 16 names) and four times the largest rows answer.
pub(crate) const ANSWER_BYTES: usize = 64 * 1024;
/// Ticks that an instance may take to start and to take its settings. Source: chosen; a start
/// takes 0.1 ms, and a guest that brings an interpreter tens of milliseconds.
pub(crate) const START_TICKS: u32 = 100;

/// Limits of every policy.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest call, rounded up to ticks of 1 ms; 3 ms. A runaway call stops within this time of
    /// its own running: ticks that pass while the thread is not scheduled count as one. The clock
    /// rests between calls, and may find a call up to 5 ms after it began.
    pub call: Duration,
    /// A call longer than this is slow; 0.5 ms. Slow calls are no faults, and their answers count;
    /// but a policy of which a quarter of the calls are slow opens its breaker: each heartbeat
    /// waits for its call, and the thread's others wait behind it. Shorter opens it for policies
    /// that merely think; longer lets a slow one take most of a processor. Source: chosen; a
    /// thousand times what a call takes.
    pub slow: Duration,
    /// Largest linear memory of an instance, in bytes; 16 MiB. Growing beyond is a trap.
    pub memory_bytes: usize,
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
            stack_bytes: 256 << 10,
            batch: Duration::from_millis(10),
            breaker_faults: 10,
            breaker_window: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Ticks of 1 ms that a call may run.
    pub(crate) fn call_ticks(&self) -> u32 {
        u32::try_from(self.call.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// Refuses limits under which no policy could ever answer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |limit, reason| Err(Error::Limit { limit, reason });
        if self.call.is_zero() {
            return refuse("call", "a call needs at least 1 ms");
        }
        if self.memory_bytes < 64 << 10 {
            return refuse("memory_bytes", "an instance needs at least one page of 65536 bytes");
        }
        if self.stack_bytes < 4 << 10 {
            return refuse("stack_bytes", "a guest needs at least 4096 bytes");
        }
        if self.breaker_faults == 0 {
            return refuse("breaker_faults", "a breaker that opens at 0 faults never closes");
        }
        Ok(())
    }

    /// The memory limiter of one instance.
    pub(crate) fn store_limits(&self) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(self.memory_bytes)
            .table_elements(10_000)
            .instances(16)
            .tables(16)
            .memories(4)
            .trap_on_grow_failure(true)
            .build()
    }
}
