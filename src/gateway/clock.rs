//! Core time: milliseconds that pass only while this gateway can observe its agents.
//!
//! Core time follows the monotonic clock of the machine and stands still in two cases, so that
//! nobody fails for silence that we could not have heard:
//! - the whole process did not run for more than [`STALL_MS`]: whoever reads the clock first
//!   afterwards finds the last stamp too old and takes the gap out;
//! - somebody holds the clock ([`Clock::hold`]): a transport runtime that does not turn,
//!   admission that refuses heartbeats before they can be identified, or a shutdown under way.
//!
//! One offset moves every deadline at once; nothing is relinked. This room may touch `core`.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use pulsegate_core::Millis;

/// A gap between two readings that counts as a stall of the whole process, in milliseconds.
///
/// Smaller: an ordinary pause of the scheduler would bend time. Larger: a longer stretch of
/// silence that we could not hear would count against agents; every grace is ten times longer.
/// Source: DESIGN §2, Time.
pub const STALL_MS: u64 = 1_000;

/// A monotonic source of milliseconds; tests inject their own.
pub trait Source: Send + Sync {
    /// Milliseconds since any fixed instant.
    fn elapsed_ms(&self) -> u64;
}

/// Why core time stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hold {
    /// A runtime of the transport does not turn: what its sockets hold cannot be heard.
    Worker = 1,
    /// Heartbeats are refused before they can be identified.
    Shedding = 2,
    /// The gateway ends, and nobody can connect any more.
    Draining = 4,
}

/// Both times, read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Core time.
    pub now: Millis,
    /// Milliseconds since the start of this process, stalls and holds included.
    pub raw_ms: u64,
}

/// The clock of one gateway. It never goes back.
pub struct Clock {
    source: Box<dyn Source>,
    /// Odd while a change of offset or hold is under way.
    version: AtomicU64,
    /// The newest raw reading of anybody.
    last_ms: AtomicU64,
    /// What core time lags behind the raw one, in milliseconds.
    offset_ms: AtomicU64,
    /// Raw time at which core time was stopped; `u64::MAX` while it runs.
    stopped_ms: AtomicU64,
    /// Reasons to stand still, one bit each.
    holds: AtomicU32,
    change: Mutex<()>,
    /// Wall clock, in Unix milliseconds, at raw time zero.
    wall_ms: AtomicU64,
    /// Raw time at which core time began, in milliseconds.
    start_ms: u64,
    /// Core time at which it began: where the gateway before this one stopped.
    base_ms: AtomicU64,
}

const RUNNING: u64 = u64::MAX;

struct Monotonic(Instant);

impl Source for Monotonic {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Box::new(Monotonic(Instant::now())))
    }
}

impl Clock {
    /// A clock on this source, at core time zero.
    #[must_use]
    pub fn new(source: Box<dyn Source>) -> Self {
        let raw_ms = source.elapsed_ms();
        let clock = Self {
            source,
            version: AtomicU64::new(0),
            last_ms: AtomicU64::new(raw_ms),
            offset_ms: AtomicU64::new(raw_ms),
            stopped_ms: AtomicU64::new(RUNNING),
            holds: AtomicU32::new(0),
            change: Mutex::new(()),
            wall_ms: AtomicU64::new(0),
            start_ms: raw_ms,
            base_ms: AtomicU64::new(0),
        };
        clock.set_wall();
        clock
    }

    /// Goes on from this core time, where a gateway before this one stopped. To be called once,
    /// before anybody keeps an instant.
    pub fn begin_at(&self, core: Millis) {
        self.base_ms.store(core.0, SeqCst);
    }

