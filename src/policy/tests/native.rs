//! The reference policies as native functions and as components: the same bytes, in both forms.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use pulsegate_core::{Incident, IncidentKind};
use pulsegate_sdk::testing::{self, Native};
use pulsegate_wire::{Health, Status};

use super::equality::observations;
use super::*;
use crate::question::Part;

/// A policy both ways, for one class and the same settings.
struct Both {
    native: Box<dyn Native>,
    trial: RefCell<Trial>,
    class: ClassId,
}

fn both(name: &str, native: &testing::Policy, class: ClassId) -> Both {
    let engine = Engine::new(limits()).expect("an engine");
    let classes = Classes::default();
    let executors = ["command", "restart", "replace-vm", "alert"];
    let executors: Vec<(String, u32)> =
        executors.iter().enumerate().map(|(at, id)| ((*id).into(), at as u32 + 1)).collect();
    let settings = serde_json::Value::Null;
    let configuration = loader::configuration(&classes[class], &executors, &settings);
    let candidate = Candidate::load(&engine, name, &component(name)).expect("it loads");
    let trial = candidate.start(&classes[class], &executors, &settings).expect("it starts");
    Both {
        native: native.start(&configuration).expect("it starts"),
        trial: RefCell::new(trial),
        class,
    }
}

fn policies() -> Vec<Both> {
    let all = [
        ("steady", &pulsegate_steady::POLICY),
        ("queue-pressure", &pulsegate_queue_pressure::POLICY),
        ("ladder", &pulsegate_ladder::POLICY),
    ];
    let classes = Classes::default();
    let of = |(name, native)| {
        let ids: Vec<ClassId> = classes.iter().map(|(id, _)| id).collect();
        ids.into_iter().map(move |class| both(name, native, class))
    };
    all.into_iter().flat_map(of).collect()
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn what_they_say_about_themselves_is_the_same() {
    for Both { native, trial, .. } in policies() {
        let (said, trial) = (native.describe(), trial.borrow());
        let Description { name, version, metrics, memory_columns, reasons } = trial.description();
        assert_eq!((said.name, said.revision, said.reasons), (name, version, reasons));
        assert_eq!((said.metrics, said.memory_columns as usize), (metrics, memory_columns));
        assert_eq!(said.early_rules.len(), trial.early_rules().len());
        for (native, wasm) in said.early_rules.iter().zip(trial.early_rules()) {
            assert_eq!((&native.metric, native.above), (&wasm.metric, wasm.above));
            assert_eq!((native.below, native.rearm), (wasm.below, wasm.rearm));
        }
    }
}

#[test]
fn the_same_observation_gives_the_same_bytes_natively_and_in_wasm() {
    let policies = policies();
    let strategy = (observations(), 1..5_usize);
    let outcome = TestRunner::default().run(&strategy, |(seen, count)| {
        let seen = rows::clean_observation(&seen);
        let native_seen = testing::observation(&seen);
        let row = testing::numbers(&native_seen);
        for Both { native, trial, .. } in &policies {
            let mut trial = trial.borrow_mut();
            if let Some(answer) = native.judge(&native_seen) {
                let numbers = [answer.health as u32, answer.reason].map(f64::from);
                let wasm = trial.flat(Part::Health, &seen).expect("an answer");
                prop_assert_eq!(bits(&[numbers[0], numbers[1], answer.score]), bits(&wasm));
                let rows = row.repeat(count);
                let answers = native.judge_rows(rows.clone()).expect("it judges");
                let wasm = trial.rows(Part::Health, rows, count).expect("an answer");
                prop_assert_eq!(bits(&answers), bits(&wasm));
            }
            if let Some(answer) = native.suggest(&native_seen) {
                let numbers = [answer.interval_ms, f64::from(answer.reason)];
                let wasm = trial.flat(Part::Cadence, &seen).expect("an answer");
                prop_assert_eq!(bits(&numbers), bits(&wasm));
                let rows = row.repeat(count);
                let answers = native.suggest_rows(rows.clone()).expect("it paces");
                let wasm = trial.rows(Part::Cadence, rows, count).expect("an answer");
                prop_assert_eq!(bits(&answers), bits(&wasm));
            }
        }
        Ok(())
    });
    outcome.expect("they are equal");
}

#[test]
fn the_same_incident_gives_the_same_plan_natively_and_in_wasm() {
    let policies: Vec<Both> = policies()
        .into_iter()
        .filter(|both| both.trial.borrow().exports() == ["recovery"])
        .collect();
    assert_eq!(policies.len(), 3, "ladder, for each class");
    let words = (0..2_usize, 0..Health::ALL.len(), 0..Status::ALL.len(), any::<bool>());
    let strategy = (words, 0..6_u32, 0..1_u64 << 53, any::<u32>());
    let outcome = TestRunner::default().run(&strategy, |(words, number, silent_ms, missed)| {
        let kinds = [IncidentKind::Silence, IncidentKind::Health];
        for Both { native, trial, class } in &policies {
            let incident = Incident {
                kind: kinds[words.0],
                number,
                silent_ms,
                missed,
                health: Health::ALL[words.1],
                status: Status::ALL[words.2],
                class: *class,
                reachable: words.3,
            };
            let asked = testing::incident(&incident);
            let plan = native.propose(&asked).expect("it plans");
            let wasm = trial.borrow_mut().instance.propose((&incident).into());
            let wasm = wasm.expect("an answer");
            let rungs: Vec<_> =
                plan.rungs.iter().map(|rung| (rung.executor.clone(), rung.wait_ms)).collect();
            let others: Vec<_> =
                wasm.rungs.iter().map(|rung| (rung.executor.clone(), rung.wait_ms)).collect();
            prop_assert_eq!((rungs, plan.reason), (others, wasm.reason));
        }
        Ok(())
    });
    outcome.expect("they are equal");
}
