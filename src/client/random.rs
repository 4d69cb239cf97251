//! Jitter: numbers that need to differ between agents, not to be secret.

use std::time::Duration;

/// A splitmix64 sequence. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A share of one: 0 ≤ x < 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A duration from zero to `longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.share())
    }

    /// A duration within `spread` (a share, such as 0.2) of `middle`.
    pub(crate) fn around(&mut self, middle: Duration, spread: f64) -> Duration {
        middle.mul_f64(1.0 - spread + 2.0 * spread * self.share())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_stay_within_their_spread() {
        let mut random = Random::new(7);
        let second = Duration::from_secs(1);
        for _ in 0..10_000 {
            let around = random.around(second, 0.2);
            assert!(around >= Duration::from_millis(800) && around <= Duration::from_millis(1_200));
            assert!(random.up_to(second) <= second);
        }
    }

    #[test]
    fn two_seeds_give_two_sequences() {
        assert_ne!(Random::new(1).next(), Random::new(2).next());
    }
}
