//! The adversary finds what is wrong with a broken guard, and nothing with the real one.

mod model;

use model::*;
use pulsegate_core::Millis;

use super::mutate::Maker;
use super::*;
use crate::random::Random;

/// Plays of a search in these tests; a broken guard is found within a few hundred.
const FEW: u64 = 400;
const MINUTE_MS: u64 = 60_000;

fn maker(config: &Config, seed: u64) -> Maker<'_> {
    Maker { config, random: Random::new(seed, "adversary-tests") }
}

/// Whether a search finds the objective's limit exceeded.
fn broken<S: Subject>(objective: Objective) -> bool {
    let config = Config::default();
    (1..=4).any(|seed| attack::<S>(objective, &config, seed, FEW).is_violation())
}

#[test]
fn each_rule_that_is_left_out_is_found() {
    assert!(broken::<Model<NO_DWELL>>(Objective::Haste));
    assert!(broken::<Model<NO_BUDGET>>(Objective::StoredTurns(5 * MINUTE_MS)));
    assert!(broken::<Model<NO_SLEW>>(Objective::Haste));
    assert!(broken::<Model<NO_DEAD_BAND>>(Objective::Fidget));
    assert!(broken::<Model<NO_CAP>>(Objective::Escape));
    assert!(broken::<Model<NOT_AT_ONCE>>(Objective::Delay));
    assert!(broken::<Model<NO_AIM>>(Objective::Astray));
    assert!(broken::<Model<NO_STRIDE>>(Objective::Moves));
}

#[test]
fn what_never_relaxes_again_is_found() {
    let config = Config { max_ms: 60_000, turn_period_ms: 120_000, ..Config::default() };
    let found = |found: Found| found.is_violation();
    assert!(found(attack::<Model<NO_PATIENCE>>(Objective::Stick, &config, 1, 50)));
    assert!(found(attack::<Model<NO_BEGINNING>>(Objective::Stick, &config, 1, 50)));
}

#[test]
fn nothing_is_found_above_the_limits_of_the_guard() {
    let config = Config::default();
    for objective in Objective::ALL {
        let plays = if objective.has_constant_hint() { FEW / 20 } else { FEW / 2 };
        let found = search(objective, &config, 1, plays);
        assert!(!found.is_violation(), "{found}");
        assert!(found.exact.is_none_or(|exact| found.score <= exact), "{found}");
    }
}

/// A sped-up demo, bounds as fine as they may be, and a dwell longer than the turn period.
#[test]
fn nothing_is_found_above_the_limits_of_other_configurations() {
    let config = |min_ms, max_ms, dwell_ms, turn_period_ms| Config {
        min_ms,
        max_ms,
        dwell_ms,
        turn_period_ms,
    };
    let configs = [
        config(100, 3_000, 600, 12_000),
        config(1, 300, 0, 1_000),
        config(5_000, 60_000, 90_000, 30_000),
    ];
    for config in &configs {
        for objective in Objective::ALL.into_iter().filter(|one| *one != Objective::Moves) {
            let plays = if objective.has_constant_hint() { FEW / 20 } else { FEW / 5 };
            let found = search(objective, config, 1, plays);
            assert!(!found.is_violation(), "{found} with {config:?}");
        }
    }
}

#[test]
fn nothing_is_found_above_the_limits_of_a_machine_that_is_restarted() {
    let config = Config::default();
    for objective in Objective::ALL {
        let found = attack::<Whole>(objective, &config, 1, FEW / 30);
        assert!(!found.is_violation(), "{found}");
    }
}

#[test]
fn the_model_with_every_rule_is_the_guard() {
    let config = Config::default();
    let mut maker = maker(&config, 1);
    let (mut stage, mut other) = (Stage::new(&config), Stage::new(&config));
    for turn in 0..300 {
        let mut play = if turn % 2 == 0 { maker.plain() } else { maker.knowing() };
        maker.mutate(&mut play);
        let guard = stage.play::<Bare>(&play, Objective::Escape);
        assert_eq!(format!("{guard:?}"), {
            let model = other.play::<Model<NOTHING>>(&play, Objective::Escape);
            format!("{model:?}")
        });
    }
}

#[test]
fn a_search_surpasses_as_many_random_plays() {
    let (config, objective) = (Config::default(), Objective::StoredTurns(360 * MINUTE_MS));
    let random = guess::<Bare>(objective, &config, 1, 4 * FEW).score;
    let found = search(objective, &config, 1, 4 * FEW).score;
    assert!(found >= random + 8, "{found} against {random}");
}

