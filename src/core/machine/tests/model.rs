//! Every state of small configurations: the machine as it is, explored exhaustively by
//! [`explorer`](crate::testing::explorer). The manual's page `model` says what is covered, and what
//! is not. Each space has its numbers fixed here, so that a change of the core that opens or closes
//! a state is noticed. The large ones take minutes:
//! `cargo test --release -p pulsegate-core large_space -- --ignored`.
//!
//! Time goes in units of 2 s, a multiple of the wheel's tick of 10 ms and of the 16 ms in which
//! the guard keeps its instants, and so are all intervals and graces: nothing is rounded, but for
//! the spread of a restart, which is any number of milliseconds, and stays what it is in the form.

mod form;
mod input;
mod obedient;
mod play;
mod stage;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use pulsegate_wire::{Health, State};

use self::input::{Beaten, Input, Judged};
use self::obedient::Input::{Arrive, Copy, Crash, Floor, Freeze, Restart, Retry, Send, Step, Wipe};
use self::obedient::Obedience;
use self::play::Play;
use self::stage::{Image, Stage};
use super::*;
use crate::testing::explorer::{Space, explore};
use crate::{ActionId, ActionOutcome, Class, Classes};

/// Most agents of a configuration.
const AGENTS: usize = 2;
/// The unit of time.
const UNIT_MS: u64 = 2_000;
/// The only class.
const NORMAL_ONLY: ClassId = ClassId(0);

const SHORT: u8 = 2;
const LONG: u8 = 3;

fn config() -> Config {
    let unit = UNIT_MS as u32;
    let class = Class {
        name: "normal".into(),
        interval_ms: 2 * unit,
        detect_within_ms: 4 * unit,
        suspect_grace_ms: unit,
        fail_grace_ms: 2 * unit,
        act_grace_ms: 3 * unit,
        floor_weight: 1,
    };
    let cadence = crate::cadence::Config {
        min_ms: 2 * unit,
        max_ms: 3 * unit,
        dwell_ms: unit,
        turn_period_ms: 3 * unit,
    };
    Config {
        classes: Classes::new([class].into()).expect("normal is among them"),
        cadence,
        startup_grace_ms: 2 * unit,
        forget_failed_ms: 2 * unit,
        forget_stopped_ms: 2 * unit,
        incident_after: 0,
        success_after: 1,
        late_copy_ms: 2 * unit,
        ..Config::default()
    }
}

const fn beaten(run: i8, number: i8, echo: bool, judged: Option<Judged>) -> Beaten {
    Beaten { run, number, echo, leaves: false, judged }
}

fn beat(run: i8, number: i8, echo: bool, judged: Option<Judged>) -> Input {
    Input::Beat(0, beaten(run, number, echo, judged))
}

/// A heartbeat that is in order, with an interval proposed; and one that echoes the directive.
fn beats() -> Vec<Input> {
    vec![
        Input::Step,
        beat(0, 1, false, Some(Judged(true, LONG))),
        beat(0, 1, true, Some(Judged(true, SHORT))),
    ]
}

/// Heartbeats in any order.
fn disorder() -> Vec<Input> {
    vec![
        beat(0, 1, true, None),
        Input::Judge(0, Judged(true, LONG)),
        Input::JudgeOld(0),
        beat(0, 0, false, None),
        beat(0, -1, false, None),
        beat(1, 1, false, Some(Judged(true, SHORT))),
        beat(-1, 1, false, None),
        Input::Limited(0, 0, 1),
        Input::Limited(0, 0, 0),
        Input::Limited(0, 1, 1),
        Input::Limited(0, -1, 1),
    ]
}

/// Coming and going.
fn coming() -> Vec<Input> {
    vec![
        Input::Beat(0, Beaten { leaves: true, ..beaten(0, 1, false, Some(Judged(true, SHORT))) }),
        Input::Put(0),
        Input::Stop(0),
        beat(1, 1, false, Some(Judged(true, SHORT))),
    ]
}

