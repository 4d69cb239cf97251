//! The last samples of an agent, with their sums.

/// Up to so many samples; the oldest goes first.
#[derive(Debug, Default)]
pub(super) struct Window {
    samples: Vec<u32>,
    /// Place of the oldest, once it is full.
    oldest: usize,
    sum: u64,
    squares: u64,
}

impl Window {
    /// Adds a sample to a window of this size. The squares of a thousand samples of up to 134
    /// million fit; greater ones wrap, which spoils the deviation and nothing else.
    pub(super) fn push(&mut self, sample: u32, size: usize) {
        if self.samples.len() < size {
            self.samples.push(sample);
        } else {
            let old = std::mem::replace(&mut self.samples[self.oldest], sample);
            self.oldest = if self.oldest + 1 == size { 0 } else { self.oldest + 1 };
            self.sum -= u64::from(old);
            self.squares = self.squares.wrapping_sub(u64::from(old).pow(2));
        }
        self.sum += u64::from(sample);
        self.squares = self.squares.wrapping_add(u64::from(sample).pow(2));
    }

    pub(super) fn clear(&mut self) {
        self.samples.clear();
        (self.oldest, self.sum, self.squares) = (0, 0, 0);
    }

    /// Their mean; not a number when there are none.
    pub(super) fn mean(&self) -> f64 {
        self.sum as f64 / self.samples.len() as f64
    }

    /// Their standard deviation; not a number when there are none.
    pub(super) fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.squares as f64 / self.samples.len() as f64 - mean * mean).max(0.0).sqrt()
    }
}
