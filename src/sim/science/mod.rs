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
