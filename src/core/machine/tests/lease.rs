//! What leases do to the cadence of their holder.

use pulsegate_wire::Health;

use super::*;
use crate::Signals;

fn told(world: &mut World) -> Decision {
    world.live("a", Health::Healthy)
}

#[test]
fn a_holder_beats_three_times_a_ttl_from_its_next_heartbeat_on() {
    let mut world = World::new();
    assert!(!told(&mut world).holds_leases);
    let slot = world.known("a");
    assert!(world.machine.set_smallest_lease(slot, Some(30_000)), "10 s is shorter than 30 s");
    assert_eq!(world.info(slot).in_force_ms, 30_000, "nothing was told yet");
    world.advance(5_000);
    let decision = told(&mut world);
    assert!(decision.holds_leases);
    assert_eq!(decision.trace.cap_ms, 10_000);
    assert_eq!(decision.trace.effective_ms, 10_000);
    assert!(decision.next_interval_ms <= 10_000);
    assert!(!world.machine.set_smallest_lease(slot, Some(30_000)), "it beats often enough");
    assert!(world.machine.set_smallest_lease(slot, Some(9_000)));
}

#[test]
fn policies_see_that_an_agent_holds_a_lease() {
    let mut world = World::new();
    told(&mut world);
    let slot = world.known("a");
    for ttl_ms in [Some(60_000), None] {
        world.machine.set_smallest_lease(slot, ttl_ms);
        world.advance(1_000);
        let Ok(Handled::Observe(ticket)) = world.handle("a", &Beat::default()) else {
            panic!("the heartbeat is in order");
        };
        assert_eq!(ticket.observation.signals.has(Signals::HOLDS_LEASE), ttl_ms.is_some());
    }
}

#[test]
fn a_cadence_relaxes_by_the_rules_of_the_guard_once_the_lease_is_gone() {
    let mut world = World::new();
    told(&mut world);
    let slot = world.known("a");
    world.machine.set_smallest_lease(slot, Some(30_000));
    world.advance(1_000);
    assert_eq!(told(&mut world).trace.stored_ms, 10_000);
    assert!(!world.machine.set_smallest_lease(slot, None));
    world.advance(10_000);
    let decision = told(&mut world);
    assert!(!decision.holds_leases);
    assert_eq!(decision.trace.stored_ms, 10_000, "the dwell after a tightening");
    let mut before = 10_000;
    for _ in 0..40 {
        world.advance(before.into());
        let stored = told(&mut world).trace.stored_ms;
        assert!(stored <= before + before / 2, "{stored} after {before}");
        before = stored;
    }
    assert_eq!(before, 30_000);
}

#[test]
fn an_agent_that_obeys_keeps_a_lease_through_two_lost_heartbeats() {
    let mut world = World::new();
    told(&mut world);
    let slot = world.known("a");
    for ttl_ms in [3_000, 4_000, 10_000, 90_000, 3_600_000] {
        world.machine.set_smallest_lease(slot, Some(ttl_ms));
        world.advance(1_000);
        let interval_ms = told(&mut world).trace.effective_ms;
        assert!(interval_ms * 3 <= ttl_ms, "{interval_ms} ms for a TTL of {ttl_ms} ms");
    }
}

#[test]
fn a_lease_of_nobody_known_changes_nothing() {
    let mut world = World::new();
    assert!(!world.machine.set_smallest_lease(Slot(7), Some(3_000)));
    assert!(world.effects.is_empty());
}
