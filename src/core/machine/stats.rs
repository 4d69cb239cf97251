//! Statistics of one agent, in fixed windows of time: the cadence decides how often an agent is
//! heard, so an average weighted by arrivals would measure the cadence.

use crate::time::Tick;
use crate::{Beat, Config, Millis, Signals};

/// Compact on purpose: each number is as wide as its use, and saturates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stats {
    watermark: u64,
    /// When the watermark rose last.
    raised_at: Tick,
    /// Since when the agent has had nothing to do.
    idle_since: Tick,
    /// When the current window began.
    window_at: Tick,
    /// Cumulative errors reported last.
    errors_seen: u32,
    /// Errors in the current window, and in the full one before.
    errors: [u16; 2],
    /// Queue when the current window began.
    queue_then: u32,
    /// Pieces of work per second, over the last full window.
    queue_trend: f32,
    known: u8,
    /// Heartbeats judged unhealthy or stalled in a row, since the last silence or good one.
    pub(super) bad: u8,
    /// Heartbeats judged better than that in a row, since the last silence or bad one.
    pub(super) good: u8,
}

const PROGRESS: u8 = 1;
const IDLE: u8 = 2;
const ERRORS: u8 = 4;
const QUEUE: u8 = 8;
const WINDOW: u8 = 16;

/// What the statistics add to an observation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) signals: Signals,
    pub(super) errors: u32,
    pub(super) queue_trend: f64,
    pub(super) progress_age_ms: u64,
}

impl Stats {
    /// Takes a heartbeat in.
    pub(super) fn observe(&mut self, now: Millis, beat: &Beat, config: &Config) -> Reading {
        self.turn_window(now, beat, config);
        self.count_errors(beat);
        let signals = Signals::default()
            .with_if(self.is_idle(now, beat, config), Signals::IDLE)
            .with_if(beat.watermark.is_some(), Signals::HAS_PROGRESS);
        let progress_age_ms = self.progress_age(now, beat);
        let overdue = beat.stall_after_ms.is_some_and(|stall_ms| progress_age_ms >= stall_ms);
        Reading {
            signals: signals
                .with_if(beat.watermark.is_some() && overdue, Signals::PROGRESS_OVERDUE),
            errors: u32::from(self.errors[0]) + u32::from(self.errors[1]),
            queue_trend: f64::from(self.queue_trend),
            progress_age_ms,
        }
    }

    fn turn_window(&mut self, now: Millis, beat: &Beat, config: &Config) {
        let age_ms = self.window_at.age_ms(now);
        let window_ms = u64::from(config.window_ms);
        if self.known & WINDOW != 0 && age_ms < window_ms {
            return;
        }
        let begun = self.known & WINDOW != 0;
        self.errors = [0, if begun && age_ms < 2 * window_ms { self.errors[0] } else { 0 }];
        let queue = beat.queue_depth.map(|queue| u32::try_from(queue).unwrap_or(u32::MAX));
        self.queue_trend = match queue {
            Some(queue) if begun && self.known & QUEUE != 0 && age_ms > 0 => {
                let change = f64::from(queue) - f64::from(self.queue_then);
                (change * 1_000.0 / age_ms as f64) as f32
            }
            _ => 0.0,
        };
        self.queue_then = queue.unwrap_or(0);
        self.window_at = Tick::at(now);
        self.remember(QUEUE, queue.is_some());
        self.remember(WINDOW, true);
    }

    /// The first count of an incarnation is where counting begins: whatever lies before it was
    /// not seen, and must not look like a burst.
    fn count_errors(&mut self, beat: &Beat) {
        let Some(count) = beat.error_count else { return };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.known & ERRORS != 0 {
            let more = u16::try_from(count.saturating_sub(self.errors_seen)).unwrap_or(u16::MAX);
            self.errors[0] = self.errors[0].saturating_add(more);
        }
        self.errors_seen = count;
        self.remember(ERRORS, true);
    }

