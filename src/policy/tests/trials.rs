//! Revisions that sets share, and those on trial: in shadow, and as canaries.

use super::*;

fn revision(engine: &Engine, name: &str, component_of: &str) -> Revision {
    let source = Source { name: name.into(), ..source(component_of) };
    Revision::admit(engine, source, &Classes::default(), &executors()).expect("it is admitted")
}

fn assemble(engine: &Engine, named: Vec<Named>, routes: Vec<Route>) -> Result<PolicySet, Error> {
    PolicySet::assemble(engine, &Classes::default(), named, routes, &executors())
}

fn named(enforced: Option<&Revision>, candidate: Option<(&Revision, Share)>) -> Named {
    let candidate = candidate.map(|(revision, share)| (revision.clone(), share));
    Named { name: "p".into(), enforced: enforced.cloned(), candidate }
}

fn to_p() -> Route {
    Route { cadence: Some("p".into()), ..Route::default() }
}

fn engine() -> Engine {
    Engine::new(limits()).expect("an engine")
}

/// What is enforced of an agent's cadence, as revision, by its hash and labels.
fn obeyed(set: &PolicySet, hash: u64, labels: &[(&str, &str)]) -> String {
    let labels = labels.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let agent = Agent { tenant: TenantId(0), class: NORMAL, labels: &labels, hash };
    let entry = set.entry(set.assign_agent(&agent));
    set.policy(entry.cadence).map_or_else(String::new, |policy| policy.revision.clone())
}

fn watch(set: &PolicySet, worker: &mut Worker, memory: &mut Memory, depth: f64) -> Watched {
    let seen = with_queue(depth);
    let watching = Watching {
        assignment: assign(set, NORMAL),
        class: NORMAL,
        observation: &seen,
        custom: &BTreeMap::new(),
        enforced: (pulsegate_wire::Health::Healthy, 30_000.0),
    };
    worker.watch(set, &watching, memory)
}

#[test]
fn a_swap_keeps_what_both_sets_have_warm_and_counted() {
    let engine = engine();
    let (steady, queue) =
        (revision(&engine, "p", "steady"), revision(&engine, "p", "queue-pressure"));
    let mut worker = Worker::new();
    let first = assemble(&engine, vec![named(Some(&steady), None)], vec![to_p()]).expect("a set");
    evaluate(&mut worker, &first, &with_queue(0.0));
    let instances = engine.shared.calls.count();
    let trial = Some((&queue, Share::Percent(1)));
    let second = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]).expect("a set");
    evaluate(&mut worker, &second, &with_queue(0.0));
    assert_eq!(engine.shared.calls.count(), instances, "the warm instance serves both sets");
    assert_eq!(steady.counts().calls, 2);
    let third = assemble(&engine, vec![named(Some(&queue), None)], vec![to_p()]).expect("a set");
    evaluate(&mut worker, &third, &with_queue(0.0));
    assert_eq!(engine.shared.calls.count(), instances, "the other one was dropped");
    assert_eq!((steady.counts().calls, queue.counts().calls), (2, 1));
}

#[test]
fn instances_made_before_are_taken_and_others_are_dropped() {
    let engine = engine();
    let steady = revision(&engine, "p", "steady");
    assert_eq!(engine.shared.calls.count(), 0);
    steady.warm_up(2);
    let classes = Classes::default().iter().count();
    assert_eq!(engine.shared.calls.count(), 2 * classes);
    let set = assemble(&engine, vec![named(Some(&steady), None)], vec![to_p()]).expect("a set");
    let mut worker = Worker::new();
    let answer = evaluate(&mut worker, &set, &with_queue(0.0));
    assert_eq!(set.text(answer.verdict.source).policy, "p");
    assert_eq!(engine.shared.calls.count(), 2 * classes, "none was made for the call");
    steady.cool_down();
    assert_eq!(engine.shared.calls.count(), 1, "the one that a thread has taken stays");
    steady.warm_up(1_000);
    assert_eq!(engine.shared.calls.count(), 65, "64 at most wait");
}