#[test]
fn the_same_seed_finds_the_same() {
    let found = |seed| search(Objective::SentTurns(MINUTE_MS), &Config::default(), seed, 200);
    assert_eq!(found(1), found(1));
    assert_ne!(found(1).play, found(2).play);
}

#[test]
fn a_play_is_read_as_it_was_written() {
    let config = Config::default();
    let mut maker = maker(&config, 2);
    for _ in 0..200 {
        let (one, other) = (maker.knowing(), maker.plain());
        let mut play = maker.cross(&one, &other);
        maker.mutate(&mut play);
        assert_eq!(play.to_string().parse(), Ok(play));
    }
    for wrong in
        ["", "0 1000", "0 1000 | | ", "0 1 | 0 up | 1", "0 1 | 9 0.5 cap:x | 1", "0 1 | 5*( | 1"]
    {
        assert!(wrong.parse::<Play>().is_err(), "{wrong}");
    }
}

/// Every history on a clock of minutes, with the real dwell and turn period.
#[test]
fn no_history_of_minutes_turns_more_often_than_derived() {
    let config = Config { max_ms: 3_000, ..Config::default() };
    for window in [0, 1, 5, 20, 21, 60] {
        let coarse = Coarse {
            instant_ms: MINUTE_MS,
            before: 22,
            window,
            hints_ms: &[1_000, 3_000],
            floors_ms: &[0],
        };
        let derived = Objective::StoredTurns(window * MINUTE_MS);
        let most = u64::from(most_turns(&config, &coarse).0);
        assert_eq!(Some(most), derived.exact(&config), "in {window} min");
        assert!(most <= derived.limit(&config), "in {window} min");
    }
}

/// With a floor, here one that moves above the cap, there are many more: a turn period is four
/// instants long on this clock.
#[test]
fn no_coarse_history_sends_more_turns_than_derived() {
    let config =
        Config { max_ms: 3_000, dwell_ms: 3_200, turn_period_ms: 4 * 3_200, ..Config::default() };
    for window in [0, 1, 4] {
        let coarse = Coarse {
            instant_ms: 3_200,
            before: 7,
            window,
            hints_ms: &[1_000, 3_000],
            floors_ms: &[0, 4_000, 5_000],
        };
        let derived = Objective::SentTurns(window * 3_200).exact(&config);
        assert_eq!(Some(u64::from(most_turns(&config, &coarse).0)), derived, "in {window}");
    }
}

/// The worst plays that were found, as short as they could be made. All but the last reach the
/// true maximum; that one comes within 0.005 % of its limit.
#[test]
fn the_worst_plays_reach_what_they_did() {
    let worst = [
        (Objective::StoredTurns(MINUTE_MS), "0 13265 | 0 above, 0 below, dwell+0 above, 0 below"),
        (Objective::StoredTurns(20 * MINUTE_MS), "0 26407 | 0 below, 2*(turn+0 above, 0 below)"),
        (Objective::StoredTurns(60 * MINUTE_MS), "0 44498 | 0 below, 4*(turn+0 above, 0 below)"),
        (Objective::StoredTurns(360 * MINUTE_MS), "0 31327 | 0 below, 19*(turn+0 above, 0 below)"),
        (
            Objective::SentTurns(MINUTE_MS),
            "0 19075 | 0 NaN cap:under, 0 below, 0 NaN fleet:2798195, 0 below, dwell-16 NaN, \
             due18 above fleet:1646630, turn+0 NaN, 0 above, 0 below, 0 NaN fleet:over, \
             dwell+0 NaN, 0 above, 0 below, 0 NaN fleet:over",
        ),
        (
            Objective::SentTurns(60 * MINUTE_MS),
            "0 44961 | 4*(0 below, 0 NaN fleet:over, turn+0 NaN, 0 above), 0 below, \
             0 NaN fleet:over",
        ),
        (Objective::SentSurplus, "0 14106 | 0 NaN, 0 below, 0 NaN fleet:over"),
        (Objective::CappedSurplus, "0 61389 | 0 NaN, 0 below, 0 NaN fleet:over, 0 NaN cap:under"),
        (Objective::Moves, "0 4160 | 0 inf cap:1000"),
    ];
    let config = Config::default();
    for (objective, play) in worst {
        let play: Play = format!("{play} | 300000").parse().unwrap();
        let reached = replay(&play, objective, &config);
        assert_eq!(Some(reached), objective.exact(&config), "{}", objective.name());
    }
    let play = "9 1000 | 0 2000.0, 0 1000.0, dwell+0 2000.0, 0 1027.0 | 300000 turn-1 step-1";
    let stuck_ms = replay(&play.parse().unwrap(), Objective::Stick, &config);
    assert_eq!((stuck_ms, Objective::Stick.limit(&config)), (2_813_678, 2_813_796));
}

