//! Runs that must pass, and mistakes that must be found.

use super::*;

/// Seeds of one test run. Source: chosen; some 20 s in a debug build.
const SEEDS: u64 = 30;

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

struct Loud((), u32);
impl crate::world::Observer for Loud {
    fn started(&mut self, now: Micros, agent: u32) {
        if agent == self.1 {
            eprintln!("{now} started");
        }
    }
    fn ended(&mut self, now: Micros, agent: u32, g: bool) {
        if agent == self.1 {
            eprintln!("{now} ended {g}");
        }
    }
    fn paused(&mut self, now: Micros, agent: u32, p: bool) {
        if agent == self.1 {
            eprintln!("{now} paused {p}");
        }
    }
    fn sent(&mut self, now: Micros, r: &crate::server::Request, good: bool) {
        if r.agent == self.1 {
            eprintln!("{now} sent {r:?} {good}");
        }
    }
    fn arrived(&mut self, now: Micros, r: &crate::server::Request) {
        if r.agent == self.1 {
            eprintln!("{now} arrived {} {} {:?}", r.incarnation, r.sequence, r.why);
        }
    }
    fn refused(&mut self, now: Micros, r: &crate::server::Request) {
        if r.agent == self.1 {
            eprintln!("{now} refused {} {}", r.incarnation, r.sequence);
        }
    }
    fn answered(&mut self, now: Micros, r: &crate::server::Reply) {
        if r.agent == self.1 {
            eprintln!("{now} answered {r:?}");
        }
    }
    fn changed(&mut self, now: Micros, c: crate::server::Change) {
        if c.agent == self.1 {
            eprintln!("{now} changed {c:?}");
        }
    }
    fn served(&mut self, now: Micros, up: bool) {
        eprintln!("{now} served {up}");
    }
    fn stalled(&mut self, now: Micros, l: Micros) {
        eprintln!("{now} stalled {l}");
    }
}

#[test]
#[ignore]
fn debug() {
    let line = std::env::var("PLAN").unwrap();
    let agent: u32 = std::env::var("AGENT").unwrap().parse().unwrap();
    let until: u64 = std::env::var("UNTIL").unwrap().parse().unwrap();
    let plan: Plan = line.parse().unwrap();
    let gateway = Gateway::new(plan.options(None)).unwrap();
    let mut world = World::new(&plan.setting(), gateway, Loud((), agent));
    world.run_until(until);
}

#[test]
#[ignore]
fn debug2() {
    for seed in 0..60 {
        let faults =
            vec![Fault::Kill, Fault::SlowDisk, Fault::Lease, Fault::Crash, Fault::Partition];
        let plan = Plan { seed, agents: 8, minutes: 240, faults };
        let kills =
            plan.setting().script.iter().filter(|(_, a)| *a == crate::world::Act::Crash).count();
        let outcome = run(&plan, Some(Mistake::TellsGrantsEarly), &mut ());
        eprintln!("{seed} kills {kills} {:?}", outcome.violations.first().map(|f| f.rule));
    }
}
