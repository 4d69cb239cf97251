//! The guard, the floor and the jitter against every input.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::testing::seeds;
use crate::{Classes, Millis};

/// Any sane configuration, those of a sped-up demo included.
fn config() -> impl Strategy<Value = Config> {
    let scaled = (100..2_000u32, 2..300u32, 0..120_000u32, 1_000..1_200_000u32);
    prop_oneof![
        Just(Config::default()),
        scaled.prop_map(|(min_ms, times, dwell_ms, turn_period_ms)| Config {
            min_ms,
            max_ms: min_ms * times,
            dwell_ms,
            turn_period_ms,
        }),
    ]
}

fn hint() -> impl Strategy<Value = f64> {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, f64::MAX, 0.5];
    prop_oneof![
        3 => 0.0..400_000.0f64,
        1 => proptest::sample::select(odd.to_vec()),
        1 => proptest::sample::select([1_000.0, 300_000.0].to_vec()),
    ]
}

/// Time since the step before, hint, cap of the class, smallest lease.
type Input = (u64, f64, u32, Option<u32>);

fn input() -> impl Strategy<Value = Input> {
    let wait = prop_oneof![0..50u64, 0..70_000u64, 0..3_000_000u64];
    let cap = prop_oneof![3 => Just(u32::MAX), 1 => 0..400_000u32];
    (wait, hint(), cap, proptest::option::weighted(0.2, 0..200_000u32))
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    proptest::collection::vec(input(), 1..120)
}

/// Runs a guard; gives each step with its instant and cap.
fn run(guard: &mut Guard, config: &Config, inputs: &[Input]) -> Vec<(u64, u32, Step)> {
    let mut now = 0;
    let step = |&(wait, hint, class_cap_ms, lease): &Input| {
        now += wait;
        let cap_ms = config.cap_ms(class_cap_ms, lease);
        (now, cap_ms, guard.step(Millis(now), hint, cap_ms, config))
    };
    inputs.iter().map(step).collect()
}

/// Instants at which a sequence changes direction.
fn turns(values: impl Iterator<Item = (u64, u32)>) -> Vec<u64> {
    let (mut last, mut rising, mut turns) = (None, None, Vec::new());
    for (now, value) in values {
        if let Some(before) = last.replace(value).filter(|&before| before != value) {
            let rises = value > before;
            if rising.replace(rises).is_some_and(|rose| rose != rises) {
                turns.push(now);
            }
        }
    }
    turns
}