/// What the limit of turns sent rests on: of any two sequences the larger turns at most once more
/// than both together.
#[test]
fn the_larger_of_two_sequences_turns_at_most_once_more_than_both() {
    const LENGTH: u32 = 5;
    let sequence = |number: u32| (0..LENGTH).map(move |at| number / 3_u32.pow(at) % 3);
    let turns = |values: &mut dyn Iterator<Item = u32>| {
        objective::turns(values.map(|value| (0, value))).len()
    };
    let all = || (0..3_u32.pow(LENGTH)).map(|number| (number, turns(&mut sequence(number))));
    let mut most = 0;
    for (one, ones) in all() {
        for (other, others) in all() {
            let larger = sequence(one).zip(sequence(other)).map(|(one, other)| one.max(other));
            let surplus = turns(&mut { larger }).saturating_sub(ones + others);
            most = most.max(surplus);
        }
    }
    assert_eq!(most, 1);
}

/// Why the turns of what is sent are held against those of stored interval and floor over a whole
/// history: a window may hold two and none of theirs. A floor above the cap has fallen, unseen,
/// before it; then it falls below, and a relaxing that goes on for long comes up from under it.
#[test]
fn a_window_may_hold_two_turns_sent_and_none_of_stored_or_floor() {
    let play = "0 1000 | 0 NaN cap:10000, 0 NaN fleet:1600000, 60000 NaN fleet:800000, \
                1 NaN fleet:80000, 6*(step+0 300000.0 fleet:80000) | 1000";
    let config = Config::default();
    let mut stage = Stage::new(&config);
    let samples = &stage.play::<Bare>(&play.parse().unwrap(), Objective::SentSurplus).samples;
    let within = |of: fn(&Sample) -> u32| {
        let turns = objective::turns(samples.iter().map(|sample| (sample.now, of(sample))));
        turns.iter().filter(|now| **now > 60_000).count()
    };
    assert_eq!(within(|sample| sample.told.stored_ms), 0);
    assert_eq!(within(|sample| sample.floor_ms), 0);
    assert_eq!(within(|sample| sample.told.effective_ms), 2);
}

/// Why turns of what is sent are promised for one cap only: leases that come and go below the
/// floor turn it at every heartbeat, though neither stored interval nor floor ever turn.
#[test]
fn a_cap_that_comes_and_goes_below_the_floor_turns_what_is_sent() {
    let play = "0 1000 | 20*(0 1000.0 cap:9000 fleet:800000, 1000 1000.0 fleet:800000) | 1000";
    let play: Play = play.parse().unwrap();
    let config = Config::default();
    let mut stage = Stage::new(&config);
    let samples = stage.play::<Bare>(&play, Objective::CappedSurplus).samples.clone();
    assert!(samples.iter().all(|sample| sample.told.stored_ms == 1_000));
    assert!(samples.windows(2).all(|pair| pair[0].told.effective_ms != pair[1].told.effective_ms));
    assert!(samples.windows(2).all(|pair| pair[0].floor_ms == pair[1].floor_ms));
}

/// Bounds on turns hold for what was recorded. A tightening is answered before it is: a crash in
/// that moment takes it back, without dwell and budget, and the agent sees two turns of it.
#[test]
fn a_crash_before_the_commit_takes_a_tightening_back() {
    let config = Config::default();
    let within = Within { floor_ms: 0, cap_ms: config.max_ms };
    let mut machine = Whole::begin(&config, Millis(0), 30_000);
    for round in 0..10 {
        let now = Millis(round * 10_000);
        assert_eq!(machine.step(now, 30_000.0, within, &config).stored_ms, 30_000);
        let now = now.plus(5_000);
        assert_eq!(machine.step(now, 10_000.0, within, &config).stored_ms, 10_000);
        machine.crash(now, &config);
    }
}
