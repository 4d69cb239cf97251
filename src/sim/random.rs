//! Chance that can be repeated: every model draws from a stream of its own.
//!
//! Own code rather than a library, because a seed that was kept must give the same history in
//! years: distributions of libraries change with their versions.

/// A splitmix64 sequence. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each pair of seed and name: leaving one model out of a run does
    /// not change what the others draw.
    #[must_use]
    pub fn new(seed: u64, stream: &str) -> Self {
        // FNV-1a over the name; only to be different, not to be secret.
        let name = stream.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Self(seed ^ name.rotate_left(32));
        random.next();
        random
    }

    /// The next 64 bits.
    #[inline]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A share of one: 0 ≤ x < 1.
    #[inline]
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens; draws nothing where that is certain.
    #[inline]
    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.share() < probability)
    }

    /// A number below `bound`; 0 for a bound of 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Exponentially distributed with this mean.
    #[inline]
    pub fn exponential(&mut self, mean: f64) -> f64 {
        if mean > 0.0 { -mean * (1.0 - self.share()).ln() } else { 0.0 }
    }

    /// Normally distributed, mean 0 and deviation 1. Source: Box and Muller 1958.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }

    /// Lognormally distributed, by its median and the deviation of its logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(usize::try_from(self.below(of.len() as u64)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(draw: impl FnMut() -> f64) -> f64 {
        std::iter::repeat_with(draw).take(200_000).sum::<f64>() / 200_000.0
    }

    #[test]
    fn the_same_seed_and_stream_repeat_and_others_differ() {
        let draw = |seed, stream| Random::new(seed, stream).next();
        assert_eq!(draw(7, "loss"), draw(7, "loss"));
        assert_ne!(draw(7, "loss"), draw(7, "delay"));
        assert_ne!(draw(7, "loss"), draw(8, "loss"));
    }

    /// Within five standard errors of what they should be.
    #[test]
    fn distributions_have_the_moments_of_their_names() {
        let mut random = Random::new(1, "moments");
        assert!((mean(|| random.exponential(20.0)) - 20.0).abs() < 0.23);
        assert!(mean(|| random.normal()).abs() < 0.012);
        assert!((mean(|| random.normal().powi(2)) - 1.0).abs() < 0.016);
        assert!((mean(|| f64::from(random.lognormal(3.0, 1.0) < 3.0)) - 0.5).abs() < 0.006);
        assert!((mean(|| random.below(10) as f64) - 4.5).abs() < 0.033);
        assert!((mean(|| f64::from(random.happens(0.01))) - 0.01).abs() < 0.0012);
    }

    #[test]
    fn bounds_are_kept() {
        let mut random = Random::new(2, "bounds");
        assert_eq!((random.below(0), random.between(5, 5)), (0, 5));
        assert!((0..1_000).all(|_| (3..=6).contains(&random.between(3, 6))));
        assert_eq!(random.pick::<u8>(&[]), None);
        assert!(!random.happens(0.0) && random.happens(1.0) && random.exponential(0.0) == 0.0);
    }
}
