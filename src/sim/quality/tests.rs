use super::*;
use crate::server::SECOND;

/// A run told in whole seconds.
struct Run(Quality);

impl Run {
    /// An agent that is up and alive from the first second on.
    fn alive() -> Self {
        let mut run = Self(Quality::new(1));
        run.up(0);
        run.stands(0, Standing::Alive);
        run
    }

    fn up(&mut self, at: u64) {
        self.0.handle_up(at * SECOND, 0);
    }

    fn down(&mut self, at: u64) {
        self.0.handle_down(at * SECOND, 0);
    }

    fn stands(&mut self, at: u64, to: Standing) {
        self.0.handle_change(at * SECOND, Change { agent: 0, to });
    }

    fn end(self, at: u64) -> Report {
        self.0.finish(at * SECOND)
    }
}

fn mean(estimate: Option<Estimate>) -> Option<f64> {
    estimate.map(|estimate| estimate.mean)
}

#[test]
fn a_false_suspicion_is_no_false_failure() {
    let mut run = Run::alive();
    run.stands(10, Standing::Suspect);
    run.stands(12, Standing::Alive);
    run.stands(40, Standing::Suspect);
    run.stands(44, Standing::Alive);
    let report = run.end(100);
    assert_eq!((report.false_suspicions.count, report.false_failures.count), (2, 0));
    assert_eq!(mean(report.false_suspicions.duration), Some(3.0));
    assert_eq!(mean(report.false_suspicions.recurrence), Some(30.0));
    assert_eq!(mean(report.false_suspicions.time_per_mistake), Some(50.0));
    assert_eq!((report.accuracy, report.watched), (Some(0.94), 100.0));
}

#[test]
fn a_failure_lasts_from_its_own_instant_and_is_a_suspicion_too() {
    let mut run = Run::alive();
    run.stands(10, Standing::Suspect);
    run.stands(15, Standing::Failed);
    run.stands(16, Standing::Alive);
    run.stands(20, Standing::Failed);
    run.stands(21, Standing::Alive);
    let report = run.end(30);
    assert_eq!((report.false_suspicions.count, report.false_failures.count), (2, 2));
    assert_eq!(mean(report.false_suspicions.duration), Some(3.5));
    assert_eq!(mean(report.false_failures.duration), Some(1.0));
    assert_eq!(mean(report.false_failures.recurrence), Some(5.0));
}

#[test]
fn a_crash_is_detected_at_suspicion_and_at_failure_apart() {
    let mut run = Run::alive();
    run.down(100);
    run.stands(120, Standing::Suspect);
    run.stands(161, Standing::Failed);
    run.up(300);
    run.stands(301, Standing::Alive);
    let report = run.end(400);
    assert_eq!((report.crashes, report.false_suspicions.count), (1, 0));
    assert_eq!(report.suspected.time.map(|time| time.max), Some(20.0));
    assert_eq!(report.failed.time.map(|time| time.max), Some(61.0));
    // From its crash to its first heartbeat it is not watched.
    assert_eq!((report.watched, report.accuracy), (199.0, Some(1.0)));
}

#[test]
fn trust_that_returns_after_a_crash_undoes_the_detection() {
    let mut run = Run::alive();
    run.down(100);
    run.stands(101, Standing::Failed);
    run.stands(102, Standing::Alive);
    run.stands(130, Standing::Failed);
    let report = run.end(400);
    assert_eq!(report.failed.time.map(|time| time.max), Some(30.0));
    assert_eq!(report.false_failures.count, 0);
}

#[test]
fn who_is_distrusted_when_it_crashes_is_detected_at_once() {
    let mut run = Run::alive();
    run.stands(90, Standing::Suspect);
    run.down(100);
    run.stands(110, Standing::Failed);
    let report = run.end(400);
    assert_eq!(report.suspected.time.map(|time| time.max), Some(0.0));
    assert_eq!(report.failed.time.map(|time| time.max), Some(10.0));
    assert_eq!((report.false_suspicions.count, report.false_suspicions.duration), (1, None));
}

#[test]
fn a_crash_whose_agent_is_back_first_is_undetected_and_one_at_the_end_is_open() {
    let mut run = Run::alive();
    run.down(100);
    run.stands(120, Standing::Suspect);
    run.up(130);
    run.stands(131, Standing::Alive);
    run.down(200);
    let report = run.end(210);
    let detections = |report: &DetectionReport| {
        (report.time.map_or(0, |time| time.count), report.undetected, report.open)
    };
    assert_eq!(detections(&report.suspected), (1, 0, 1));
    assert_eq!(detections(&report.failed), (0, 1, 1));
}

#[test]
fn a_crash_that_nobody_noticed_leaves_the_agent_watched_when_it_is_back() {
    let mut run = Run::alive();
    run.down(100);
    run.up(110);
    run.stands(150, Standing::Suspect);
    let report = run.end(200);
    assert_eq!((report.suspected.undetected, report.false_suspicions.count), (1, 1));
    assert_eq!(report.watched, 190.0);
}

#[test]
fn failing_an_agent_that_is_back_but_unheard_is_counted_apart() {
    let mut run = Run::alive();
    run.down(100);
    run.stands(120, Standing::Suspect);
    run.up(160);
    run.stands(161, Standing::Failed);
    run.stands(162, Standing::Alive);
    let report = run.end(200);
    assert_eq!((report.failed_after_return, report.false_failures.count), (1, 0));
    assert_eq!(report.failed.undetected, 1);
}

#[test]
fn who_leaves_is_neither_a_mistake_nor_a_detection() {
    let mut run = Run::alive();
    run.stands(50, Standing::Stopped);
    run.0.handle_left(51 * SECOND, 0);
    let mut silent = Run::alive();
    silent.0.handle_left(50 * SECOND, 0);
    silent.stands(140, Standing::Failed);
    for report in [run.end(200), silent.end(200)] {
        assert_eq!((report.crashes, report.false_failures.count), (0, 0));
        assert_eq!((report.watched, report.accuracy), (50.0, Some(1.0)));
    }
}

#[test]
fn a_crash_before_the_first_heartbeat_arrives_is_nobodys_duty() {
    let mut run = Run(Quality::new(0));
    run.up(10);
    run.down(11);
    let report = run.end(100);
    assert_eq!((report.crashes, report.unwatched_crashes), (0, 1));
    assert_eq!((report.accuracy, report.suspected.open), (None, 0));
}

#[test]
fn mistakes_of_different_agents_are_no_recurrence() {
    let mut quality = Quality::new(2);
    for agent in 0..2 {
        quality.handle_up(0, agent);
        quality.handle_change(0, Change { agent, to: Standing::Alive });
        quality.handle_change(SECOND, Change { agent, to: Standing::Suspect });
    }
    let report = quality.finish(100 * SECOND);
    assert_eq!((report.false_suspicions.count, report.false_suspicions.recurrence), (2, None));
    assert_eq!(mean(report.false_suspicions.time_per_mistake), Some(100.0));
    assert_eq!(report.accuracy, Some(0.01));
}