proptest! {
    #![proptest_config(seeds(256))]

    #[test]
    fn what_is_stored_never_leaves_its_bounds(config in config(), inputs in inputs()) {
        for (now, cap_ms, step) in run(&mut Guard::new(config.min_ms), &config, &inputs) {
            prop_assert!((config.min_ms..=cap_ms).contains(&step.stored_ms), "{step:?} at {now}");
            prop_assert!(cap_ms <= config.max_ms.max(config.min_ms));
        }
    }

    #[test]
    fn turns_in_any_window_are_few(config in config(), inputs in inputs()) {
        let start_ms = (config.min_ms + config.max_ms) / 2;
        let steps = run(&mut Guard::new(start_ms), &config, &inputs);
        let start = core::iter::once((0, start_ms));
        let stored = steps.iter().map(|(now, _, step)| (*now, step.stored_ms));
        let turns = turns(start.chain(stored));
        let told = steps.iter().filter(|(_, _, step)| step.turned).map(|(now, ..)| *now);
        prop_assert_eq!(&turns, &told.collect::<Vec<_>>());
        for (first, from) in turns.iter().enumerate() {
            for (last, to) in turns.iter().enumerate().skip(first) {
                let periods = (to - from).div_ceil(u64::from(config.turn_period_ms));
                let allowed = 2 * (1 + periods) + 1;
                let within = (last - first + 1) as u64;
                prop_assert!(within <= allowed, "{from} to {to}: {turns:?}");
            }
        }
    }

    /// Counted before jitter, which is early only and another for each directive; and under one
    /// cap: a cap that comes and goes below the floor (leases taken and released) moves what is
    /// sent without a turn of either.
    #[test]
    fn sent_turns_are_bounded_by_those_of_stored_and_floor(
        config in config(),
        inputs in inputs(),
        class_cap_ms in 0..400_000u32,
        fleets in proptest::collection::vec(0..3_000_000u32, 120),
    ) {
        let inputs: Vec<Input> =
            inputs.into_iter().map(|(wait, hint, ..)| (wait, hint, class_cap_ms, None)).collect();
        let steps = run(&mut Guard::new(config.min_ms), &config, &inputs);
        let (classes, mut floor) = (Classes::default(), Floor::default());
        let mut sent = Vec::new();
        let mut floors = Vec::new();
        for ((now, cap_ms, step), agents) in steps.iter().zip(&fleets) {
            let fleet = [0, *agents, 0];
            let reading = floor.update(Millis(*now), &fleet, &classes, 20_000.0, &config);
            let effective_ms = step.stored_ms.max(reading.base_ms).min(*cap_ms);
            prop_assert!((config.min_ms..=*cap_ms).contains(&effective_ms));
            floors.push((*now, reading.base_ms));
            sent.push((*now, effective_ms));
        }
        let stored = turns(steps.iter().map(|(now, _, step)| (*now, step.stored_ms))).len();
        let floor = turns(floors.into_iter()).len();
        let sent = turns(sent.into_iter()).len();
        prop_assert!(sent <= 2 * (stored + floor) + 1, "{sent} sent, {stored} stored, {floor}");
    }

    #[test]
    fn a_constant_hint_is_reached_one_way_and_then_nothing_moves(
        config in config(),
        history in inputs(),
        hint in hint(),
        class_cap_ms in 0..400_000u32,
    ) {
        let mut guard = Guard::new(config.min_ms);
        run(&mut guard, &config, &history);
        let cap_ms = config.cap_ms(class_cap_ms, None);
        // After whatever came before, from an interval within the cap.
        let mut now = 400_000_000;
        guard.step(Millis(now), f64::NAN, cap_ms, &config);
        let mut stored = alloc::vec![(0, guard.stored_ms())];
        for beat in 0..200 {
            now += u64::from(guard.stored_ms()) + u64::from(beat > 100) * 100_000;
            stored.push((now, guard.step(Millis(now), hint, cap_ms, &config).stored_ms));
        }
        let moves = stored.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        // ln(max / min) / ln(1.5), one more for what is left over: 15 for the default bounds.
        let ratio = f64::from(config.max_ms) / f64::from(config.min_ms);
        let allowed = (ratio.ln() / 1.49f64.ln()).ceil() as usize + 1;
        prop_assert!(allowed <= 16 && moves <= allowed.min(15), "{moves} moves: {stored:?}");
        prop_assert!(turns(stored.iter().copied()).is_empty(), "{stored:?}");
        prop_assert_eq!(stored[150].1, stored[200].1);
    }

    #[test]
    fn a_tightening_is_never_delayed(
        config in config(),
        history in inputs(),
        wait in 0..100_000u64,
        hint in 0.0..400_000.0f64,
    ) {
        let mut guard = Guard::new(config.max_ms);
        run(&mut guard, &config, &history);
        let now = history.iter().map(|(wait, ..)| wait).sum::<u64>() + wait;
        let before = u64::from(guard.stored_ms());
        let step = guard.step(Millis(now), hint, config.max_ms, &config);
        let wanted = (hint as u32).clamp(config.min_ms, config.max_ms);
        if u64::from(wanted) < before * 100 / 120 {
            prop_assert_eq!(step.stored_ms, wanted);
        }
    }

    #[test]
    fn early_heartbeats_cannot_race_relaxing(
        config in config(),
        waits in proptest::collection::vec(0..500u64, 1..400),
    ) {
        let (mut guard, mut now, mut last) = (Guard::new(config.min_ms), 0, None);
        for wait in waits {
            now += wait;
            let step = guard.step(Millis(now), f64::INFINITY, config.max_ms, &config);
            if step.stored_ms > step.before_ms {
                if let Some(last) = last.replace(now) {
                    prop_assert!((now - last) * 10 >= u64::from(step.before_ms) * 8 - 10);
                }
                let reach = (step.before_ms + (step.before_ms / 2).max(1)).min(config.max_ms);
                prop_assert!(step.stored_ms <= reach);
            }
        }
    }

    #[test]
    fn jitter_is_early_only_and_a_function_of_the_heartbeat(
        min_ms in 1..2_000u32,
        more_ms in 0..400_000u32,
        agent: u64, sequence: u64, incarnation: u64,
    ) {
        let effective_ms = min_ms + more_ms;
        let sent = early(effective_ms, min_ms, agent, sequence, incarnation);
        let lowest = ((u64::from(effective_ms) * 9 / 10) as u32).max(min_ms);
        prop_assert!((lowest..=effective_ms).contains(&sent));
        prop_assert_eq!(sent, early(effective_ms, min_ms, agent, sequence, incarnation));
        let spread = spread(effective_ms, min_ms, agent, sequence, incarnation);
        prop_assert!((min_ms..=effective_ms).contains(&spread));
    }

    #[test]
    fn the_same_inputs_give_the_same_steps(config in config(), inputs in inputs()) {
        let steps = || run(&mut Guard::new(config.min_ms), &config, &inputs);
        prop_assert_eq!(steps(), steps());
    }
}

