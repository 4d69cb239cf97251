//! Lets time pass in the machines: deadlines when they are due, the fleet's floor once a second.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pulsegate_core::cadence::Floor;
use pulsegate_core::{Census, Millis};
use pulsegate_wire::EventKind;
use pulsegate_wire::event::FloorMoved;
use tokio::time::Instant;

use super::Shards;
use super::heartbeat::with_bench;
use crate::telemetry::Gauge;

/// Longest sleep between two looks at the deadlines: one tick of the wheel. A heartbeat can bring
/// a deadline that is nearer than all before it, and the driver is not woken for it.
///
/// Source: DESIGN §2, Time: wheel tick 10 ms.
const TICK: Duration = Duration::from_millis(10);

/// Deadlines that one lock covers at most: a heartbeat waits for about 50 µs at worst.
///
/// Source: chosen; `core` handles a deadline in some 100 ns.
const BUDGET: usize = 256;

/// How often the floor follows the census. Source: DESIGN §5, step 7.
const FLOOR_EVERY: Duration = Duration::from_secs(1);

/// Drives all machines until it is dropped. `before_tick` runs before each look at the deadlines:
/// whoever knows that sockets are not being read holds the clock there.
pub async fn drive(shards: Arc<Shards>, mut before_tick: impl FnMut()) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut floor = shards.resumed_floor();
    let mut floor_at = Instant::now();
    loop {
        let now = ticks.tick().await;
        before_tick();
        shards.follow_journal();
        while shards.handle_deadlines() {
            // What else runs on this thread must not wait for a mass failure.
            tokio::task::yield_now().await;
        }
        if now >= floor_at {
            floor_at = now + FLOOR_EVERY;
            shards.clock.set_wall();
            shards.set_floor(&mut floor);
        }
    }
}

impl Shards {
    /// Handles what is due, at most [`BUDGET`] deadlines a shard; says whether more is.
    pub(super) fn handle_deadlines(&self) -> bool {
        let mut more = false;
        if self.durable.is_behind() {
            return false;
        }
        for index in 0..self.shards.len() {
            more |= with_bench(|bench| {
                let now = self.clock.now();
                let is_due = |next: Option<Millis>| next.is_some_and(|next| next <= now);
                let more = self.under_lock(index, &mut bench.effects, |shard, effects| {
                    is_due(shard.machine.next_deadline())
                        && shard.machine.handle_deadlines(now, BUDGET, effects)
                });
                self.deliver(index, bench);
                more
            });
        }
        more
    }

    /// The floor of the gateway before this one: its agents obey it still.
    fn resumed_floor(&self) -> Floor {
        let guard = self.config.load().core(1).cadence;
        Floor::resumed(self.clock.now(), self.floor_base_ms.load(Relaxed), &guard)
    }

    /// Computes the floor from the census of the whole fleet and tells every machine.
    fn set_floor(&self, floor: &mut Floor) {
        let config = self.config.load();
        let census: Census = self.census();
        let beating: Vec<u32> =
            config.classes.iter().map(|(class, _)| census.beating(class)).collect();
        let guard = config.core(1).cadence;
        let budget = config.cadence.budget_per_second;
        let now = self.clock.now();
        let reading = floor.update(now, &beating, &config.classes, budget, &guard);
        self.load.store(reading.load.to_bits(), Relaxed);
        if self.floor_base_ms.swap(reading.base_ms, Relaxed) != reading.base_ms {
            let base_ms = reading.base_ms;
            self.durable.note("", EventKind::FloorMoved(FloorMoved { base_ms }));
        }
        for shard in &self.shards {
            shard.lock().machine.set_floor(reading.base_ms, reading.load);
        }
        self.telemetry.set(Gauge::FleetLoad, reading.load);
        self.telemetry.set(Gauge::FloorBase, f64::from(reading.base_ms) / 1_000.0);
        self.telemetry.set(Gauge::PromiseConflict, f64::from(u8::from(reading.promise_conflict)));
    }
}
