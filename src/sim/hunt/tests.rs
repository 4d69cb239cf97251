//! Runs that must pass, and mistakes that must be found.

use super::*;

/// Seeds of one test run; `pulsegate sim --hunt` goes on. Source: chosen; some 10 s.
const SEEDS: u64 = 60;

fn passes(plan: &Plan) {
    let outcome = run(plan, None, &mut ());
    let violations: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "pulsegate sim {plan}\n{}", violations.join("\n"));
    assert!(outcome.handled > 0, "{plan}");
}

#[test]
fn random_mixes_of_faults_break_no_rule_and_all_comes_well() {
    for seed in 0..SEEDS {
        passes(&Plan::draw(seed));
    }
}

#[test]
fn what_failed_once_does_not_fail_again() {
    for plan in kept().expect("every kept line is a plan") {
        passes(&plan);
    }
}

#[test]
fn one_seed_is_one_history() {
    let plan = Plan { minutes: 60, ..Plan::draw(2) };
    let (first, second) = (run(&plan, None, &mut ()), run(&plan, None, &mut ()));
    assert_eq!((first.digest, first.handled), (second.digest, second.handled));
    let other = run(&Plan { seed: 3, ..plan }, None, &mut ());
    assert_ne!(first.digest, other.digest);
}

/// The first of some seeds that finds a mistake, and by which rule.
fn found(mistake: Mistake, faults: &[Fault]) -> Option<(Plan, &'static str)> {
    (0..20).find_map(|seed| {
        let plan = Plan { seed, agents: 8, minutes: 240, faults: faults.to_vec() };
        let outcome = run(&plan, Some(mistake), &mut ());
        outcome.violations.first().map(|first| (plan, first.rule))
    })
}

#[test]
fn mistakes_of_the_shell_are_found_by_the_rule_that_they_break() {
    let kills = [Fault::Kill, Fault::SlowDisk, Fault::Erratic, Fault::MassRestart];
    let leases = [Fault::Kill, Fault::SlowDisk, Fault::Lease, Fault::Crash, Fault::Partition];
    for (mistake, faults, rules) in [
        (Mistake::AnswersBeforeDurable, &kills[..], &["acknowledged_is_durable"][..]),
        (
            Mistake::TimePassesWhileStalled,
            &[Fault::Stall],
            &["observed_silence", "obeying_is_never_suspect"],
        ),
        (Mistake::LateDeadlines, &[Fault::Crash], &["silence_is_noticed"]),
        (
            Mistake::LosesEvents,
            &[Fault::Kill, Fault::Crash],
            &["replay_equals_live", "acknowledged_is_durable"],
        ),
        (Mistake::ForgetsLeases, &leases, &["leases"]),
        (Mistake::TellsGrantsEarly, &leases, &["leases"]),
    ] {
        let found = found(mistake, faults);
        let rule = found.as_ref().map(|(_, rule)| *rule);
        assert!(rule.is_some_and(|rule| rules.contains(&rule)), "{mistake:?}: {found:?}");
    }
}

#[test]
fn a_run_that_fails_is_made_smaller_and_still_fails() {
    let mistake = Some(Mistake::TimePassesWhileStalled);
    let faults = vec![Fault::Loss, Fault::Duplicates, Fault::Surge, Fault::Stall, Fault::Drift];
    let plan = Plan { seed: 1, agents: 12, minutes: 400, faults };
    let rule = run(&plan, mistake, &mut ()).violations.first().map(|first| first.rule);
    let rule = rule.expect("it fails");
    let small = shrink(&plan, rule, mistake, 200);
    assert_eq!(small.faults, [Fault::Stall]);
    assert!(small.agents < plan.agents && small.minutes < plan.minutes, "{small}");
    let again = run(&small, mistake, &mut ());
    assert_eq!(again.violations.first().map(|first| first.rule), Some(rule));
}
