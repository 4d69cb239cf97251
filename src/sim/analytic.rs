//! The quality of service that NFD-S has by theory, to check the simulator with: what it measures
//! for that detector must be what the theorem says.
//!
//! Source: Chen, Toueg, Aguilera, "On the Quality of Service of Failure Detectors", IEEE
//! Transactions on Computers 51(5), 2002, theorem 5. With η the interval, δ the shift of freshness
//! points, p_L the loss and D the delay:
//!
//! ```text
//! k      = ⌈δ/η⌉
//! p_j(x) = p_L + (1 − p_L)·P(D > δ + x − jη)     heartbeat i + j is not there x after τᵢ
//! u(x)   = Π p_j(x), j = 0 … k                   the agent is suspected x after τᵢ, 0 ≤ x < η
//! q_0    = (1 − p_L)·P(D < δ + η)                heartbeat i − 1 was there before τᵢ
//! p_s    = q_0·u(0)                              a mistake begins at τᵢ
//! E(T_MR) = η/p_s    E(T_M) = ∫u/p_s    P_A = 1 − ∫u/η    T_D ≤ δ + η
//! ```
//!
//! NFD-U, and NFD-E as its window grows, is NFD-S with δ = E(D) + α.

/// Relative error of integrals. Source: chosen; far below what a simulation resolves.
const TOLERANCE: f64 = 1e-10;

/// Halvings of a panel at most. Source: chosen; 2⁻⁴⁰ of an interval is below a microsecond.
const DEPTH: u32 = 40;

/// Panels that each smooth piece begins with, so that none hides between three points.
/// Source: chosen; delays of a thousandth of the interval are still seen.
const PANELS: u32 = 256;

/// A detector whose freshness points lie δ after the sending of each heartbeat, and its link. Times
/// are in seconds.
#[derive(Clone, Copy, Debug)]
pub struct NfdS<D> {
    /// Distance of two heartbeats (η).
    pub interval: f64,
    /// From sending a heartbeat to its freshness point (δ).
    pub shift: f64,
    /// Share of the heartbeats that is lost (p_L).
    pub loss: f64,
    /// P(D > x) for x ≥ 0: how probable a longer delay is, of a heartbeat that is not lost.
    pub longer: D,
}

/// How well a detector does, in the paper's primary terms. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// E(T_MR): from the beginning of one mistake to that of the next.
    pub recurrence: f64,
    /// E(T_M): from the beginning of a mistake to its end.
    pub duration: f64,
    /// P_A: share of the time in which a living agent is trusted.
    pub accuracy: f64,
    /// The longest detection of a crash.
    pub detection: f64,
}

/// Link with exponential delays that detects within `detection`, which is not less than the
/// interval. Times are in seconds.
#[must_use]
pub fn exponential(interval: f64, detection: f64, loss: f64, mean_delay: f64) -> Expected {
    let longer = |delay: f64| (-delay / mean_delay).exp();
    NfdS { interval, shift: detection - interval, loss, longer }.expected()
}

impl<D: Fn(f64) -> f64> NfdS<D> {
    /// What the theorem says.
    pub fn expected(&self) -> Expected {
        let received_before = (1.0 - self.loss) * (1.0 - self.later(self.shift + self.interval));
        let begins = received_before * self.suspected(0.0);
        let suspected = self.suspected_time();
        Expected {
            recurrence: self.interval / begins,
            duration: suspected / begins,
            accuracy: 1.0 - suspected / self.interval,
            detection: self.shift + self.interval,
        }
    }

    /// Number of later heartbeats that may undo a freshness point before the next (k).
    fn later_heartbeats(&self) -> u32 {
        (self.shift / self.interval).ceil() as u32
    }

    /// P(D > x), also for instants before the sending.
    fn later(&self, delay: f64) -> f64 {
        if delay < 0.0 { 1.0 } else { (self.longer)(delay) }
    }

    /// u(x).
    fn suspected(&self, x: f64) -> f64 {
        let missing = |j: u32| {
            let delay = f64::from(j).mul_add(-self.interval, self.shift + x);
            (1.0 - self.loss).mul_add(self.later(delay), self.loss)
        };
        (0..=self.later_heartbeats()).map(missing).product()
    }

    /// ∫u(x)dx over one interval, in two smooth pieces: at kη − δ the k-th heartbeat is sent.
    fn suspected_time(&self) -> f64 {
        let sent = f64::from(self.later_heartbeats()).mul_add(self.interval, -self.shift);
        let kink = sent.clamp(0.0, self.interval);
        // Just before its sending the k-th heartbeat is surely missing.
        let before = |x: f64| self.suspected(x.min(kink.next_down()));
        let after = |x: f64| self.suspected(x.max(kink));
        integral(&before, 0.0, kink) + integral(&after, kink, self.interval)
    }
}

/// Adaptive Simpson. Source: Kuncir 1962, Lyness 1969.
fn integral(function: &impl Fn(f64) -> f64, from: f64, to: f64) -> f64 {
    let width = (to - from) / f64::from(PANELS);
    if width <= 0.0 {
        return 0.0;
    }
    let at = |panel: u32| f64::from(panel).mul_add(width, from);
    let coarse: Vec<_> =
        (0..PANELS).map(|each| Panel::of(function, at(each), at(each + 1))).collect();
    let total: f64 = coarse.iter().map(|panel| panel.area).sum();
    let error = total.abs() * TOLERANCE / f64::from(PANELS);
    coarse.iter().map(|panel| panel.refined(function, error, DEPTH)).sum()
}

