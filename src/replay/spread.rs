//! How numbers are spread, in room that does not grow with how many there are.

use serde::Serialize;

/// A span of a spread and how many lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// From here, inclusive; absent for the lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Up to here, exclusive; absent for the highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// How many.
    pub count: u64,
}

/// Shares of what was counted that are not above a value; 0 where nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many were counted.
    pub count: u64,
    /// Their mean, exact.
    pub mean: f64,
    /// One in ten is not above this.
    pub p10: f64,
    /// Half.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// Ninety-nine in a hundred.
    pub p99: f64,
    /// The least, exact.
    pub min: f64,
    /// The greatest, exact.
    pub max: f64,
}

/// Counts of equally wide spans around zero.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    width: f64,
    /// Spans below zero, and as many above.
    half: i64,
    counts: Vec<u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Spans of `width`, from `-reach` to `reach`; what lies beyond is counted in the outermost.
    pub(crate) fn new(width: f64, reach: f64) -> Self {
        let half = (reach / width).ceil() as i64;
        let counts = vec![0; 2 * half as usize + 1];
        Self { width, half, counts, count: 0, sum: 0.0, min: f64::MAX, max: f64::MIN }
    }

    pub(crate) fn add(&mut self, value: f64) {
        let place = ((value / self.width).round() as i64).clamp(-self.half, self.half);
        self.counts[(place + self.half) as usize] += 1;
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// By nearest rank, to within half a span, and never beyond what was counted.
    pub(crate) fn quantiles(&self) -> Quantiles {
        if self.count == 0 {
            return Quantiles::default();
        }
        let at = |share: f64| {
            let rank = ((self.count as f64 * share).ceil() as u64).max(1);
            let mut below = 0;
            let place = self.counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            let place = place.map_or(self.half, |place| place as i64 - self.half);
            (place as f64 * self.width).clamp(self.min, self.max)
        };
        Quantiles {
            count: self.count,
            mean: self.sum / self.count as f64,
            p10: at(0.1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            min: self.min,
            max: self.max,
        }
    }

    /// At most `most` equally wide bins over what was counted, for a plot.
    pub(crate) fn bins(&self, most: usize) -> Vec<Bin> {
        let used = |count: &&u64| **count > 0;
        let Some(first) = self.counts.iter().position(|count| *count > 0) else {
            return Vec::new();
        };
        let last =
            self.counts.len() - 1 - self.counts.iter().rev().take_while(|c| **c == 0).count();
        debug_assert!(self.counts.iter().any(|count| used(&count)));
        let step = (last - first + 1).div_ceil(most.max(1));
        let edge = |place: usize| (place as i64 - self.half) as f64 * self.width - self.width / 2.0;
        let starts = (first..=last).step_by(step);
        starts
            .map(|from| Bin {
                from: Some(edge(from)),
                to: Some(edge(from + step)),
                count: self.counts[from..(from + step).min(last + 1)].iter().sum(),
            })
            .collect()
    }
}

/// Edges of the ratios that are told apart: the guard's own steps among them.
const RATIOS: [f64; 10] = [0.125, 0.25, 0.5, 2.0 / 3.0, 5.0 / 6.0, 1.2, 1.5, 2.0, 4.0, 8.0];

/// Counts of ratios; exactly one is counted apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ratios {
    counts: [u64; RATIOS.len() + 1],
    pub(crate) equal: u64,
    pub(crate) below: u64,
    pub(crate) above: u64,
}

impl Ratios {
    pub(crate) fn add(&mut self, numerator: u32, denominator: u32) {
        if numerator == denominator {
            self.equal += 1;
            return;
        }
        let ratio = f64::from(numerator) / f64::from(denominator.max(1));
        let count = if ratio < 1.0 { &mut self.below } else { &mut self.above };
        *count += 1;
        self.counts[RATIOS.iter().filter(|edge| ratio >= **edge).count()] += 1;
    }

    pub(crate) fn bins(&self) -> Vec<Bin> {
        let edge = |place: usize| RATIOS.get(place).copied();
        let numbered = self.counts.iter().enumerate();
        numbered
            .map(|(place, &count)| Bin {
                from: place.checked_sub(1).and_then(edge),
                to: edge(place),
                count,
            })
            .collect()
    }
}

