use super::*;
use crate::peers::driver::{Story, World};
use crate::server::HOUR;

/// The normal distribution at so many deviations, to the error that Akka states.
#[test]
fn phi_of_akka_is_that_of_the_normal_distribution_at_known_points() {
    for (silence, below) in
        [(0.0, 0.5), (6.0, 0.725_75), (15.0, 0.933_19), (20.0, 0.977_25), (35.0, 0.999_77)]
    {
        let known: f64 = 1.0 - 10.0_f64.powf(-phi(silence, 0.0, 10.0));
        assert!((known - below).abs() < 1.5e-4, "{silence}: {known}");
    }
}

#[test]
fn phi_grows_from_nothing_to_beyond_any_threshold() {
    assert!(phi(-100.0, 0.0, 10.0) < 1e-9);
    assert!(phi(100.0, 0.0, 10.0) > 37.0);
}

#[test]
fn the_deviations_of_a_threshold_are_phis_inverse() {
    for threshold in [0.1, 0.301, 1.0, 8.0, 10.0, 12.0] {
        let deviations = deviations_at(threshold);
        assert!((phi(deviations, 0.0, 1.0) - threshold).abs() < 1e-9, "{threshold}");
    }
}

/// A mean of 1 s, a pause of 3 s, and the least deviation of 100 ms.
#[test]
fn akka_fails_a_steady_agent_at_the_look_after_its_threshold() {
    let mut story = Story::of(PhiAkka::new(AkkaSettings::cluster(SECOND)));
    (0..2_000).for_each(|index| story.beat(index * SECOND + 300 * MS, 0));
    let deviations = deviations_at(8.0);
    assert!((5.1..5.7).contains(&deviations));
    // 1,999.3 + 4 s + about 0.5 s, and the look after that.
    assert_eq!(story.standing_at(2_004 * SECOND - 1, 0), Standing::Alive);
    assert_eq!(story.standing_at(2_004 * SECOND, 0), Standing::Failed);
}

#[test]
fn akkas_first_estimate_is_bolder_than_its_history() {
    let mut story = Story::of(PhiAkka::new(AkkaSettings::cluster(SECOND)));
    story.beat(0, 0);
    // 4 s and 5.4 deviations of 0.25 s.
    assert_eq!(story.standing_at(5 * SECOND, 0), Standing::Alive);
    assert_eq!(story.standing_at(6 * SECOND, 0), Standing::Failed);
}

#[test]
fn akka_learns_nothing_from_a_silence_that_was_too_long() {
    let mut story = Story::of(PhiAkka::new(AkkaSettings::cluster(SECOND)));
    (0..50).for_each(|index| story.beat(index * SECOND, 0));
    let before = story.server.roster.own(0).window.mean();
    story.beat(100 * SECOND, 0);
    assert_eq!(story.standing_at(100 * SECOND, 0), Standing::Alive);
    assert_eq!(story.server.roster.own(0).window.mean(), before);
    story.beat(102 * SECOND, 0);
    assert!(story.server.roster.own(0).window.mean() > before);
}

#[test]
fn akka_at_thirty_seconds_bears_thirty_times_as_much() {
    let settings = AkkaSettings::cluster(30 * SECOND);
    let mut story = Story::of(PhiAkka::new(settings));
    (0..1_100).for_each(|index| story.beat(index * 30 * SECOND, 0));
    let last = 1_099 * 30 * SECOND;
    let silence = 120 * SECOND + (deviations_at(8.0) * 3e6) as Micros;
    assert_eq!(story.standing_at(last + silence - SECOND, 0), Standing::Alive);
    assert_eq!(story.standing_at(last + silence + SECOND, 0), Standing::Failed);
}

/// 8 ÷ log₁₀e = 18.42 means.
#[test]
fn cassandra_convicts_after_eighteen_mean_intervals() {
    let mut story = Story::of(PhiCassandra::new(SECOND));
    (0..2_000).for_each(|index| story.beat(index * SECOND, 0));
    assert_eq!(story.standing_at((1_999 + 19) * SECOND - 1, 0), Standing::Alive);
    assert_eq!(story.standing_at((1_999 + 19) * SECOND, 0), Standing::Failed);
}

#[test]
fn cassandra_begins_with_a_sample_of_two_intervals() {
    let mut story = Story::of(PhiCassandra::new(SECOND));
    story.beat(0, 0);
    assert_eq!(story.standing_at(36 * SECOND, 0), Standing::Alive);
    assert_eq!(story.standing_at(37 * SECOND, 0), Standing::Failed);
}

#[test]
fn cassandra_learns_nothing_from_intervals_above_two() {
    let mut story = Story::of(PhiCassandra::new(SECOND));
    story.beat(0, 0);
    story.beat(2 * SECOND, 0);
    story.beat(4 * SECOND + 1, 0);
    let window = &story.server.roster.own(0).window;
    assert_eq!((window.mean(), window.deviation()), (2e6, 0.0));
    story.beat(5 * SECOND + 1, 0);
    assert!(story.server.roster.own(0).window.mean() < 2e6);
}

#[test]
fn a_heartbeat_before_the_look_was_never_missed() {
    let mut story = Story::of(PhiCassandra::new(SECOND));
    story.beat(0, 0);
    story.beat(36 * SECOND + 900 * MS, 0);
    assert_eq!(story.standing_at(37 * SECOND, 0), Standing::Alive);
}

#[test]
fn history_is_lost_in_a_restart() {
    let mut story = Story::of(PhiCassandra::new(SECOND));
    (0..500).for_each(|index| story.beat(index * SECOND, 0));
    story.server.crash(500 * SECOND);
    assert_eq!(story.server.next_deadline(), None);
    story.restart(1_000 * SECOND);
    assert_eq!(story.standing_at(1_036 * SECOND, 0), Standing::Alive);
    assert_eq!(story.standing_at(1_037 * SECOND, 0), Standing::Failed);
}

#[test]
fn a_window_forgets_the_oldest_first() {
    let mut window = Window::default();
    (1..=13).for_each(|sample| window.push(sample, 4));
    assert_eq!(window.mean(), 11.5);
    assert_eq!(window.deviation(), 1.25_f64.sqrt());
}

/// What is computed at each heartbeat is what the original's test at each heartbeat would say.
#[test]
fn the_instant_that_is_computed_is_where_phi_comes_to_the_threshold() {
    let settings = AkkaSettings::cluster(SECOND);
    let mut server = PhiAkka::new(settings);
    let (loss, mean_delay) = (0.05, 200 * MS);
    let world = World { seed: 6, agents: 1, interval: SECOND, loss, mean_delay, until: HOUR };
    world.run(&mut server, |_, _| {});
    let history = server.roster.own(0);
    let (mean, deviation) = (history.window.mean() + 3_000.0, history.window.deviation());
    assert!(deviation > 200.0, "{deviation}");
    let silence = (history.available_until - history.last) as f64;
    assert!(phi(silence, mean, deviation) >= 8.0);
    assert!(phi(silence - 1.0, mean, deviation) < 8.0);
}
