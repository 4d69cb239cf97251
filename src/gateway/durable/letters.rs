//! Dead letters on their way into the journal: only so many of them.
//!
//! Whoever sends what cannot be handled sends more of it. The journal keeps the newest letters, so
//! without a limit one fleet of a newer version would push out what somebody has yet to look at,
//! and keep the disk busy with it.

use parking_lot::Mutex;
use pulsegate_journal::DeadLetter;

use super::Durable;

/// Reason of a letter that is no problem of anybody's: it came after a newer one of its agent.
pub const REORDERED: &str = "reordered";

/// Time that a letter uses up of what is allowed, in milliseconds: a hundred a second. Larger:
/// fewer letters; smaller: others are pushed out sooner. Source: chosen; at a few hundred bytes
/// each, some 30 KB/s.
const LETTER_MS: u64 = 10;
/// What may be used up at once, in milliseconds: a thousand letters, a whole batch. Source: chosen.
const BURST_MS: u64 = LETTER_MS * 1_000;

/// What letters have used up: an instant that may lie ahead of now.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    used_until_ms: Mutex<u64>,
}

impl Allowance {
    /// Takes one letter's share, if there is one left.
    fn take(&self, now_ms: u64) -> bool {
        let mut used_until = self.used_until_ms.lock();
        let from = (*used_until).max(now_ms);
        let is_left = from + LETTER_MS <= now_ms + BURST_MS;
        if is_left {
            *used_until = from + LETTER_MS;
        }
        is_left
    }
}

impl Durable {
    /// Keeps what mattered and could not be handled; `false` when there are too many of late.
    /// Nobody waits for the disk.
    #[must_use]
    pub fn keep_letter(&self, letter: DeadLetter) -> bool {
        let at = self.inner.clock.read();
        if !self.inner.letters.take(at.raw_ms) {
            return false;
        }
        let wall_ms = self.inner.clock.wall_ms(at.raw_ms);
        self.inner.journal.dead_letter(DeadLetter { wall_ms, ..letter });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_letters_may_come_at_once_and_then_a_hundred_a_second() {
        let allowance = Allowance::default();
        let taken = |now_ms: u64| (0..5_000).filter(|_| allowance.take(now_ms)).count();
        assert_eq!(taken(1_000_000), 1_000);
        assert_eq!(taken(1_000_009), 0);
        assert_eq!(taken(1_001_000), 100);
        assert_eq!(taken(2_000_000), 1_000, "no more than a burst is saved up");
    }
}