const FREEZES: [Input; 2] = [Input::Freeze(true), Input::Freeze(false)];
const PAUSES: [Input; 2] = [Input::Pause(0, true), Input::Pause(0, false)];
const CRASHES: [Input; 3] = [Input::Crash(0), Input::Crash(1), Input::Crash(2)];

/// An agent in trouble, and what is done about it.
fn recovery() -> Vec<Input> {
    vec![
        Input::Step,
        beat(0, 1, false, Some(Judged(true, SHORT))),
        beat(0, 1, false, Some(Judged(false, SHORT))),
        Input::Plan(0, 2),
        Input::Outcome(0, ActionOutcome::Done),
        Input::Outcome(0, ActionOutcome::Unreachable),
        Input::OldOutcome(0),
    ]
}

/// An agent that is ill all along, and an executor that does what it should.
fn ill() -> Vec<Input> {
    let ill = beat(0, 1, false, Some(Judged(false, SHORT)));
    let done = Input::Outcome(0, ActionOutcome::Done);
    vec![Input::Step, ill, Input::Plan(0, 2), done]
}

/// One heartbeat judged ill is enough, one judged well is not; and there is time for a plan of two
/// rungs.
fn recovery_config() -> Config {
    let forget_failed_ms = 6 * UNIT_MS as u32;
    Config { incident_after: 1, success_after: 2, forget_failed_ms, ..config() }
}

/// Explores what is made of these inputs, where so many events may be lost that need not be
/// durable, and time goes on without further faults in so many ways.
fn explored(config: Config, keeps: usize, alphabet: &[&[Input]], ways: usize) -> Space {
    let (stage, alphabet) = (Stage::new(config, keeps), alphabet.concat());
    let mut play = Play { stage, alphabet, ways };
    explore(&mut play).unwrap_or_else(|found| panic!("{found:?}"))
}

const fn space(states: usize, transitions: usize, depth: usize) -> Space {
    Space { states, transitions, depth }
}

#[test]
fn silence_is_judged_right_however_heartbeats_come() {
    let space_of = |more: &[&[Input]]| explored(config(), 0, &[&[&beats()[..]], more].concat(), 0);
    assert_eq!(space_of(&[&disorder()]), space(3_661, 46_005, 27));
    assert_eq!(explored(config(), 0, &[&beats()[..2], &coming()], 0), space(7_005, 41_765, 18));
    assert_eq!(space_of(&[&coming()[..1], &[Input::Late]]), space(2_685, 11_865, 20));
}

#[test]
fn silence_is_judged_right_while_nothing_can_be_recorded() {
    assert_eq!(explored(config(), 0, &[&beats(), &FREEZES], 0), space(5_437, 21_493, 30));
    assert_eq!(
        explored(recovery_config(), 0, &[&ill()[..2], &FREEZES], 0),
        space(1_360, 4_080, 31)
    );
}

#[test]
fn silence_is_judged_right_after_a_process_that_ended_at_any_moment() {
    assert_eq!(explored(config(), 2, &[&beats(), &CRASHES], 0), space(6_205, 30_498, 35));
    let runs = [&beats()[..2], &coming()[3..], &CRASHES[..2]];
    assert_eq!(explored(config(), 1, &runs, 0), space(3_888, 17_630, 31));
}

#[test]
fn two_agents_do_not_meddle_with_each_other() {
    let other = Input::Beat(1, beaten(0, 1, false, Some(Judged(true, SHORT))));
    let alphabet = [Input::Step, beat(0, 1, false, Some(Judged(true, SHORT))), other];
    assert_eq!(explored(config(), 0, &[&alphabet], 0), space(2_652, 7_956, 20));
}

#[test]
fn recovery_does_what_is_owed_and_nothing_else() {
    let space_of = |more: &[Input]| explored(recovery_config(), 0, &[&recovery(), more], 3);
    assert_eq!(space_of(&[]), space(11_143, 56_713, 31));
    assert_eq!(
        explored(recovery_config(), 0, &[&ill(), &CRASHES[..1]], 0),
        space(8_284, 29_712, 27)
    );
    assert_eq!(explored(recovery_config(), 0, &[&ill()[..3], &PAUSES], 0), space(1_544, 6_804, 21));
}