#[test]
fn every_bound_is_reached() {
    let config = Config::default();
    let mut guard = Guard::new(30_000);
    let mut step = |second: u64, hint: f64, cap_ms: u32| {
        let step = guard.step(Millis(second * 1_000), hint, cap_ms, &config);
        (step.stored_ms, step.bound)
    };
    assert_eq!(step(0, 30_000.0, 300_000), (30_000, Bound::None));
    assert_eq!(step(1, 33_000.0, 300_000), (30_000, Bound::DeadBand));
    assert_eq!(step(2, 100_000.0, 300_000), (45_000, Bound::Slew));
    assert_eq!(step(3, 100_000.0, 300_000), (45_000, Bound::Slew));
    assert_eq!(step(4, 0.0, 300_000), (1_000, Bound::Min));
    assert_eq!(step(5, 100_000.0, 300_000), (1_000, Bound::Dwell));
    assert_eq!(step(70, 1_400.0, 300_000), (1_400, Bound::None));
    assert_eq!(step(71, 1_000.0, 300_000), (1_000, Bound::None));
    assert_eq!(step(200, 100_000.0, 300_000), (1_000, Bound::TurnBudget));
    assert_eq!(step(1_271, 1_400.0, 1_400), (1_400, Bound::None));
    assert_eq!(step(1_280, f64::INFINITY, 1_400), (1_400, Bound::Cap));
    assert_eq!(step(1_281, f64::NAN, 1_200), (1_200, Bound::Cap));
}

/// Ticks wrap around after 2^36 ms, and an instant of 0 lies ahead in the second half of that.
#[test]
fn a_new_guard_waits_for_nothing_at_any_time() {
    let config = Config::default();
    for now in [0, (1 << 35) - 1, 1 << 35, 3 << 34, (1 << 36) - 1, 1 << 36, 3 << 35] {
        let mut guard = Guard::new(30_000);
        assert_eq!(guard.step(Millis(now), 40_000.0, 70_000, &config).stored_ms, 40_000, "{now}");
    }
}

#[test]
fn a_move_under_way_is_finished_though_it_came_near() {
    let (config, mut guard) = (Config::default(), Guard::new(30_000));
    let mut step = |second: u64| guard.step(Millis(second * 1_000), 50_000.0, 70_000, &config);
    assert_eq!(step(0).stored_ms, 45_000);
    assert_eq!(step(45).stored_ms, 50_000);
    assert_eq!(step(95).bound, Bound::None);
}