/// Spans of a timeline: their width doubles when they do not reach any more.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) start_ms: u64,
    pub(crate) step_ms: u64,
    pub(crate) recorded: Vec<f64>,
    pub(crate) estimated: Vec<f64>,
}

/// Most spans of a timeline. Source: chosen; as many points as a plot has room for.
const SPANS: usize = 240;
/// Width of a span at first, in milliseconds. Source: chosen; a beat of a default agent fits.
const FIRST_STEP_MS: u64 = 60_000;

impl Timeline {
    pub(crate) fn new(start_ms: u64) -> Self {
        Self { start_ms, step_ms: FIRST_STEP_MS, recorded: Vec::new(), estimated: Vec::new() }
    }

    pub(crate) fn record(&mut self, at_ms: u64) {
        let place = self.place(at_ms);
        self.recorded[place] += 1.0;
    }

    pub(crate) fn estimate(&mut self, at_ms: u64) {
        let place = self.place(at_ms);
        self.estimated[place] += 1.0;
    }

    #[inline]
    fn place(&mut self, at_ms: u64) -> usize {
        let place = (at_ms.saturating_sub(self.start_ms) / self.step_ms) as usize;
        if place < self.recorded.len() { place } else { self.grow(at_ms) }
    }

    #[cold]
    fn grow(&mut self, at_ms: u64) -> usize {
        loop {
            let place = (at_ms.saturating_sub(self.start_ms) / self.step_ms) as usize;
            if place < SPANS {
                let length = self.recorded.len().max(place + 1);
                self.recorded.resize(length, 0.0);
                self.estimated.resize(length, 0.0);
                return place;
            }
            self.step_ms *= 2;
            for spans in [&mut self.recorded, &mut self.estimated] {
                *spans = spans.chunks(2).map(|pair| pair.iter().sum()).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_nearest_rank_and_never_beyond_what_was_counted() {
        let mut spread = Spread::new(1.0, 100.0);
        assert_eq!(spread.quantiles(), Quantiles::default());
        (1..=100).for_each(|value| spread.add(f64::from(value)));
        spread.add(-1e9);
        let found = spread.quantiles();
        assert_eq!((found.count, found.p50, found.p90, found.p99), (101, 50.0, 90.0, 99.0));
        assert_eq!((found.min, found.max), (-1e9, 100.0));
    }

    #[test]
    fn bins_hold_everything_that_was_counted() {
        let mut spread = Spread::new(0.1, 600.0);
        (0..1_000).for_each(|value| spread.add(f64::from(value % 371) / 7.0 - 20.0));
        let bins = spread.bins(40);
        assert!(bins.len() <= 40);
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 1_000);
        assert!(bins.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert!(Spread::new(1.0, 5.0).bins(10).is_empty());
    }

    #[test]
    fn a_ratio_lies_in_its_bin_and_the_same_interval_in_none() {
        let mut ratios = Ratios::default();
        for (candidate, enforced) in [(30, 30), (5, 45), (45, 30), (60, 30), (61, 0), (29, 30)] {
            ratios.add(candidate, enforced);
        }
        assert_eq!((ratios.equal, ratios.below, ratios.above), (1, 2, 3));
        let at =
            |from: Option<f64>| ratios.bins().iter().find(|bin| bin.from == from).unwrap().count;
        assert_eq!([at(None), at(Some(5.0 / 6.0)), at(Some(1.5)), at(Some(2.0))], [1, 1, 1, 1]);
        assert_eq!(at(Some(8.0)), 1);
    }

    #[test]
    fn a_timeline_grows_coarser_and_loses_nothing() {
        let mut line = Timeline::new(1_000);
        (0..100_000_u64).for_each(|minute| line.record(1_000 + minute * 60_000));
        line.estimate(0);
        assert!(line.recorded.len() <= SPANS && line.recorded.len() > SPANS / 3);
        assert_eq!(line.recorded.iter().sum::<f64>(), 100_000.0);
        assert_eq!(line.estimated[0], 1.0);
    }
}