/// One stretch of an integral, by Simpson's rule.
struct Panel {
    from: f64,
    to: f64,
    area: f64,
}

impl Panel {
    fn of(function: &impl Fn(f64) -> f64, from: f64, to: f64) -> Self {
        let middle = f64::midpoint(from, to);
        let heights = 4.0_f64.mul_add(function(middle), function(from) + function(to));
        Self { from, to, area: (to - from) / 6.0 * heights }
    }

    fn refined(&self, function: &impl Fn(f64) -> f64, error: f64, depth: u32) -> f64 {
        let middle = f64::midpoint(self.from, self.to);
        let left = Self::of(function, self.from, middle);
        let right = Self::of(function, middle, self.to);
        let difference = left.area + right.area - self.area;
        if depth == 0 || difference.abs() <= 15.0 * error {
            return left.area + right.area + difference / 15.0;
        }
        let refine = |panel: Self| panel.refined(function, error / 2.0, depth - 1);
        refine(left) + refine(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-8 * right.abs()
    }

    /// δ = 0.5, k = 1. For x < 0.5 u = 0.01 + 0.99·e^(−25 − 50x), then times 0.01 +
    /// 0.99·e^(−50(x − 0.5)).
    #[test]
    fn a_bound_of_one_and_a_half_intervals_is_as_computed_by_hand() {
        let expected = exponential(1.0, 1.5, 0.01, 0.02);
        let first = 0.99 * (-25.0_f64).exp();
        let before = 0.005 + first * (1.0 - (-25.0_f64).exp()) / 50.0;
        let after = 0.01 * (0.005 + 0.99 * (1.0 - (-25.0_f64).exp()) / 50.0);
        let begins = 0.99 * (0.01 + first);
        assert!(close(expected.recurrence, 1.0 / begins));
        assert!(close(expected.duration, (before + after) / begins));
        assert!((expected.recurrence - 101.0101).abs() < 1e-4);
        assert!((expected.duration - 0.530_101).abs() < 1e-6);
        assert!((expected.accuracy - 0.994_752).abs() < 1e-9);
        assert_eq!(expected.detection, 1.5);
    }

    /// δ = 1.25, k = 2: u(0) = 0.01·(0.01 + 0.99·e^(−12.5)).
    #[test]
    fn a_bound_of_two_and_a_quarter_intervals_is_as_computed_by_hand() {
        let expected = exponential(1.0, 2.25, 0.01, 0.02);
        let tail = 0.99 * (-12.5_f64).exp();
        let begins = 0.99 * 0.01 * (0.01 + tail);
        let before = 0.01 * (0.0075 + tail / 50.0);
        let after = 1e-4 * (0.0025 + 0.99 * (1.0 - (-12.5_f64).exp()) / 50.0);
        assert!(close(expected.recurrence, 1.0 / begins));
        assert!(close(expected.duration, (before + after) / begins));
        assert!((expected.recurrence - 10_097.3).abs() < 0.1);
        assert!((expected.accuracy - (1.0 - 7.723_07e-5)).abs() < 1e-10);
    }

    /// With δ a multiple of η the k-th heartbeat is sent at the freshness point itself.
    #[test]
    fn a_freshness_point_at_a_sending_counts_that_heartbeat() {
        let expected = exponential(1.0, 2.0, 0.01, 0.02);
        assert!(close(expected.recurrence, 1.0 / (0.99 * 0.01)));
        let tail = 0.99 * (1.0 - (-50.0_f64).exp()) / 50.0;
        assert!(close(1.0 - expected.accuracy, 0.01 * (0.01 + tail)));
    }

    /// Delays that are all the same: a mistake for each lost heartbeat after one that came, until
    /// the next that comes.
    #[test]
    fn constant_delays_make_a_mistake_of_each_run_of_losses() {
        let longer = |delay: f64| f64::from(delay < 0.1);
        let expected = NfdS { interval: 1.0, shift: 0.4, loss: 0.25, longer }.expected();
        assert!(close(expected.recurrence, 1.0 / (0.75 * 0.25)));
        // 0.7 s of each interval are before the next arrival, 0.3 s after it.
        assert!((1.0 - expected.accuracy - (0.25 * 0.7 + 0.0625 * 0.3)).abs() < 1e-7);
    }

    #[test]
    fn without_a_shift_each_heartbeat_is_late() {
        let expected = exponential(1.0, 1.0, 0.0, 0.02);
        assert!(close(expected.recurrence, 1.0));
        assert!(close(expected.duration, 0.02));
    }

    #[test]
    fn narrow_delays_are_integrated_as_well_as_wide_ones() {
        for mean in [1e-6, 1e-3, 1.0, 50.0] {
            let expected = exponential(1.0, 1.0, 0.0, mean);
            let late = mean * -(-1.0 / mean).exp_m1();
            assert!(close(1.0 - expected.accuracy, late), "mean {mean}");
        }
    }
}