#[test]
fn the_first_directives_after_a_storm_spread_over_the_whole_interval() {
    let spread = (0..1_000).map(|agent| spread(30_000, 1_000, mix(agent), 1, 1));
    let mut tenths = [0; 10];
    for sent_ms in spread {
        tenths[((sent_ms - 1_000) / 2_901) as usize] += 1;
    }
    assert!(tenths.iter().all(|&agents| (60..150).contains(&agents)), "{tenths:?}");
}

#[test]
fn a_lease_caps_at_a_third_of_its_ttl() {
    let config = Config::default();
    assert_eq!(config.cap_ms(70_000, Some(30_000)), 10_000);
    assert_eq!(config.cap_ms(70_000, Some(1_000)), 1_000, "never below the shortest interval");
    assert_eq!(config.cap_ms(70_000, None), 70_000);
}

mod floor {
    use super::*;

    fn update(floor: &mut Floor, second: u64, beating: [u32; 3]) -> FloorReading {
        let now = Millis(second * 1_000);
        floor.update(now, &beating, &Classes::default(), 20_000.0, &Config::default())
    }

    #[test]
    fn a_fleet_within_its_budget_has_no_floor() {
        let reading = update(&mut Floor::default(), 0, [0, 10_000, 10_000]);
        assert_eq!((reading.base_ms, reading.promise_conflict), (0, false));
        assert!((reading.load - 416.7 / 20_000.0).abs() < 1e-3, "{reading:?}");
    }

    #[test]
    fn a_floor_keeps_a_large_fleet_within_the_planned_share() {
        let reading = update(&mut Floor::default(), 0, [20_000, 600_000, 200_000]);
        let base = f64::from(reading.base_ms) / 1_000.0;
        let rate = 20_000.0 / 10.0 + 600_000.0 / base + 200_000.0 / (4.0 * base);
        assert!(rate <= 16_000.0, "{rate} with {reading:?}");
        assert!(rate >= 16_000.0 / 1.3, "no slower than a step of the ladder: {rate}");
        assert!(!reading.promise_conflict);
    }

    #[test]
    fn a_floor_survives_a_restart_and_falls_no_sooner_than_if_it_had_just_risen() {
        let mut floor = Floor::resumed(Millis(0), 40_000, &Config::default());
        assert_eq!(update(&mut floor, 1, [0, 10, 0]).base_ms, 40_000);
        assert_eq!(update(&mut floor, 1_199, [0, 10, 0]).base_ms, 40_000);
        assert_eq!(update(&mut floor, 1_200, [0, 10, 0]).base_ms, 0);
        let mut floor = Floor::resumed(Millis(0), 0, &Config::default());
        assert!(update(&mut floor, 1, [0, 2_000_000, 0]).base_ms > 0, "it rises at once");
    }

    #[test]
    fn a_floor_above_a_cap_says_that_promise_and_budget_disagree() {
        let reading = update(&mut Floor::default(), 0, [0, 2_000_000, 0]);
        assert!(reading.promise_conflict);
        assert!(reading.load > 0.99);
        assert!(update(&mut Floor::default(), 0, [200_000, 0, 0]).promise_conflict);
    }

    #[test]
    fn a_floor_rises_at_once_and_falls_after_its_dwell_and_budget() {
        let mut floor = Floor::default();
        let high = update(&mut floor, 0, [0, 1_000_000, 0]).base_ms;
        assert!(high > 60_000);
        assert_eq!(update(&mut floor, 59, [0, 500_000, 0]).base_ms, high);
        let low = update(&mut floor, 60, [0, 500_000, 0]).base_ms;
        assert!(low < high);
        assert_eq!(update(&mut floor, 61, [0, 1_000_000, 0]).base_ms, high, "at once");
        assert_eq!(update(&mut floor, 1_259, [0, 500_000, 0]).base_ms, high);
        assert_eq!(update(&mut floor, 1_260, [0, 500_000, 0]).base_ms, low);
    }
}
