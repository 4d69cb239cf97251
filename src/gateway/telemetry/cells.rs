//! The numbers behind counters and histograms: one set for each thread, summed when scraped.
//!
//! A thread writes its own set with a plain load and store, so that counting costs about a
//! nanosecond and no cache line is fought over. Threads beyond [`SEATS`] share the last set with
//! atomic additions: slower, never wrong.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::catalogue::{FAMILIES, Id, Kind, OFFSETS};

/// Threads that have a set of their own.
///
/// Source: chosen; one bit each in one word, and more than the workers of a large machine.
const SEATS: usize = 64;

type Set = Box<[AtomicU64]>;

/// All numbers of one gateway.
pub(super) struct Cells {
    sets: Box<[OnceLock<Set>]>,
}

/// Seats that are taken, one bit each; a thread keeps its seat in every [`Cells`] until it ends.
static TAKEN: AtomicU64 = AtomicU64::new(0);

struct Seat(usize);

thread_local! {
    static SEAT: Seat = Seat::take();
}

impl Seat {
    fn take() -> Self {
        let mut taken = TAKEN.load(Relaxed);
        loop {
            let seat = taken.trailing_ones() as usize;
            if seat >= SEATS {
                return Self(SEATS);
            }
            // Acquire: what the thread before wrote into this seat's sets is seen.
            match TAKEN.compare_exchange_weak(taken, taken | 1 << seat, Acquire, Relaxed) {
                Ok(_) => return Self(seat),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0 < SEATS {
            TAKEN.fetch_and(!(1 << self.0), Release);
        }
    }
}

impl Cells {
    pub(super) fn new() -> Self {
        Self { sets: (0..=SEATS).map(|_| OnceLock::new()).collect() }
    }

    /// Adds to a counter; `labels` is the index of its combination of labels.
    pub(super) fn add(&self, id: Id, labels: usize, amount: u64) {
        self.with(|set, alone| bump(&set[OFFSETS[id as usize] + labels], amount, alone));
    }

    /// Adds an observation to a histogram, in nanoseconds.
    pub(super) fn observe(&self, id: Id, labels: usize, nanos: u64) {
        let family = &FAMILIES[id as usize];
        let Kind::Histogram(bounds) = family.kind else { return };
        let start = OFFSETS[id as usize] + labels * family.width();
        let bucket = bounds.iter().position(|bound| nanos <= *bound).unwrap_or(bounds.len());
        self.with(|set, alone| {
            bump(&set[start + bucket], 1, alone);
            bump(&set[start + bounds.len() + 1], nanos, alone);
        });
    }

    /// All numbers, summed over threads.
    pub(super) fn sum(&self) -> Vec<u64> {
        let mut sum = vec![0_u64; OFFSETS[FAMILIES.len()]];
        for set in self.sets.iter().filter_map(OnceLock::get) {
            for (total, cell) in sum.iter_mut().zip(set) {
                *total = total.wrapping_add(cell.load(Relaxed));
            }
        }
        sum
    }

    fn with(&self, write: impl FnOnce(&Set, bool)) {
        // While a thread ends its seat may be gone already: the shared set takes the rest.
        let seat = SEAT.try_with(|seat| seat.0).unwrap_or(SEATS);
        let set = self.sets[seat]
            .get_or_init(|| (0..OFFSETS[FAMILIES.len()]).map(|_| AtomicU64::new(0)).collect());
        write(set, seat < SEATS);
    }
}

fn bump(cell: &AtomicU64, amount: u64, alone: bool) {
    if alone {
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    } else {
        cell.fetch_add(amount, Relaxed);
    }
}
