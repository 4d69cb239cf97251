//! The circuit breaker of one policy: a policy that keeps failing is not called for a while.
//!
//! Faults are counted in fixed windows, not averaged: how often a policy is called follows from
//! how it paces, so a rate weighted by calls would judge fast and slow policies differently.
//!
//! ```text
//! closed --(N faults in a window)--> open --(one window later)--> half-open: one trial call
//!    ^----------------- the trial went well -----------------------------|
//!                      open again <--------- the trial failed -----------|
//! ```
//!
//! All threads share one breaker. While a trial runs, the others stay refused; a trial that never
//! reports (its thread died) is followed by another one window later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Yes.
    Closed,
    /// Yes, and its outcome decides: report it with [`Breaker::handle_success`] or
    /// [`Breaker::handle_fault`].
    Trial,
    /// No.
    Open,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    most: u32,
    window_ms: u64,
    /// When the next trial may run; 0 while closed. The only thing read for each call.
    trial_at_ms: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    start_ms: u64,
    faults: u32,
}

impl Breaker {
    pub(crate) fn new(most: u32, window_ms: u64) -> Self {
        let window = Mutex::new(Window::default());
        Self { most, window_ms: window_ms.max(1), trial_at_ms: AtomicU64::new(0), window }
    }

    /// The same, closed and without faults.
    pub(crate) fn afresh(&self) -> Self {
        Self::new(self.most, self.window_ms)
    }

    /// Whether a call may be made; `now` is asked only when it is not closed.
    pub(crate) fn gate(&self, now_ms: impl FnOnce() -> u64) -> Gate {
        let trial_at = self.trial_at_ms.load(Ordering::Relaxed);
        if trial_at == 0 {
            return Gate::Closed;
        }
        let now = now_ms();
        if now < trial_at {
            return Gate::Open;
        }
        let next = now.saturating_add(self.window_ms);
        let won =
            self.trial_at_ms.compare_exchange(trial_at, next, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() { Gate::Trial } else { Gate::Open }
    }

    /// Whether calls are refused, or wait for a trial.
    pub(crate) fn is_open(&self) -> bool {
        self.trial_at_ms.load(Ordering::Relaxed) != 0
    }

    /// A trial went well: closes.
    pub(crate) fn handle_success(&self) {
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Window::default();
        self.trial_at_ms.store(0, Ordering::Relaxed);
    }

    /// Opens at once, for one window.
    pub(crate) fn open(&self, now_ms: u64) {
        let trial_at = now_ms.saturating_add(self.window_ms).max(1);
        self.trial_at_ms.store(trial_at, Ordering::Relaxed);
    }

    /// A call failed; says whether this opened the breaker.
    pub(crate) fn handle_fault(&self, now_ms: u64, gate: Gate) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.saturating_sub(window.start_ms) >= self.window_ms {
            *window = Window { start_ms: now_ms, faults: 0 };
        }
        window.faults = window.faults.saturating_add(1);
        let opens = gate == Gate::Trial || window.faults >= self.most;
        if opens {
            self.open(now_ms);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(breaker: &Breaker, now_ms: u64) -> Gate {
        breaker.gate(|| now_ms)
    }

    #[test]
    fn it_opens_at_the_last_fault_of_a_window_and_not_before() {
        let breaker = Breaker::new(3, 1_000);
        assert!(!breaker.handle_fault(0, Gate::Closed));
        assert!(!breaker.handle_fault(500, Gate::Closed));
        assert_eq!(gate(&breaker, 600), Gate::Closed);
        assert!(breaker.handle_fault(999, Gate::Closed));
        assert_eq!(gate(&breaker, 1_000), Gate::Open);
    }

    #[test]
    fn faults_of_different_windows_do_not_add_up() {
        let breaker = Breaker::new(2, 1_000);
        for window in 0..10 {
            assert!(!breaker.handle_fault(window * 1_000, Gate::Closed));
        }
        assert_eq!(gate(&breaker, 10_000), Gate::Closed);
    }

    #[test]
    fn slowness_opens_it_at_once_and_for_one_window() {
        let breaker = Breaker::new(3, 1_000);
        breaker.open(0);
        assert_eq!(gate(&breaker, 999), Gate::Open);
        assert_eq!(gate(&breaker, 1_000), Gate::Trial);
        breaker.handle_success();
        assert_eq!(gate(&breaker, 1_001), Gate::Closed);
    }

    #[test]
    fn half_open_lets_one_trial_through_and_its_success_closes() {
        let breaker = Breaker::new(1, 1_000);
        assert!(breaker.handle_fault(0, Gate::Closed));
        assert_eq!(gate(&breaker, 999), Gate::Open);
        assert_eq!(gate(&breaker, 1_000), Gate::Trial);
        assert_eq!(gate(&breaker, 1_000), Gate::Open);
        breaker.handle_success();
        assert_eq!(gate(&breaker, 1_001), Gate::Closed);
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_failed_trial_opens_again_at_once() {
        let breaker = Breaker::new(5, 1_000);
        for _ in 0..5 {
            breaker.handle_fault(0, Gate::Closed);
        }
        assert_eq!(gate(&breaker, 2_000), Gate::Trial);
        assert!(breaker.handle_fault(2_000, Gate::Trial));
        assert_eq!(gate(&breaker, 2_999), Gate::Open);
        assert_eq!(gate(&breaker, 3_000), Gate::Trial);
    }

    #[test]
    fn a_trial_that_never_reports_is_followed_by_another() {
        let breaker = Breaker::new(1, 1_000);
        breaker.handle_fault(0, Gate::Closed);
        assert_eq!(gate(&breaker, 1_000), Gate::Trial);
        assert_eq!(gate(&breaker, 1_999), Gate::Open);
        assert_eq!(gate(&breaker, 2_000), Gate::Trial);
    }
}
