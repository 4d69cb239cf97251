//! Turning away what cannot be handled, before it is known who sends it.
//!
//! A request whose body came with its head is handled at once and never waits. One that is still
//! on its way takes a permit until it is complete: so slow senders can use up the permits, and
//! only slow senders are turned away then. While anything is turned away unread, core time
//! stands still, because among it may be the heartbeat of any agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use pulsegate_wire::{Code, Problem};

use super::Rejection;
use crate::clock::{Clock, Hold};
use crate::shard::Quota;
use crate::telemetry::{Gauge, ShedReason, Telemetry};

/// Core time runs on when nothing was turned away for this long: whoever was, has come back by
/// then, because it was told to come within [`RETRY_MS`] and [`SPREAD_MS`]. Source: chosen.
const QUIET_MS: u64 = 5_000;
/// When to come back, at the earliest. Source: chosen, as the first retry of a heartbeat.
const RETRY_MS: u64 = 1_000;
/// What is added to it, at random, so that not all come back at once. Source: chosen.
const SPREAD_MS: u64 = 2_000;

/// How much is under way, and what was turned away.
#[derive(Debug)]
pub struct Shed {
    clock: Arc<Clock>,
    telemetry: Telemetry,
    waiting: AtomicU32,
    limit: AtomicU32,
    /// Raw time at which something was turned away last; 0 while all is quiet.
    last_ms: AtomicU64,
    turned_away: AtomicU64,
}

/// The right to wait for the rest of a request.
#[derive(Debug)]
pub struct Permit<'a>(&'a Shed);

impl Shed {
    /// Nothing is under way; `limit` requests may wait at once.
    #[must_use]
    pub fn new(clock: Arc<Clock>, telemetry: Telemetry, limit: u32) -> Self {
        Self {
            clock,
            telemetry,
            waiting: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
            last_ms: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Takes another limit.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Relaxed);
    }

    /// Takes a permit to wait for the rest of a request.
    ///
    /// # Errors
    /// `overloaded`: too many wait.
    pub fn permit(&self) -> Result<Permit<'_>, Rejection> {
        let limit = self.limit.load(Relaxed);
        if self.waiting.fetch_add(1, Relaxed) < limit {
            self.telemetry.step(Gauge::InFlight, true);
            return Ok(Permit(self));
        }
        self.waiting.fetch_sub(1, Relaxed);
        self.note(ShedReason::InFlight);
        Err(self.overloaded("too many requests are under way", limit))
    }

    /// Records that something was turned away before it could be known whom it concerns.
    pub fn note(&self, reason: ShedReason) {
        let raw_ms = self.clock.read().raw_ms.max(1);
        self.last_ms.fetch_max(raw_ms, Relaxed);
        self.telemetry.shed(reason);
        if self.clock.hold(Hold::Shedding) {
            tracing::warn!("heartbeats are turned away unread: core time stands still");
        }
    }

    /// Lets core time run on once nothing is turned away any more; called at every tick.
    pub fn settle(&self) {
        let last_ms = self.last_ms.load(Relaxed);
        if last_ms == 0 || self.clock.read().raw_ms < last_ms + QUIET_MS {
            return;
        }
        if self.last_ms.compare_exchange(last_ms, 0, Relaxed, Relaxed).is_ok() {
            let held_ms = self.clock.release(Hold::Shedding);
            tracing::warn!(held_ms, "nothing is turned away any more");
            // Something may have been turned away since then, when time stood still already.
            if self.last_ms.load(Relaxed) != 0 {
                self.clock.hold(Hold::Shedding);
            }
        }
    }

    /// The answer to what is turned away; `limit` is the number of places there are.
    #[must_use]
    pub fn overloaded(&self, detail: &str, limit: u32) -> Rejection {
        let number = self.turned_away.fetch_add(1, Relaxed);
        let spread_ms = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (SPREAD_MS + 1);
        let problem = Problem::new(Code::Overloaded, detail)
            .with_limit(f64::from(limit))
            .with_retry_after_ms(RETRY_MS + spread_ms);
        let quota = Quota { rate_per_second: f64::from(limit), burst: limit };
        Rejection { quota: Some(("gateway", quota)), ..Rejection::of(problem) }.closing()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.telemetry.step(Gauge::InFlight, false);
    }
}