    /// Core time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.read().now
    }

    /// Core time and raw time.
    #[must_use]
    pub fn read(&self) -> Reading {
        loop {
            let version = self.version.load(SeqCst);
            let raw_ms = self.source.elapsed_ms();
            let last_ms = self.last_ms.load(SeqCst);
            if raw_ms > last_ms.saturating_add(STALL_MS) {
                self.take_out_stall();
                continue;
            }
            // Publishing before checking the version again keeps readers in order: whoever takes
            // out a stall later has seen this reading.
            if raw_ms > last_ms {
                self.last_ms.fetch_max(raw_ms, SeqCst);
            }
            let offset_ms = self.offset_ms.load(SeqCst);
            let stopped_ms = self.stopped_ms.load(SeqCst);
            if version.is_multiple_of(2) && self.version.load(SeqCst) == version {
                let passed_ms = raw_ms.min(stopped_ms).saturating_sub(offset_ms);
                let now = Millis(self.base_ms.load(SeqCst)).plus(passed_ms);
                return Reading { now, raw_ms };
            }
            std::hint::spin_loop();
        }
    }

    /// Stops core time for this reason; says whether it ran until now.
    pub fn hold(&self, reason: Hold) -> bool {
        let at_ms = self.read().raw_ms;
        self.change(|clock| {
            let before = clock.holds.fetch_or(reason as u32, SeqCst);
            if before == 0 {
                let newest = clock.last_ms.load(SeqCst).max(at_ms);
                clock.stopped_ms.store(newest, SeqCst);
            }
            before == 0
        })
    }

    /// Drops this reason; with the last one core time runs on from where it stood, and the time
    /// that was taken out comes back, in milliseconds.
    pub fn release(&self, reason: Hold) -> Option<u64> {
        let _ = self.read();
        self.change(|clock| {
            let before = clock.holds.fetch_and(!(reason as u32), SeqCst);
            if before != reason as u32 {
                return None;
            }
            let stopped_ms = clock.stopped_ms.swap(RUNNING, SeqCst);
            let gap_ms = clock.last_ms.load(SeqCst).saturating_sub(stopped_ms);
            clock.offset_ms.fetch_add(gap_ms, SeqCst);
            Some(gap_ms)
        })
    }

    /// Whether core time stands still for this reason.
    #[must_use]
    pub fn holds(&self, reason: Hold) -> bool {
        self.holds.load(SeqCst) & reason as u32 != 0
    }

    /// Whether core time stands still.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.holds.load(SeqCst) != 0
    }

    /// All time taken out so far, in milliseconds.
    #[must_use]
    pub fn lost_ms(&self) -> u64 {
        self.offset_ms.load(SeqCst) - self.start_ms
    }

    /// Sets the wall clock anew from the system's; for display only, once a second.
    pub fn set_wall(&self) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.store(unix_ms.saturating_sub(self.source.elapsed_ms()), SeqCst);
    }

    /// Wall clock at a raw time, in Unix milliseconds; for display only.
    #[must_use]
    pub fn wall_ms(&self, raw_ms: u64) -> u64 {
        self.wall_ms.load(SeqCst).saturating_add(raw_ms)
    }

    fn take_out_stall(&self) {
        self.change(|clock| {
            let raw_ms = clock.source.elapsed_ms();
            let gap_ms = raw_ms.saturating_sub(clock.last_ms.load(SeqCst));
            if gap_ms > STALL_MS {
                // While core time is held the whole gap is taken out at the release.
                if clock.stopped_ms.load(SeqCst) == RUNNING {
                    clock.offset_ms.fetch_add(gap_ms, SeqCst);
                }
                clock.last_ms.fetch_max(raw_ms, SeqCst);
            }
        });
    }

    fn change<R>(&self, act: impl FnOnce(&Self) -> R) -> R {
        let _one = self.change.lock();
        self.version.fetch_add(1, SeqCst);
        let result = act(self);
        self.version.fetch_add(1, SeqCst);
        result
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("read", &self.read()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A source that moves when it is told to.
    #[derive(Clone, Default)]
    struct Hand(Arc<AtomicU64>);

    impl Source for Hand {
        fn elapsed_ms(&self) -> u64 {
            self.0.load(SeqCst)
        }
    }

    impl Hand {
        fn forward(&self, ms: u64) {
            self.0.fetch_add(ms, SeqCst);
        }
    }

    fn clock() -> (Hand, Clock) {
        let hand = Hand::default();
        hand.forward(77_000);
        (hand.clone(), Clock::new(Box::new(hand)))
    }

    #[test]
    fn time_begins_at_zero_and_passes_in_short_steps() {
        let (hand, clock) = clock();
        assert_eq!(clock.now(), Millis(0));
        for second in 1..=10 {
            hand.forward(STALL_MS);
            assert_eq!(clock.now(), Millis(second * STALL_MS));
        }
        assert_eq!(clock.lost_ms(), 0);
    }

    #[test]
    fn time_goes_on_from_where_it_stood() {
        let (hand, clock) = clock();
        clock.begin_at(Millis(5_000_000));
        assert_eq!(clock.now(), Millis(5_000_000));
        hand.forward(900);
        assert_eq!(clock.now(), Millis(5_000_900));
        assert_eq!(clock.lost_ms(), 0);
    }

    #[test]
    fn a_stall_of_the_process_does_not_pass() {
        let (hand, clock) = clock();
        hand.forward(500);
        assert_eq!(clock.now(), Millis(500));
        hand.forward(60_000);
        assert_eq!(clock.now(), Millis(500));
        assert_eq!(clock.lost_ms(), 60_000);
        hand.forward(10);
        assert_eq!(clock.read(), Reading { now: Millis(510), raw_ms: 77_000 + 60_510 });
    }

    #[test]
    fn held_time_stands_still_until_the_last_reason_is_gone() {
        let (hand, clock) = clock();
        hand.forward(100);
        assert!(clock.hold(Hold::Worker));
        hand.forward(900);
        assert!(!clock.hold(Hold::Shedding));
        assert_eq!(clock.now(), Millis(100));
        hand.forward(900);
        assert_eq!(clock.release(Hold::Worker), None);
        assert_eq!(clock.now(), Millis(100));
        assert!(clock.is_held());
        hand.forward(200);
        assert_eq!(clock.release(Hold::Shedding), Some(2_000));
        assert_eq!(clock.now(), Millis(100));
        hand.forward(5);
        assert_eq!(clock.now(), Millis(105));
    }

    #[test]
    fn a_stall_while_held_is_taken_out_once() {
        let (hand, clock) = clock();
        assert!(clock.hold(Hold::Worker));
        hand.forward(30_000);
        assert_eq!(clock.now(), Millis(0));
        hand.forward(100);
        assert_eq!(clock.release(Hold::Worker), Some(30_100));
        assert_eq!(clock.now(), Millis(0));
        hand.forward(100);
        assert_eq!(clock.now(), Millis(100));
    }

    #[test]
    fn what_was_never_held_cannot_be_released() {
        let (hand, clock) = clock();
        assert_eq!(clock.release(Hold::Worker), None);
        hand.forward(100);
        assert_eq!(clock.now(), Millis(100));
    }

    #[test]
    fn no_reader_sees_time_go_back_across_stalls_and_holds() {
        let (hand, clock) = clock();
        let clock = &clock;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    let mut last = Millis(0);
                    for _ in 0..50_000 {
                        let now = clock.now();
                        assert!(now >= last, "{now:?} after {last:?}");
                        last = now;
                    }
                });
            }
            for round in 0..20_000 {
                hand.forward(if round % 100 == 0 { 2 * STALL_MS } else { 1 });
                if round % 37 == 0 {
                    clock.hold(Hold::Worker);
                } else if round % 37 == 20 {
                    clock.release(Hold::Worker);
                }
            }
        });
    }
}
