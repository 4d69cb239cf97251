//! Custom metrics and memory, which pass in the rows form only.

use super::*;

fn remembering() -> PolicySet {
    let engine = Engine::new(limits()).expect("an engine");
    let name = || Some("remembers".to_owned());
    let route = Route { health: name(), cadence: name(), ..Route::default() };
    PolicySet::load(&engine, &Classes::default(), vec![source("remembers")], vec![route], &[])
        .expect("a set")
}

#[test]
fn memory_comes_back_with_the_agent_apart_for_health_and_cadence() {
    let set = remembering();
    let assignment = assign(&set, NORMAL);
    let mut memory = Memory::default();
    let seen = Observation::default();
    let custom = BTreeMap::from([("extra".to_owned(), 7.0)]);
    for beat in 1..=3 {
        // Another worker each time: what is kept, is kept with the agent.
        let answer = Worker::new().evaluate(&set, assignment, NORMAL, &seen, &custom, &mut memory);
        assert_eq!(answer.verdict.score, f64::from(beat) * 10.0);
        assert_eq!(answer.verdict.interval_ms, f64::from(beat) * 1_000.0 + 7.0);
    }
    assert_eq!(memory.columns[0], [30.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(memory.columns[1], [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_metric_that_is_absent_or_nan_is_not_seen() {
    let set = remembering();
    let seen = Observation::default();
    let cases = [(None, 1_000.5), (Some(f64::NAN), 1_000.0), (Some(2.0), 1_002.0)];
    for (value, interval_ms) in cases {
        let custom = value.map(|value| ("extra".to_owned(), value)).into_iter().collect();
        let mut memory = Memory::default();
        let assignment = assign(&set, NORMAL);
        let answer = Worker::new().evaluate(&set, assignment, NORMAL, &seen, &custom, &mut memory);
        assert_eq!(answer.verdict.interval_ms, interval_ms);
    }
}

#[test]
fn what_another_revision_wrote_is_not_handed_in() {
    let set = remembering();
    let mut memory = Memory { revision: [1, 1], columns: [[99.0; 8]; 2] };
    let assignment = assign(&set, NORMAL);
    let seen = Observation::default();
    let answer =
        Worker::new().evaluate(&set, assignment, NORMAL, &seen, &BTreeMap::new(), &mut memory);
    assert_eq!((answer.verdict.score, answer.verdict.interval_ms), (10.0, 1_000.5));
    assert_ne!(memory.revision, [1, 1]);
    assert_eq!(memory.columns[0][2..], [0.0; 6]);
}

#[test]
fn a_batch_keeps_each_agents_memory() {
    let set = remembering();
    let assignment = assign(&set, NORMAL);
    let mut memories: Vec<_> = (0..150).map(|_| Memory::default()).collect();
    let customs: Vec<_> =
        (0..150).map(|at| BTreeMap::from([("extra".to_owned(), f64::from(at))])).collect();
    let mut worker = Worker::new();
    for beat in 1..=2 {
        let mut items: Vec<_> = memories
            .iter_mut()
            .zip(&customs)
            .map(|(memory, custom)| Item {
                assignment,
                class: NORMAL,
                observation: Observation::default(),
                custom,
                memory,
            })
            .collect();
        let mut answers = Vec::new();
        worker.evaluate_batch(&set, &mut items, &mut answers);
        for (at, answer) in (0..150).zip(&answers) {
            assert_eq!(answer.verdict.score, f64::from(beat) * 10.0);
            let expected = f64::from(beat) * 1_000.0 + f64::from(at);
            assert_eq!(answer.verdict.interval_ms, expected);
        }
        let calls = answers.iter().filter(|answer| answer.calls[0].is_some()).count();
        assert_eq!(calls, 3, "150 rows are three calls");
    }
}
