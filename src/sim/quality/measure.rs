//! Means with their errors, and exact percentiles.

use crate::random::Random;
use crate::server::{Micros, SECOND};

/// Samples that are kept; beyond that each has an equal chance to be among them.
/// Source: chosen; 8 MB, and percentiles of a thousandth are still of a thousand samples.
const KEPT: usize = 1_000_000;

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; infinite for a single value.
    pub error: f64,
}

/// Mean and variance of a stream. Source: Welford 1962.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    pub(super) fn estimate(&self) -> Option<Estimate> {
        let error = if self.count > 1.0 {
            (self.squares / (self.count - 1.0) / self.count).sqrt()
        } else {
            f64::INFINITY
        };
        (self.count > 0.0).then_some(Estimate { mean: self.mean, error })
    }
}

/// Spans of time of which percentiles are asked: exact up to a million, then of a fair selection
/// of a million; count, mean and maximum are always exact.
#[derive(Clone, Debug)]
pub struct Samples {
    kept: Vec<Micros>,
    limit: usize,
    count: u64,
    sum: u128,
    max: Micros,
    random: Random,
}

/// How samples are spread. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are not above this.
    pub p50: f64,
    /// Of a hundred, 99 are not above this.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Default for Samples {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Samples {
    fn keeping(limit: usize) -> Self {
        let random = Random::new(0, "samples");
        Self { kept: Vec::new(), limit, count: 0, sum: 0, max: 0, random }
    }

    /// Adds one.
    pub fn add(&mut self, value: Micros) {
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
        if self.kept.len() < self.limit {
            self.kept.push(value);
            return;
        }
        // Algorithm R. Source: Vitter 1985.
        let place = usize::try_from(self.random.below(self.count)).unwrap_or(usize::MAX);
        if let Some(slot) = self.kept.get_mut(place) {
            *slot = value;
        }
    }

    /// How they are spread; `None` when there are none.
    #[must_use]
    pub fn spread(mut self) -> Option<Spread> {
        self.kept.sort_unstable();
        let last = self.kept.len().checked_sub(1)?;
        // Nearest rank: the smallest value that the share is not above.
        let rank = |percent: usize| (self.kept.len() * percent).div_ceil(100).max(1) - 1;
        let seconds = |value: Micros| value as f64 / SECOND as f64;
        Some(Spread {
            count: self.count,
            mean: self.sum as f64 / self.count as f64 / SECOND as f64,
            p50: seconds(self.kept[rank(50).min(last)]),
            p99: seconds(self.kept[rank(99).min(last)]),
            max: seconds(self.max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_mean_is_that_of_the_textbook() {
        let mut moments = Moments::default();
        assert_eq!(moments.estimate(), None);
        moments.add(2.0);
        assert_eq!(moments.estimate().map(|estimate| estimate.error), Some(f64::INFINITY));
        [4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| moments.add(value));
        let estimate = moments.estimate().unwrap();
        assert!((estimate.mean - 5.0).abs() < 1e-12);
        assert!((estimate.error - (32.0_f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn percentiles_are_exact_by_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.clone().spread(), None);
        (1..=200).rev().for_each(|value| samples.add(value * SECOND));
        let spread = Spread { count: 200, mean: 100.5, p50: 100.0, p99: 198.0, max: 200.0 };
        assert_eq!(samples.spread(), Some(spread));
    }

    #[test]
    fn beyond_the_limit_the_selection_is_fair_and_the_maximum_exact() {
        let mut samples = Samples::keeping(10_000);
        (0..100_000).for_each(|value| samples.add(value * SECOND));
        assert_eq!(samples.kept.len(), 10_000);
        let spread = samples.spread().unwrap();
        assert_eq!((spread.count, spread.max, spread.mean), (100_000, 99_999.0, 49_999.5));
        // Five standard errors of a median of 10,000.
        assert!((spread.p50 - 50_000.0).abs() < 2_500.0);
        assert!((spread.p99 - 99_000.0).abs() < 500.0);
    }
}