    /// Idle is who says that there is nothing to do; who says nothing may be busy.
    fn is_idle(&mut self, now: Millis, beat: &Beat, config: &Config) -> bool {
        let says = beat.queue_depth.is_some() || beat.active_tasks.is_some();
        let has_work = beat.queue_depth.unwrap_or(0) > 0 || beat.active_tasks.unwrap_or(0) > 0;
        if !says || has_work {
            self.remember(IDLE, false);
            return false;
        }
        if self.known & IDLE == 0 {
            self.idle_since = Tick::at(now);
            self.remember(IDLE, true);
        }
        self.idle_since = self.idle_since.held_near(now);
        self.idle_since.age_ms(now) >= u64::from(config.idle_after_ms)
    }

    fn progress_age(&mut self, now: Millis, beat: &Beat) -> u64 {
        let Some(watermark) = beat.watermark else { return 0 };
        if self.known & PROGRESS == 0 || watermark > self.watermark {
            self.watermark = watermark;
            self.raised_at = Tick::at(now);
            self.remember(PROGRESS, true);
        }
        self.raised_at = self.raised_at.held_near(now);
        self.raised_at.age_ms(now)
    }

    fn remember(&mut self, fact: u8, holds: bool) {
        if holds {
            self.known |= fact;
        } else {
            self.known &= !fact;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: fn() -> Config = Config::default;

    fn beat(errors: u64, queue: u64) -> Beat {
        Beat { error_count: Some(errors), queue_depth: Some(queue), ..Beat::default() }
    }

    #[test]
    fn errors_are_those_of_the_current_and_the_last_full_minute() {
        let (mut stats, config) = (Stats::default(), CONFIG());
        let mut errors = |second: u64, count| {
            stats.observe(Millis(second * 1_000), &beat(count, 1), &config).errors
        };
        assert_eq!(errors(0, 100), 0, "the first count is where counting begins");
        assert_eq!(errors(30, 107), 7);
        assert_eq!(errors(61, 108), 8, "seven in the last minute, one in this");
        assert_eq!(errors(122, 108), 1);
        assert_eq!(errors(183, 108), 0);
        assert_eq!(errors(184, 90), 0, "a count that falls counts nothing");
        assert_eq!(errors(185, 95), 5);
    }

    #[test]
    fn trend_is_the_change_over_a_window_and_never_infinite() {
        let (mut stats, config) = (Stats::default(), CONFIG());
        let mut trend = |second: u64, queue| {
            stats.observe(Millis(second * 1_000), &beat(0, queue), &config).queue_trend
        };
        assert_eq!(trend(0, 100), 0.0);
        assert_eq!(trend(30, 900), 0.0, "no full window yet");
        assert!((trend(64, 740) - 10.0).abs() < 0.1);
        assert!(trend(200, u64::MAX).is_finite());
        assert!(trend(400, 0) < 0.0);
    }

    #[test]
    fn idle_is_who_says_for_five_minutes_that_there_is_nothing_to_do() {
        let (mut stats, config) = (Stats::default(), CONFIG());
        let mut idle = |second: u64, beat: &Beat| {
            stats.observe(Millis(second * 1_000), beat, &config).signals.has(Signals::IDLE)
        };
        assert!(!idle(0, &beat(0, 0)));
        assert!(!idle(299, &beat(0, 0)));
        assert!(idle(301, &beat(0, 0)));
        assert!(!idle(302, &beat(0, 1)));
        assert!(!idle(303, &beat(0, 0)));
        assert!(!idle(700, &Beat::default()), "an agent that says nothing is not idle");
        assert!(!idle(701, &beat(0, 0)));
    }

    #[test]
    fn progress_has_a_clock_of_its_own() {
        let (mut stats, config) = (Stats::default(), CONFIG());
        let mut overdue = |second: u64, watermark| {
            let beat = Beat {
                watermark: Some(watermark),
                stall_after_ms: Some(10_000),
                ..Beat::default()
            };
            let reading = stats.observe(Millis(second * 1_000), &beat, &config);
            reading.signals.has(Signals::PROGRESS_OVERDUE)
        };
        assert!(!overdue(0, 5));
        assert!(!overdue(9, 5));
        assert!(overdue(11, 5));
        assert!(overdue(12, 4), "a watermark that falls is no progress");
        assert!(!overdue(13, 6));
    }
}
