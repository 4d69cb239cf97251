//! Core time: milliseconds since the journal was created.

/// An instant in core time, in milliseconds. It advances with the monotonic clock while the
/// gateway can observe, and stands still while it cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This instant and `ms` milliseconds more; stops at the end of time.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since an earlier instant; 0 when that one is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// An instant in four bytes: 16 ms ticks of core time that wrap around after 2.18 years. Records
/// of a million agents keep seven instants each; whole seconds would be too coarse for steps of
/// 0.8 s, and sixteen milliseconds are the finest that lets a span of a year be told from its
/// inverse. Whoever keeps one holds it near: see [`Tick::held_near`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tick(u32);

impl Tick {
    const SHIFT: u32 = 4;
    /// A quarter of the circle, 0.54 years: as far as an instant may lie away.
    const FAR: i32 = 1 << 30;

    /// The tick that holds this instant.
    pub(crate) const fn at(now: Millis) -> Self {
        Self((now.0 >> Self::SHIFT) as u32)
    }

    /// The first tick that is at least `ms` milliseconds later than `now`.
    pub(crate) const fn after(now: Millis, ms: u32) -> Self {
        Self((now.plus(ms as u64 + (1 << Self::SHIFT) - 1).0 >> Self::SHIFT) as u32)
    }

    /// This instant in full, as it lies nearest to `now`.
    pub(crate) const fn near(self, now: Millis) -> Millis {
        let ahead = self.0.wrapping_sub(Self::at(now).0) as i32;
        Millis((now.0 >> Self::SHIFT).saturating_add_signed(ahead as i64) << Self::SHIFT)
    }

    /// Milliseconds from this instant to `now`, to within a tick; 0 when it lies ahead.
    pub(crate) const fn age_ms(self, now: Millis) -> u64 {
        let age = Self::at(now).0.wrapping_sub(self.0) as i32;
        if age <= 0 { 0 } else { (age as u64) << Self::SHIFT }
    }

    /// Whether this instant has come.
    pub(crate) const fn has_come(self, now: Millis) -> bool {
        Self::at(now).0.wrapping_sub(self.0) as i32 >= 0
    }

    /// This instant, or `now` when it has come: what an instant to wait for must be renewed to at
    /// every use, so that it never appears to lie ahead again.
    pub(crate) const fn or_now(self, now: Millis) -> Self {
        if self.has_come(now) { Self::at(now) } else { self }
    }

    /// This instant, moved up to half a year before `now` when it lies farther back.
    pub(crate) const fn held_near(self, now: Millis) -> Self {
        let now = Self::at(now).0;
        if now.wrapping_sub(self.0) as i32 > Self::FAR {
            Self(now.wrapping_sub(Self::FAR as u32))
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_to_wait_for_never_comes_early() {
        for now in 0..64 {
            for wait in 0..64 {
                let tick = Tick::after(Millis(now), wait);
                let early = (0..u64::from(wait)).map(|ms| Millis(now + ms));
                assert!(early.into_iter().all(|instant| !tick.has_come(instant)));
                assert!(tick.has_come(Millis(now + u64::from(wait) + 15)));
            }
        }
    }

    #[test]
    fn ticks_survive_the_wrap() {
        let wrap = (1u64 << 36) - 8;
        let tick = Tick::after(Millis(wrap), 1_000);
        assert!(!tick.has_come(Millis(wrap + 900)));
        assert!(tick.has_come(Millis(wrap + 1_016)));
        assert_eq!(Tick::at(Millis(wrap)).age_ms(Millis(wrap + 160)), 160);
    }

    #[test]
    fn a_tick_near_now_is_the_instant_that_it_was_made_of() {
        for now in [0, 1 << 20, (1 << 36) - 8, 1 << 40] {
            for ahead in [0, 16, 20 * 60_000] {
                let instant = Millis((now + ahead) & !15);
                assert_eq!(Tick::at(instant).near(Millis(now)), instant);
            }
        }
    }

    #[test]
    fn an_age_that_is_held_near_only_grows() {
        let (mut tick, mut age) = (Tick::at(Millis(0)), 0);
        for day in 0..2_000 {
            let now = Millis(day * 86_400_000);
            tick = tick.held_near(now);
            assert!(tick.age_ms(now) >= age, "day {day}");
            age = tick.age_ms(now);
        }
    }
}