#[test]
fn a_canary_judges_its_share_and_the_rest_keeps_what_it_had() {
    let engine = engine();
    let (steady, queue) =
        (revision(&engine, "p", "steady"), revision(&engine, "p", "queue-pressure"));
    let trial = Some((&queue, Share::Percent(2_500)));
    let set = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]).expect("a set");
    let agents = 0..4_000_u64;
    let canaries = agents.filter(|hash| obeyed(&set, *hash, &[]) == queue.digest().short()).count();
    assert!((800..1_200).contains(&canaries), "{canaries} of 4,000");
    assert!(set.revisions()[1].ends_with(" (canary)"), "{:?}", set.revisions());
    assert_eq!(
        (set.role(1), set.role(2), set.role(0)),
        (Role::Enforced, Role::Canary, Role::Enforced)
    );
    let labels = Share::Labels(BTreeMap::from([("ring".into(), "0".into())]));
    let trial = Some((&queue, labels));
    let set = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]).expect("a set");
    assert_eq!(obeyed(&set, 7, &[("ring", "0")]), queue.digest().short());
    assert_eq!(obeyed(&set, 7, &[("ring", "1")]), steady.digest().short());
}

#[test]
fn a_policy_that_is_not_enforced_leaves_its_agents_to_the_next_route() {
    let engine = engine();
    let (steady, queue) =
        (revision(&engine, "p", "steady"), revision(&engine, "p", "queue-pressure"));
    let other = Named { name: "other".into(), enforced: Some(steady.clone()), candidate: None };
    let routes = || vec![to_p(), Route { cadence: Some("other".into()), ..Route::default() }];
    let shadow = named(None, Some((&queue, Share::Shadow)));
    let set = assemble(&engine, vec![shadow, other.clone()], routes()).expect("a set");
    assert_eq!(obeyed(&set, 1, &[]), steady.digest().short());
    assert!(assign(&set, NORMAL).has_shadow());
    let set = assemble(&engine, vec![named(None, None), other.clone()], routes()).expect("a set");
    assert_eq!(obeyed(&set, 1, &[]), steady.digest().short());
    assert!(!assign(&set, NORMAL).has_shadow());
    let part = named(None, Some((&queue, Share::Percent(5_000))));
    let set = assemble(&engine, vec![part, other], routes()).expect("a set");
    let both: std::collections::BTreeSet<_> = (0..64).map(|hash| obeyed(&set, hash, &[])).collect();
    assert_eq!(both.len(), 2, "some are paced by the canary, the others by the next route");
}

#[test]
fn a_shadow_is_compared_and_never_obeyed() {
    let engine = engine();
    let (steady, queue) =
        (revision(&engine, "p", "steady"), revision(&engine, "p", "queue-pressure"));
    let trial = Some((&queue, Share::Shadow));
    let set = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]).expect("a set");
    let mut worker = Worker::new();
    let mut memory = Memory::default();
    assert_eq!(obeyed(&set, 3, &[]), steady.digest().short());
    let enforced = evaluate(&mut worker, &set, &with_queue(1e6));
    assert_eq!(set.text(enforced.verdict.source).revision, steady.digest().short());
    let watched = watch(&set, &mut Worker::new(), &mut memory, 1e6);
    assert_eq!(watched.difference, Some(Difference::MuchShorter), "{watched:?}");
    assert_eq!((watched.health, watched.health_differs), (None, false), "it only paces");
    let (_, source) = watched.interval.expect("an interval");
    assert_eq!(set.text(source).revision, queue.digest().short());
    let counts = queue.counts();
    assert_eq!((counts.compared, counts.intervals[0], counts.calls), (1, 1, 1));
    assert_eq!((steady.counts().compared, steady.counts().calls), (0, 1));
    assert!(set.revisions()[1].ends_with(" (shadow)"));
}

#[test]
fn a_shadow_that_fails_is_compared_with_nothing_and_breaks_alone() {
    let engine = Engine::new(Limits { breaker_faults: 2, ..limits() }).expect("an engine");
    let (steady, traps) = (revision(&engine, "p", "steady"), revision(&engine, "p", "traps"));
    let trial = Some((&traps, Share::Shadow));
    let set = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]).expect("a set");
    let mut worker = Worker::new();
    let mut memory = Memory::default();
    for _ in 0..2 {
        let watched = watch(&set, &mut worker, &mut memory, 1.0);
        assert_eq!((watched.interval, watched.difference), (None, None));
        assert_eq!(watched.calls[1].expect("it was called").fault, Some(Fault::Trap));
    }
    assert!(traps.is_broken() && !steady.is_broken());
    assert_eq!((traps.counts().faults, traps.counts().compared), ([2, 0, 0, 0], 0));
    let again = traps.afresh();
    assert!(!again.is_broken() && !again.is(&traps));
    assert_eq!((again.counts(), again.digest()), (Counts::default(), traps.digest()));
}

