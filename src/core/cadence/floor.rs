//! The fleet's floor: intervals that keep everybody together within the gateway's budget.
//!
//! Fed forward from how many agents there are, and never from measured load: the answer to a
//! measurement arrives an interval later, and a controller with that much delay oscillates.

use super::Config;
use crate::{Class, Classes, Millis};

/// Share of the budget that is planned for; the rest is for retries and early heartbeats.
/// Source: chosen.
const PLANNED_SHARE: f64 = 0.8;

/// Distance of two steps of the ladder: a floor moves when the fleet grows by a quarter, not with
/// every agent. Source: chosen.
const LADDER: f64 = 1.25;

/// The fleet's floor, one for all machines of a gateway: it rises at once and falls after a
/// dwell, and not more than once in a turn period after it rose.
#[derive(Clone, Debug, Default)]
pub struct Floor {
    base_ms: u32,
    dwell_until: Millis,
    turn_at: Millis,
    rose_last: bool,
}

/// What the floor is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FloorReading {
    /// Floor of a class of weight 1, in milliseconds; 0 for none. For `Machine::set_floor`.
    pub base_ms: u32,
    /// Heartbeats that the fleet is expected to send, as a share of the budget: 0 to 1.
    pub load: f64,
    /// Some class would need a floor above its cap: the promise and the budget disagree, and what
    /// does not fit will be shed.
    pub promise_conflict: bool,
}

impl Floor {
    /// The floor that was recorded last, at a restart: it stays for a dwell, and may fall after the
    /// turning budget, as if it had just risen. Falling late is safe, and agents that wait for
    /// their first heartbeat are counted all the while.
    #[must_use]
    pub fn resumed(now: Millis, base_ms: u32, config: &Config) -> Self {
        Self {
            base_ms,
            dwell_until: now.plus(config.dwell_ms.into()),
            turn_at: now.plus(config.turn_period_ms.into()),
            rose_last: true,
        }
    }

    /// Takes how many agents of each class (by [`ClassId`](crate::ClassId)) are expected to beat:
    /// [`Census::beating`](crate::Census::beating) summed over all machines; about once a second.
    pub fn update(
        &mut self,
        now: Millis,
        beating: &[u32],
        classes: &Classes,
        budget_per_second: f64,
        config: &Config,
    ) -> FloorReading {
        let fleet = || classes.iter().map(|(id, class)| (class, agents(beating, id.0)));
        let exempt: f64 = fleet().filter(|(class, _)| class.floor_weight == 0).map(rate).sum();
        let planned = PLANNED_SHARE * budget_per_second;
        let room = (planned - exempt).max(0.0);
        let demand: f64 = fleet().filter(|(class, _)| class.floor_weight > 0).map(weighted).sum();
        let needed_ms = if demand > 0.0 { demand / room * 1_000.0 } else { 0.0 };
        self.follow(now, on_ladder(needed_ms, config), config);

        let is_broken = |(class, agents): (&Class, f64)| {
            agents > 0.0
                && f64::from(class.floor_weight) * needed_ms
                    > f64::from(config.cap_ms(class.cap_ms(), None))
        };
        let expected: f64 = fleet()
            .map(|(class, agents)| {
                let floor_ms = class_floor_ms(self.base_ms, class.floor_weight);
                let interval_ms = class.interval_ms.max(floor_ms);
                per_second(agents, interval_ms.min(config.cap_ms(class.cap_ms(), None)))
            })
            .sum();
        let load = if budget_per_second > 0.0 { expected / budget_per_second } else { 1.0 };
        FloorReading {
            base_ms: self.base_ms,
            load: load.clamp(0.0, 1.0),
            promise_conflict: fleet().any(is_broken) || exempt > planned,
        }
    }

    fn follow(&mut self, now: Millis, wanted_ms: u32, config: &Config) {
        if wanted_ms > self.base_ms {
            self.base_ms = wanted_ms;
            self.dwell_until = now.plus(config.dwell_ms.into());
            self.rose_last = true;
        } else if wanted_ms < self.base_ms
            && now >= self.dwell_until
            && (!self.rose_last || now >= self.turn_at)
        {
            if self.rose_last {
                self.turn_at = now.plus(config.turn_period_ms.into());
            }
            self.base_ms = wanted_ms;
            self.rose_last = false;
        }
    }
}

/// The floor of a class of this weight, in milliseconds, before its cap; 0 for none.
#[must_use]
pub const fn class_floor_ms(base_ms: u32, weight: u32) -> u32 {
    base_ms.saturating_mul(weight)
}

fn agents(beating: &[u32], class: u8) -> f64 {
    f64::from(beating.get(usize::from(class)).copied().unwrap_or(0))
}

fn per_second(agents: f64, interval_ms: u32) -> f64 {
    agents * 1_000.0 / f64::from(interval_ms.max(1))
}

fn rate((class, agents): (&Class, f64)) -> f64 {
    per_second(agents, class.interval_ms)
}

fn weighted((class, agents): (&Class, f64)) -> f64 {
    agents / f64::from(class.floor_weight)
}

/// The lowest step of the ladder, from the shortest interval on, that is not below what is needed;
/// 0 when the shortest interval suffices. At most the longest interval: no cap is above it.
fn on_ladder(needed_ms: f64, config: &Config) -> u32 {
    if needed_ms <= f64::from(config.min_ms) {
        return 0;
    }
    let highest = f64::from(config.max_ms);
    let mut step = f64::from(config.min_ms.max(1));
    while step < needed_ms && step < highest {
        step *= LADDER;
    }
    // Rounded up: a step short by a fraction would exceed the budget by as much.
    (step as u32).saturating_add(1).min(config.max_ms)
}
