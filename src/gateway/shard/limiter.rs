//! Rate limits: one number for each agent, kept where the rest of the agent is kept, so that memory
//! is bounded by the agent table and reading it costs no wait of its own.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{NotUntil, RateLimiter};

/// A sustained rate and what may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Requests a second in the long run; above 0.
    pub rate_per_second: f64,
    /// Requests at once; at least 1.
    pub burst: u32,
}

impl Quota {
    /// The quota in the terms of the limiter. What is not a positive rate counts as one request
    /// an hour, what is no burst as 1: the configuration refuses both.
    fn governor(self) -> governor::Quota {
        let hour = Duration::from_secs(3_600);
        let period = Duration::try_from_secs_f64(1.0 / self.rate_per_second).unwrap_or(hour);
        let period = period.clamp(Duration::from_nanos(1), hour);
        let burst = NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN);
        governor::Quota::with_period(period)
            .unwrap_or_else(|| governor::Quota::per_hour(NonZeroU32::MIN))
            .allow_burst(burst)
    }

    /// Time in which an empty quota is full again, in whole seconds, at least 1.
    #[must_use]
    pub fn window_seconds(self) -> u64 {
        (f64::from(self.burst) / self.rate_per_second).ceil().clamp(1.0, 1e9) as u64
    }
}

/// A limiter whose state lives with its callers; used under a lock.
pub struct Limiter {
    inner: RateLimiter<Charge, Nowhere, Dial, NoOpMiddleware<Instant>>,
}

/// What a quota has left: the theoretical arrival time of the next request, in nanoseconds. The
/// default is a full quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charged(u64);

/// A charge carries the state that is charged, in and out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Charge(Cell<u64>);

impl Hash for Charge {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.get().hash(state);
    }
}

/// A store that keeps nothing.
#[derive(Debug)]
struct Nowhere;

/// A clock that shows what it was set to: time comes in as an argument.
#[derive(Debug, Default)]
struct Dial(Cell<u64>);

/// An instant of the dial, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Instant(u64);

impl Limiter {
    /// A limiter for this quota.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { inner: RateLimiter::new(quota.governor(), Nowhere, Dial::default()) }
    }

    /// Charges one request at `raw_ms`.
    ///
    /// # Errors
    /// The time to wait, in milliseconds, at least 1; nothing was charged.
    pub fn charge(&self, raw_ms: u64, charged: &mut Charged) -> Result<(), u64> {
        self.inner.clock().0.set(raw_ms.saturating_mul(1_000_000));
        let charge = Charge(Cell::new(charged.0));
        let outcome = self.inner.check_key(&charge);
        charged.0 = charge.0.get();
        outcome.map_err(|until: NotUntil<Instant>| {
            let wait = until.wait_time_from(self.inner.clock().now());
            u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
        })
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limiter")
    }
}

impl StateStore for Nowhere {
    type Key = Charge;

    fn measure_and_replace<T, F, E>(&self, charge: &Charge, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = charge.0.get();
        let (answer, after) = decide((before != 0).then(|| Nanos::new(before)))?;
        charge.0.set(after.as_u64());
        Ok(answer)
    }
}

impl Clock for Dial {
    type Instant = Instant;

    fn now(&self) -> Instant {
        Instant(self.0.get())
    }
}

impl Reference for Instant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::new(self.0.saturating_sub(earlier.0))
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.as_u64()))
    }
}

impl Add<Nanos> for Instant {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { rate_per_second: 1.0, burst: 8 };

    #[test]
    fn a_burst_passes_and_the_next_request_waits_for_its_share() {
        let (limiter, mut charged) = (Limiter::new(QUOTA), Charged::default());
        for _ in 0..8 {
            assert_eq!(limiter.charge(5_000, &mut charged), Ok(()));
        }
        let before = charged;
        assert_eq!(limiter.charge(5_400, &mut charged), Err(600));
        assert_eq!(charged, before, "what is refused is not charged");
        assert_eq!(limiter.charge(6_000, &mut charged), Ok(()));
    }

    #[test]
    fn agents_do_not_share_a_quota() {
        let limiter = Limiter::new(QUOTA);
        let (mut busy, mut other) = (Charged::default(), Charged::default());
        for _ in 0..9 {
            let _ = limiter.charge(1, &mut busy);
        }
        assert!(limiter.charge(1, &mut busy).is_err());
        assert_eq!(limiter.charge(1, &mut other), Ok(()));
    }

    #[test]
    fn a_rate_that_is_no_number_does_not_panic() {
        for rate_per_second in [f64::NAN, 0.0, -1.0, f64::INFINITY, 1e300] {
            let limiter = Limiter::new(Quota { rate_per_second, burst: 0 });
            assert_eq!(limiter.charge(0, &mut Charged::default()), Ok(()));
        }
    }
}
