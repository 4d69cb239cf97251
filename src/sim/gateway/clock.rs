//! Core time of a simulated gateway: it passes while the process runs, and stands still while it
//! does not.

use pulsegate_core::Millis;

use crate::server::{MS, Micros, SECOND};

/// A stall longer than this is taken out of core time. Source: DESIGN §2, Time.
const STALL: Micros = SECOND;

/// The clock of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Core time at the start of the process.
    base_ms: u64,
    /// True time of that, and of all stalls since, so that the difference to now is core time.
    since: Micros,
}

impl Clock {
    pub(super) const fn start(now: Micros, base_ms: u64) -> Self {
        Self { base_ms, since: now }
    }

    pub(super) const fn stalled(&mut self, lasted: Micros) {
        if lasted > STALL {
            self.since += lasted;
        }
    }

    #[inline]
    pub(super) const fn core(&self, now: Micros) -> Millis {
        Millis(self.base_ms + now.saturating_sub(self.since) / MS)
    }

    /// The first instant at which core time has come to this.
    #[inline]
    pub(super) const fn true_time(&self, at: Millis) -> Micros {
        self.since + at.0.saturating_sub(self.base_ms) * MS
    }
}