#[test]
fn an_obedient_agent_is_never_suspect_in_any_state() {
    let more = [Arrive(Some(SHORT), false), Arrive(None, false), Retry(false), Restart];
    assert_eq!(obeyed(0, &more), space(2_549, 10_995, 18));
    assert_eq!(obeyed(0, &[Freeze(true), Freeze(false), Restart]), space(3_027, 11_940, 21));
    assert_eq!(obeyed(2, &obedient_crashes()), space(1_998, 15_337, 19));
}

#[test]
fn an_obedient_agent_is_never_suspect_of_what_only_the_process_before_knows() {
    let copies = [Copy(SHORT), Copy(LONG)];
    assert_eq!(obeyed(2, &[&obedient_crashes()[..], &copies].concat()), space(4_701, 37_535, 19));
    let wipes: Vec<_> = (0..=LONG).map(Wipe).chain([Arrive(None, false)]).collect();
    assert_eq!(obeyed(0, &[&wipes[..], &copies].concat()), space(1_756, 10_851, 19));
}

fn obedient_crashes() -> Vec<obedient::Input> {
    (0..3).flat_map(|lost| (0..=LONG).map(move |phase| Crash(lost, phase))).collect()
}

/// The grace is two units here: one for a heartbeat on its way, and one to tell it from none.
fn obeyed(keeps: usize, more: &[obedient::Input]) -> Space {
    let basics = [
        Step,
        Send,
        Arrive(Some(SHORT), true),
        Arrive(Some(LONG), true),
        Arrive(Some(LONG), false),
        Retry(true),
    ];
    let mut config = config();
    let mut class = config.classes[NORMAL_ONLY].clone();
    class.suspect_grace_ms = 2 * UNIT_MS as u32;
    class.fail_grace_ms = 3 * UNIT_MS as u32;
    class.detect_within_ms = 5 * UNIT_MS as u32;
    config.classes = Classes::new([class].into()).expect("normal is among them");
    let alphabet = [&basics, more].concat();
    let mut model = Obedience { stage: Stage::new(config, keeps), alphabet };
    explore(&mut model).unwrap_or_else(|found| panic!("{found:?}"))
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn silence_in_a_large_space() {
    let all = [&beats()[..], &disorder(), &coming(), &CRASHES[..2]];
    assert_eq!(explored(config(), 1, &all, 0), space(311_004, 5_151_180, 33));
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn silence_in_a_large_space_without_a_disk() {
    let all = [&beats()[..], &coming(), &FREEZES, &CRASHES[..2], &[Input::Late]];
    assert_eq!(explored(config(), 1, &all, 0), space(2_391_826, 23_711_252, 42));
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn recovery_in_a_large_space() {
    let run = beat(1, 1, false, Some(Judged(true, SHORT)));
    let all = [&recovery()[..], &[Input::Plan(0, 0), run, Input::Stop(0)], &PAUSES, &CRASHES[..2]];
    assert_eq!(explored(recovery_config(), 1, &all, 3), space(1_405_186, 14_478_998, 45));
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn recovery_with_witnesses_in_a_large_space() {
    let all = [&recovery()[..], &[Input::Put(0), Input::Witness(0)], &FREEZES];
    assert_eq!(explored(recovery_config(), 0, &all, 3), space(462_962, 3_275_316, 37));
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn obedience_in_a_large_space() {
    let more = [
        Arrive(Some(SHORT), false),
        Arrive(None, false),
        Retry(false),
        Restart,
        Floor(0),
        Floor(LONG),
        Freeze(true),
        Freeze(false),
    ];
    let all = [&more[..], &[Copy(SHORT), Copy(LONG)], &obedient_crashes()].concat();
    assert_eq!(obeyed(2, &all), space(848_716, 9_240_060, 34));
}
