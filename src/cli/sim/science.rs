//! The science page, and one scenario of it.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use pulsegate_sim::science::{self, Detector, Job, Result as Measured, Size};

use super::super::text::print;
use super::{Bar, Exit, Failure, Outcome};

/// Measures everybody in one scenario.
pub(super) fn scenario(name: &str, seed: u64) -> Outcome {
    let size = Size { seed, ..Size::default() };
    let scenarios = science::scenarios(size.shrunk);
    let index = scenarios.iter().position(|scenario| scenario.name == name).ok_or_else(|| {
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
        Failure::new(
            Exit::Usage,
            format!("no scenario is called {name}; there are {}", names.join(", ")),
        )
    })?;
    print(&format!("pulsegate sim --scenario {name} --seed {seed}\n"));
    print(&format!("{}\n\n", scenarios[index].what));
    let jobs = Detector::ALL.map(|detector| Job::Measure(index, detector));
    let results = measure(&jobs, size)?;
    let rows = Detector::ALL.iter().filter_map(|wanted| {
        results.iter().find_map(|result| match result {
            Measured::Measured(_, detector, row) if detector == wanted => Some((*wanted, &**row)),
            _ => None,
        })
    });
    print(&science::table(&scenarios[index], &rows.collect::<Vec<_>>()));
    Ok(())
}

/// Makes the page.
pub(super) fn page(path: &Path, size: Size) -> Outcome {
    let results = measure(&science::jobs(size), size)?;
    let page = science::page(&results, size);
    std::fs::write(path, page)
        .map_err(|error| Failure::new(Exit::Refused, format!("{}: {error}", path.display())))?;
    eprintln!("{} is written", path.display());
    Ok(())
}

/// Does jobs on all cores; each is one history on one thread, so the results do not depend on how
/// many there are.
fn measure(jobs: &[Job], size: Size) -> Result<Vec<Measured>, Failure> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let bar = Mutex::new(Bar::new(false));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Relaxed)) {
            let result = science::run(job, size);
            let done = {
                let mut results = results.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                results.push(result);
                results.len()
            };
            let mut bar = bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            bar.show(|| format!("{done} of {} measured; {job:?} is done", jobs.len()));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores.min(jobs.len()) {
            scope.spawn(work);
        }
    });
    bar.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let results: Result<Vec<Measured>, _> = results.into_iter().collect();
    results.map_err(|error| Failure::new(Exit::Refused, error))
}
