//! The science page: what this gateway does beside what others do, in numbers that anybody can
//! make again with one command.
//!
//! [`jobs`] are independent of each other: whoever runs them decides on how many threads. What
//! they give goes into [`page`], which writes the page with its tables and plots.

mod check;
mod meter;
mod page;
mod plot;
mod scenarios;

pub use check::{BOUNDS_MS, Kind, Point};
pub use meter::Measured;
pub use page::{page, table};
pub use scenarios::{Detector, Scenario, all as scenarios};

/// One thing to be measured.
#[derive(Clone, Debug)]
pub enum Job {
    /// A point of the check of the simulator itself.
    Check(Kind, u64),
    /// A detector in a scenario, by its index.
    Measure(usize, Detector),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Result {
    /// A point.
    Point(Box<Point>),
    /// A measurement, by the index of its scenario.
    Measured(usize, Detector, Box<Measured>),
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Fleets are smaller by this; 1 for the page.
    pub shrunk: u32,
    /// Most heartbeats of a point of the check.
    pub heartbeats: u64,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { shrunk: 1, heartbeats: 200_000_000, seed: 1 }
    }
}

/// Everything that the page needs, the longest first.
#[must_use]
pub fn jobs(size: Size) -> Vec<Job> {
    let bounds = BOUNDS_MS.iter().rev();
    let mut jobs: Vec<Job> = bounds
        .flat_map(|&bound| [Job::Check(Kind::NfdS, bound), Job::Check(Kind::NfdE, bound)])
        // An estimate cannot be exact enough for no margin at all.
        .filter(|job| !matches!(job, Job::Check(Kind::NfdE, 1_000)))
        .collect();
    for index in 0..scenarios(size.shrunk).len() {
        jobs.extend(Detector::ALL.iter().rev().map(|&detector| Job::Measure(index, detector)));
    }
    jobs
}

/// Does one job.
///
/// # Errors
/// What is wrong with a policy.
pub fn run(job: &Job, size: Size) -> std::result::Result<Result, pulsegate_policy::Error> {
    match *job {
        Job::Check(kind, bound) => {
            Ok(Result::Point(Box::new(check::point(kind, bound, size.heartbeats, size.seed))))
        }
        Job::Measure(index, detector) => {
            let scenarios = scenarios(size.shrunk);
            let measured = scenarios[index].measure(detector, size.seed)?;
            Ok(Result::Measured(index, detector, Box::new(measured)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of it, tiny, so that none rots; what it comes to is for the page.
    #[test]
    fn the_page_has_every_scenario_every_detector_and_every_plot() {
        let size = Size { shrunk: 100, heartbeats: 4_000, seed: 1 };
        let results: Vec<Result> = jobs(size)
            .iter()
            .map(|job| run(job, size).expect("the reference policies load"))
            .collect();
        let page = page(&results, size);
        assert!(!page.contains("{{"), "a place of the template was not filled");
        assert_eq!(page.matches("<svg").count(), 3);
        for scenario in scenarios(size.shrunk) {
            assert!(page.contains(&format!("### `{}`", scenario.name)));
        }
        for detector in Detector::ALL {
            let rows = page.matches(&format!("\n| {} |", detector.name())).count();
            assert_eq!(rows, scenarios(size.shrunk).len(), "{}", detector.name());
        }
    }

    #[test]
    fn a_living_fleet_is_paced_as_its_policy_says() {
        let scenarios = scenarios(20);
        let find = |name: &str| {
            let found = scenarios.iter().find(|scenario| scenario.name == name);
            found.expect("there is such a scenario").measure(Detector::Steady, 1)
        };
        let busy = find("loss-1").expect("the policy loads");
        let idle = find("loss-1-idle").expect("the policy loads");
        assert!((120.0..132.0).contains(&busy.messages), "{}", busy.messages);
        assert!((60.0..68.0).contains(&idle.messages), "{}", idle.messages);
    }
}