#[test]
fn the_memory_of_a_shadow_is_its_own() {
    let engine = engine();
    let (steady, remembers) =
        (revision(&engine, "p", "steady"), revision(&engine, "p", "remembers"));
    let trial = Some((&remembers, Share::Shadow));
    let set = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]).expect("a set");
    let mut worker = Worker::new();
    let (mut memory, mut kept) = (Memory::default(), Memory::default());
    let of = |watched: Watched| watched.interval.expect("an interval").0;
    let first = of(watch(&set, &mut worker, &mut kept, 1.0));
    let second = of(watch(&set, &mut worker, &mut kept, 1.0));
    assert_ne!(first, second, "it goes on from what it kept");
    assert_eq!(of(watch(&set, &mut worker, &mut memory, 1.0)), first);
}

#[test]
fn a_plan_is_watched_by_its_rungs() {
    use pulsegate_core::{Incident, IncidentKind, Plan};
    let engine = engine();
    let ladder = revision(&engine, "p", "ladder");
    let route = Route { recovery: Some("p".into()), ..Route::default() };
    let shadow = named(None, Some((&ladder, Share::Shadow)));
    let set = assemble(&engine, vec![shadow], vec![route]).expect("a set");
    let incident = Incident {
        kind: IncidentKind::Silence,
        number: 0,
        silent_ms: 91_000,
        missed: 3,
        health: pulsegate_wire::Health::Healthy,
        status: pulsegate_wire::Status::Healthy,
        class: NORMAL,
        reachable: false,
    };
    let mut worker = Worker::new();
    let assignment = assign(&set, NORMAL);
    let (obeyed, call) = worker.propose(&set, assignment, &incident);
    assert_eq!(call, None, "the built-in plan is obeyed");
    let route = Route { recovery: Some("p".into()), ..Route::default() };
    let same = assemble(&engine, vec![named(Some(&ladder), None)], vec![route]).expect("a set");
    let (own, _) = worker.propose(&same, assign(&same, NORMAL), &incident);
    assert_ne!(own.rungs, obeyed.rungs);
    let mut differs = |plan: &Plan| {
        let (outcome, call) = worker.watch_plan(&set, assignment, &incident, plan).expect("it is");
        assert_eq!(call.fault, None);
        outcome.expect("a plan")
    };
    assert_eq!((differs(&own), differs(&obeyed)), (false, true));
}

#[test]
fn a_candidate_must_answer_what_its_routes_ask() {
    let engine = engine();
    let (steady, ladder) = (revision(&engine, "p", "steady"), revision(&engine, "p", "ladder"));
    let trial = Some((&ladder, Share::Shadow));
    let refused = assemble(&engine, vec![named(Some(&steady), trial)], vec![to_p()]);
    assert!(matches!(refused, Err(Error::WrongQuestion { question: "cadence", .. })));
    assert_eq!(ladder.answers(), ["recovery"]);
    let builtin = Named { name: "builtin".into(), ..named(Some(&steady), None) };
    assert!(matches!(assemble(&engine, vec![builtin], Vec::new()), Err(Error::Name { .. })));
}

#[test]
fn settings_change_without_compiling_again_and_may_be_refused() {
    let engine = engine();
    let steady = revision(&engine, "p", "steady");
    let classes = Classes::default();
    let again = steady.readmit(&serde_json::json!({}), &classes, &executors()).expect("it fits");
    assert!(!again.is(&steady) && again.digest() == steady.digest());
    let refused = steady.readmit(&serde_json::json!({"nonsense": 1}), &classes, &executors());
    assert!(matches!(refused, Err(Error::Settings { .. })));
}

#[test]
fn a_revision_of_a_name_that_no_policy_may_have_is_refused() {
    let engine = engine();
    for name in ["", "a b", &"a".repeat(64)] {
        let source = Source { name: name.into(), ..source("steady") };
        let refused = Revision::admit(&engine, source, &Classes::default(), &executors());
        assert!(matches!(refused, Err(Error::Name { .. })), "{name:?}");
    }
}
