//! Which agents get which policies.

use super::*;

fn three() -> PolicySet {
    let engine = Engine::new(limits()).expect("an engine");
    let sources = vec![source("steady"), source("queue-pressure"), source("ladder")];
    let routes = vec![
        Route {
            agents: Match {
                classes: vec!["background".into()],
                labels: BTreeMap::from([("kind".into(), "batch".into())]),
                ..Match::default()
            },
            cadence: Some("queue-pressure".into()),
            ..Route::default()
        },
        Route {
            agents: Match { tenant: Some(TenantId(7)), ..Match::default() },
            health: Some("builtin".into()),
            ..Route::default()
        },
        Route {
            health: Some("steady".into()),
            cadence: Some("steady".into()),
            recovery: Some("ladder".into()),
            ..Route::default()
        },
    ];
    PolicySet::load(&engine, &Classes::default(), sources, routes, &executors()).expect("a set")
}

fn assigned(set: &PolicySet, tenant: u16, class: u8, labels: &[(&str, &str)]) -> [u16; 3] {
    let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let entry = set.entry(set.assign(TenantId(tenant), ClassId(class), &labels));
    [entry.health, entry.cadence, entry.recovery]
}

#[test]
fn the_first_route_that_matches_decides_for_each_question_apart() {
    let set = three();
    assert_eq!(assigned(&set, 0, 1, &[]), [1, 1, 3]);
    assert_eq!(assigned(&set, 7, 1, &[]), [0, 1, 3]);
    assert_eq!(assigned(&set, 0, 2, &[("kind", "batch")]), [1, 2, 3]);
    assert_eq!(assigned(&set, 7, 2, &[("kind", "batch"), ("more", "x")]), [0, 2, 3]);
    assert_eq!(assigned(&set, 0, 1, &[("kind", "batch")]), [1, 1, 3], "another class");
    assert_eq!(assigned(&set, 0, 2, &[("kind", "web")]), [1, 1, 3], "another label");
}

#[test]
fn without_routes_the_built_in_policy_answers_everything() {
    let engine = Engine::new(limits()).expect("an engine");
    let set = PolicySet::load(&engine, &Classes::default(), Vec::new(), Vec::new(), &executors())
        .expect("a set");
    assert_eq!(assigned(&set, 0, 1, &[]), [0, 0, 0]);
    let mut worker = Worker::new();
    let answer = evaluate(&mut worker, &set, &with_queue(0.0));
    assert_eq!((answer.verdict.interval_ms, answer.calls), (30_000.0, [None; 2]));
    assert_eq!(set.names(), ["builtin"]);
}

#[test]
fn early_rules_come_from_the_cadence_policy_of_the_assignment() {
    let set = three();
    let labels = BTreeMap::from([("kind".to_owned(), "batch".to_owned())]);
    let rules = set.early_rules(set.assign(TenantId(0), ClassId(2), &labels));
    assert_eq!(rules.len(), 2);
    assert!(rules.iter().all(|rule| rule.metric == "queue_depth" && rule.above.is_some()));
    assert!(set.early_rules(assign(&set, NORMAL)).is_empty());
}

#[test]
fn a_source_has_a_name_a_revision_and_a_text() {
    let set = three();
    let answer = evaluate(&mut Worker::new(), &set, &with_queue(0.0));
    let text = set.text(answer.verdict.source);
    assert_eq!((text.policy, text.reason), ("steady", "default interval of the class"));
    assert_eq!(text.revision.len(), 12);
    let text = set.text(Default::default());
    assert_eq!((text.policy, text.revision), ("builtin", ""));
    assert!(!text.reason.is_empty());
}

#[test]
fn a_worker_follows_from_one_set_to_the_next() {
    let (first, second) = (three(), paced_by(limits(), "queue-pressure"));
    assert_ne!(first.generation(), second.generation());
    let mut worker = Worker::new();
    let name = |set: &PolicySet, worker: &mut Worker| {
        let source = evaluate(worker, set, &with_queue(0.0)).verdict.source;
        set.text(source).policy.to_owned()
    };
    assert_eq!(name(&first, &mut worker), "steady");
    assert_eq!(name(&second, &mut worker), "queue-pressure");
    assert_eq!(name(&first, &mut worker), "steady");
}

#[test]
fn an_assignment_of_another_set_is_understood_as_the_default() {
    let set = paced_by(limits(), "steady");
    let mut memory = Memory::default();
    let seen = with_queue(0.0);
    let class = ClassId(250);
    let answer = Worker::new().evaluate(
        &set,
        Assignment { entry: u16::MAX, shadow: 0 },
        class,
        &seen,
        &BTreeMap::new(),
        &mut memory,
    );
    assert_eq!(answer.verdict.source.policy, 0);
}
