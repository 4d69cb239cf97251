//! What became of one revision, in numbers: its calls and faults, and, while it is a shadow, how
//! often it agrees with what is enforced.
//!
//! Metrics are by name of the policy; these are by revision, for whoever decides whether it may
//! go on. Calls are counted at every heartbeat by every thread, so each thread has a line of the
//! cache of its own to count them on; all else is rare, or counted by one thread.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::{Difference, Fault};

/// Lines that calls are counted on. Source: chosen; with more threads some share a line, which is
/// slower and never wrong.
const LINES: usize = 16;

/// Faults of a call that was made, in the order of [`Counts::faults`].
const FAULTS: [Fault; 4] = [Fault::Trap, Fault::Timeout, Fault::BadAnswer, Fault::Slow];

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// The numbers of one revision since it was loaded.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: [Line; LINES],
    faults: [AtomicU64; FAULTS.len()],
    compared: AtomicU64,
    health_differs: AtomicU64,
    intervals: [AtomicU64; Difference::ALL.len()],
}

/// What became of a revision since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls made; one of the rows form counts once, for all of its rows.
    pub calls: u64,
    /// Calls that trapped, ran too long, or had an answer that is none; and how often its calls
    /// were found too slow.
    pub faults: [u64; FAULTS.len()],
    /// Heartbeats for which it was compared with what was enforced.
    pub compared: u64,
    /// Those of them that it judged otherwise.
    pub health_differs: u64,
    /// Those of them by how its interval compares, in the order of [`Difference::ALL`].
    pub intervals: [u64; Difference::ALL.len()],
}

thread_local! {
    static LINE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed) % LINES
    };
}

impl Tally {
    /// A call was made.
    #[inline]
    pub(crate) fn call(&self, fault: Option<Fault>) {
        // While a thread ends its number may be gone already.
        let line = LINE.try_with(|line| *line).unwrap_or(0);
        self.calls[line].0.fetch_add(1, Relaxed);
        let place = fault.and_then(|fault| FAULTS.iter().position(|known| *known == fault));
        if let Some(place) = place {
            self.faults[place].fetch_add(1, Relaxed);
        }
    }

    /// A heartbeat was compared.
    pub(crate) fn compared(&self, health_differs: bool, interval: Option<Difference>) {
        self.compared.fetch_add(1, Relaxed);
        self.health_differs.fetch_add(u64::from(health_differs), Relaxed);
        if let Some(interval) = interval {
            self.intervals[interval as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            calls: self.calls.iter().map(|line| line.0.load(Relaxed)).sum(),
            faults: self.faults.each_ref().map(|count| count.load(Relaxed)),
            compared: self.compared.load(Relaxed),
            health_differs: self.health_differs.load(Relaxed),
            intervals: self.intervals.each_ref().map(|count| count.load(Relaxed)),
        }
    }
}

impl Counts {
    /// All faults.
    #[must_use]
    pub fn faulty(&self) -> u64 {
        self.faults.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_counts_and_nothing_is_lost() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * LINES {
                scope.spawn(|| (0..1_000).for_each(|_| tally.call(None)));
            }
        });
        tally.call(Some(Fault::Timeout));
        tally.call(Some(Fault::BreakerOpen));
        tally.compared(true, Some(Difference::MuchLonger));
        let counts = tally.counts();
        assert_eq!(counts.calls, 2 * LINES as u64 * 1_000 + 2);
        assert_eq!((counts.faults, counts.faulty()), ([0, 1, 0, 0], 1));
        assert_eq!((counts.compared, counts.health_differs), (1, 1));
        assert_eq!(counts.intervals, [0, 0, 0, 0, 1]);
    }
}
