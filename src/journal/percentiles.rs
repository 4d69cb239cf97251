//! How long commits take: exact figures over the last ones.

use std::time::Duration;

/// Commits that are remembered. Source: chosen; ten of them lie above the 99th percentile.
const KEPT: usize = 1_024;

/// Times of the last commits.
#[derive(Debug, Default)]
pub(crate) struct Percentiles {
    micros: Vec<u32>,
    next: usize,
}

impl Percentiles {
    pub(crate) fn add(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.micros.len() < KEPT {
            self.micros.push(micros);
        } else {
            self.micros[self.next] = micros;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The times that 50 and 99 of 100 commits did not exceed; zero before the first.
    pub(crate) fn p50_p99(&self) -> (Duration, Duration) {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
            Duration::from_micros(sorted.get(rank).copied().unwrap_or(0).into())
        };
        (at(50), at(99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_and_forget_the_oldest() {
        let mut times = Percentiles::default();
        assert_eq!(times.p50_p99(), (Duration::ZERO, Duration::ZERO));
        (1..=100).for_each(|micros| times.add(Duration::from_micros(micros)));
        assert_eq!(times.p50_p99(), (Duration::from_micros(50), Duration::from_micros(99)));
        (0..KEPT).for_each(|_| times.add(Duration::from_micros(7)));
        assert_eq!(times.p50_p99(), (Duration::from_micros(7), Duration::from_micros(7)));
    }
}
