//! The wheel against a model that is obviously right.

use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Arm, or move, to so many milliseconds from now.
    Arm(u32, u64),
    /// Bring an armed timer's deadline to half the way.
    Shorten(u32),
    Cancel(u32),
    /// Advance by so much, taking at most so many timers before the next step.
    Advance(u64, usize),
}

fn distance() -> impl Strategy<Value = u64> {
    // Within a tick, within a round, exactly whole rounds, days.
    prop_oneof![
        0..40u64,
        0..700_000u64,
        (0..4u64).prop_map(|rounds| rounds * SLOTS as u64 * TICK_MS),
        0..200_000_000u64,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..24u32, distance()).prop_map(|(timer, ms)| Step::Arm(timer, ms)),
        1 => (0..24u32).prop_map(Step::Shorten),
        1 => (0..24u32).prop_map(Step::Cancel),
        3 => (distance(), prop_oneof![Just(usize::MAX), 0..3usize])
            .prop_map(|(ms, budget)| Step::Advance(ms, budget)),
    ]
}

/// Takes what the wheel gives, checks each against the model, and then that nothing overdue by
/// more than a tick is left behind.
fn drain(
    wheel: &mut Wheel,
    model: &mut BTreeMap<u32, u64>,
    now: u64,
    budget: usize,
) -> Result<(), TestCaseError> {
    for _ in 0..budget {
        let Some(timer) = wheel.pop(Millis(now)) else {
            let late = model.values().filter(|&&deadline| deadline + TICK_MS < now).count();
            prop_assert_eq!(late, 0, "{} timers later than a tick at {}: {:?}", late, now, model);
            return Ok(());
        };
        let deadline = model.remove(&timer);
        prop_assert!(deadline.is_some_and(|deadline| deadline <= now), "{timer} fired early");
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::testing::seeds(256))]

    #[test]
    fn the_wheel_agrees_with_an_ordered_map(
        start in prop_oneof![Just(0u64), 0..10_000_000_000u64],
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let (mut wheel, mut model, mut now) = (Wheel::default(), BTreeMap::new(), start);
        wheel.grow(24);
        prop_assert_eq!(wheel.pop(Millis(now)), None);
        for step in steps {
            match step {
                Step::Arm(timer, ms) => {
                    wheel.arm(timer, Millis(now + ms));
                    model.insert(timer, now + ms);
                }
                Step::Shorten(timer) => {
                    if let Some(deadline) = model.get_mut(&timer) {
                        *deadline = now + deadline.saturating_sub(now) / 2 + 1;
                        wheel.arm(timer, Millis(*deadline));
                    }
                }
                Step::Cancel(timer) => {
                    wheel.cancel(timer);
                    model.remove(&timer);
                }
                Step::Advance(ms, budget) => {
                    now += ms;
                    drain(&mut wheel, &mut model, now, budget)?;
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            prop_assert_eq!(wheel.is_empty(), model.is_empty());
            let first = model.values().min();
            prop_assert_eq!(wheel.next_deadline().is_some(), first.is_some());
            if let (Some(next), Some(&first)) = (wheel.next_deadline(), first) {
                prop_assert!(next.0 < first.max(now) + 2 * TICK_MS, "{next:?} is after {first}");
            }
        }
        drain(&mut wheel, &mut model, now + 400_000_000, usize::MAX)?;
        prop_assert!(wheel.is_empty());
    }
}

#[test]
fn a_timer_fires_in_its_tick_and_not_before() {
    let mut wheel = Wheel::default();
    wheel.grow(1);
    wheel.arm(0, Millis(1_001));
    assert_eq!(wheel.pop(Millis(1_009)), None);
    assert_eq!(wheel.pop(Millis(1_010)), Some(0));
    assert_eq!(wheel.pop(Millis(1_010)), None);
}

#[test]
fn a_timer_of_a_later_round_stays_in_its_slot() {
    let mut wheel = Wheel::default();
    let round = SLOTS as u64 * TICK_MS;
    wheel.grow(2);
    wheel.arm(0, Millis(500));
    wheel.arm(1, Millis(500 + 131 * round));
    assert_eq!(wheel.pop(Millis(500)), Some(0));
    for rounds in 1..131 {
        assert_eq!(wheel.pop(Millis(500 + rounds * round)), None);
    }
    assert_eq!(wheel.pop(Millis(500 + 131 * round)), Some(1));
}

#[test]
fn a_timer_armed_while_its_slot_is_visited_is_not_lost() {
    let mut wheel = Wheel::default();
    wheel.grow(3);
    wheel.arm(0, Millis(100));
    wheel.arm(1, Millis(100));
    assert!(wheel.pop(Millis(100)).is_some());
    wheel.arm(2, Millis(50));
    assert!(wheel.pop(Millis(100)).is_some());
    assert_eq!(wheel.pop(Millis(100)), None);
    assert_eq!(wheel.pop(Millis(110)), Some(2));
}

#[test]
fn the_end_of_time_is_a_deadline_like_others() {
    let mut wheel = Wheel::default();
    wheel.grow(1);
    wheel.arm(0, Millis(u64::MAX));
    assert_eq!(wheel.pop(Millis(1 << 60)), None);
    assert_eq!(wheel.len(), 1);
}
