//! What a file may hold, what is refused, and what a case means.

use std::collections::BTreeMap;

use pulsegate_core::{Classes, Incident, Observation, Plan, Signals};
use pulsegate_wire::{Health, Status};

use crate::*;

fn read(text: &str) -> File {
    File::read("cases.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(text: &str) -> String {
    File::read("cases.toml", text).expect_err("it must be refused").to_string()
}

/// Answers with what it sees, so that tests can look at it.
struct Mirror {
    shape: Shape,
    seen: Vec<Observation>,
    incidents: Vec<Incident>,
    fails_at: Option<usize>,
}

impl Mirror {
    fn new(memory_columns: usize) -> Self {
        let shape = Shape {
            judges: true,
            paces: true,
            plans: true,
            metrics: vec!["tokens_left".into()],
            memory_columns,
        };
        Self { shape, seen: Vec::new(), incidents: Vec::new(), fails_at: None }
    }
}

impl Policy for Mirror {
    fn shape(&self) -> Shape {
        self.shape.clone()
    }

    fn judge(
        &mut self,
        seen: &Observation,
        metrics: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Judgement, String> {
        self.seen.push(*seen);
        if self.fails_at == Some(self.seen.len()) {
            return Err("trap".into());
        }
        if let Some(column) = memory.first_mut() {
            *column += metrics.get("tokens_left").copied().unwrap_or(1.0);
        }
        let health = if seen.errors > 0 { Health::Unhealthy } else { Health::Healthy };
        let score = memory.first().copied().unwrap_or(seen.queue_depth);
        Ok(Judgement { health, score, reason: "a mirror".into() })
    }

    fn suggest(
        &mut self,
        seen: &Observation,
        _: &BTreeMap<String, f64>,
        memory: &mut [f64],
    ) -> Result<Hint, String> {
        self.seen.push(*seen);
        let kept = memory.first().copied().unwrap_or_default();
        Ok(Hint { interval_ms: f64::from(seen.interval_ms) + kept, reason: "as it is".into() })
    }

    fn propose(&mut self, incident: &Incident) -> Result<Plan, String> {
        self.incidents.push(*incident);
        let rung = pulsegate_core::Rung { executor: "restart".into(), wait_ms: 5 };
        Ok(Plan { rungs: vec![rung], reason: "planned".into() })
    }
}

fn put(text: &str, mirror: &mut Mirror) -> Vec<Answers> {
    let file = read(text);
    let class = file.cases[0].class.find(&Classes::default()).expect("a known class");
    run(&file.cases[0], &class, mirror)
}

#[test]
fn what_is_absent_is_ordinary_and_time_goes_on() {
    let mut mirror = Mirror::new(0);
    let answers = put(
        r#"
        [[case]]
        name = "three beats"
        class = "critical"
        [[case.step]]
        [[case.step]]
        observation = { lateness-ms = 250, queue-depth = 7, signals = ["was-suspect"], errors = 0 }
        [[case.step]]
        repeat = 2
        observation = { interval_ms = 5000, status = "busy" }
        expect = { health = "healthy" }
        "#,
        &mut mirror,
    );
    assert!(answers.iter().all(Answers::is_passed), "{answers:#?}");
    let judged: Vec<_> = mirror.seen.iter().step_by(2).collect();
    let times: Vec<u64> = judged.iter().map(|seen| seen.now_ms).collect();
    assert_eq!(times, [3_600_000, 3_610_250, 3_615_250, 3_620_250]);
    assert_eq!(judged[0].interval_ms, 10_000, "that of the class");
    let reported = Signals::WAS_SUSPECT.with(Signals::HAS_QUEUE_DEPTH);
    assert_eq!(judged[1].signals, reported.with(Signals::HAS_ERROR_COUNT));
    assert_eq!((judged[1].queue_depth, judged[1].lateness_ms), (7.0, 250));
    assert_eq!((judged[3].status, judged[3].signals), (Status::Busy, Signals::default()));
    assert_eq!((answers[2].step, answers[2].repetition), (3, 2));
    assert_eq!(
        answers[1].asked,
        "now_ms = 3610250, signals = [\"was_suspect\"], lateness_ms = 250, queue_depth = 7.0, \
         errors = 0"
    );
}

#[test]
fn cadence_sees_the_health_just_judged_and_so_does_the_next_beat() {
    let mut mirror = Mirror::new(0);
    let answers = put(
        r#"
        [[case]]
        name = "errors"
        [[case.step]]
        observation = { errors = 3 }
        expect = { health = ["degraded", "unhealthy"] }
        [[case.step]]
        [[case.step]]
        observation = { health = "stalled" }
        "#,
        &mut mirror,
    );
    assert!(answers.iter().all(Answers::is_passed), "{answers:#?}");
    let healths: Vec<Health> = mirror.seen.iter().map(|seen| seen.health).collect();
    use Health::{Healthy, Stalled, Unhealthy};
    assert_eq!(healths, [Healthy, Unhealthy, Unhealthy, Healthy, Stalled, Healthy]);
}

#[test]
fn memory_passes_from_beat_to_beat_and_each_question_has_its_own() {
    let mut mirror = Mirror::new(1);
    let answers = put(
        r#"
        [[case]]
        name = "a count"
        [[case.step]]
        repeat = 3
        expect = { score = 3, interval_ms = { max = 30000 } }
        [[case.step]]
        metrics = { tokens_left = 40.5 }
        expect = { score = { min = 43.5, max = 43.5 }, health_reason = "a mirror" }
        "#,
        &mut mirror,
    );
    assert!(answers.iter().all(Answers::is_passed), "{answers:#?}");
    assert!(answers[1].asked.ends_with("metrics.tokens_left = 40.5"), "{}", answers[1].asked);
}

#[test]
fn an_incident_is_filled_in_by_its_kind() {
    let mut mirror = Mirror::new(0);
    let answers = put(
        r#"
        [[case]]
        name = "trouble"
        [[case.step]]
        incident = {}
        expect = { plan = ["restart"], plan_reason = "planned" }
        [[case.step]]
        incident = { kind = "health", number = 4, reachable = true, status = "busy" }
        expect = { plan = [{ executor = "restart", wait_ms = 5 }] }
        "#,
        &mut mirror,
    );
    assert!(answers.iter().all(Answers::is_passed), "{answers:#?}");
    let [silent, ill] = mirror.incidents[..] else { panic!("two") };
    assert_eq!((silent.silent_ms, silent.missed, silent.health), (91_000, 3, Health::Healthy));
    assert_eq!((ill.silent_ms, ill.missed, ill.health), (0, 0, Health::Unhealthy));
    assert_eq!((ill.number, ill.reachable, ill.status), (4, true, Status::Busy));
}

#[test]
fn each_expectation_that_is_missed_is_told_with_the_answer() {
    let missed = |expect: &str, asked: &str| {
        let text = format!("[[case]]\nname = \"it\"\n{asked}\nexpect = {{ {expect} }}\n");
        let answers = put(&text, &mut Mirror::new(0));
        let misses: Vec<String> = answers[0]
            .misses
            .iter()
            .map(|miss| format!("{}: {}: {}", miss.key, miss.expected, miss.answered))
            .collect();
        misses.join("; ")
    };
    assert_eq!(missed("health = \"stalled\"", ""), "health: stalled: healthy");
    assert_eq!(
        missed("health = [\"stalled\", \"degraded\"]", ""),
        "health: stalled or degraded: healthy"
    );
    assert_eq!(missed("score = 1", ""), "score: 1: 0");
    assert_eq!(missed("score = { min = 0.5 }", ""), "score: at least 0.5: 0");
    assert_eq!(missed("health_reason = \"x\"", ""), "health_reason: \"x\": \"a mirror\"");
    assert_eq!(
        missed("interval_ms = { min = 1, max = 2 }, interval_reason = \"x\"", ""),
        "interval_ms: 1 to 2: 30000; interval_reason: \"x\": \"as it is\""
    );
    assert_eq!(missed("interval_ms = { max = 29999 }", ""), "interval_ms: at most 29999: 30000");
    let incident = "incident = {}";
    for (plan, said) in [
        ("[]", "[]"),
        ("[\"alert\"]", "[alert]"),
        ("[{ executor = \"restart\", wait_ms = 6 }]", "[restart (6 ms)]"),
        ("[\"restart\", \"restart\"]", "[restart, restart]"),
    ] {
        let expected = format!("plan: {said}: [restart (5 ms)]");
        assert_eq!(missed(&format!("plan = {plan}"), incident), expected);
    }
    assert_eq!(missed("plan_reason = \"x\"", incident), "plan_reason: \"x\": \"planned\"");
}

#[test]
fn nan_lies_within_no_bounds() {
    let all = Bounds { min: f64::NEG_INFINITY, max: f64::INFINITY };
    assert!(all.hold(f64::INFINITY) && !all.hold(f64::NAN));
}

#[test]
fn a_fault_ends_the_case_and_is_told() {
    let mut mirror = Mirror::new(0);
    mirror.fails_at = Some(3);
    let text = "[[case]]\nname = \"it\"\n[[case.step]]\n[[case.step]]\n\
                [[case.step]]\nexpect = { health = \"healthy\" }\n";
    let answers = put(text, &mut mirror);
    assert_eq!(answers.len(), 2);
    assert_eq!((answers[1].line, answers[1].fault.as_deref()), (4, Some("trap")));
    assert!(!answers[1].is_passed());
}

#[test]
fn what_a_policy_does_not_answer_is_not_expected_of_it() {
    let fault = |change: fn(&mut Shape), step: &str| {
        let mut mirror = Mirror::new(0);
        change(&mut mirror.shape);
        let answers = put(&format!("[[case]]\nname = \"it\"\n{step}\n"), &mut mirror);
        assert!(mirror.seen.is_empty() && mirror.incidents.is_empty());
        answers[0].fault.clone().expect("a fault")
    };
    assert_eq!(
        fault(|shape| shape.judges = false, "expect = { score = 1 }"),
        "score is expected, but the policy does not export health"
    );
    assert_eq!(
        fault(|shape| shape.paces = false, "expect = { interval_ms = 1 }"),
        "interval_ms is expected, but the policy does not export cadence"
    );
    assert_eq!(
        fault(|shape| shape.plans = false, "incident = {}\nexpect = { plan = [] }"),
        "plan is expected, but the policy does not export recovery"
    );
    assert_eq!(
        fault(|_| (), "metrics = { tokens = 1 }\nexpect = { score = 1 }"),
        "the policy reads no custom metric \"tokens\"; it names: tokens_left"
    );
}

#[test]
fn classes_are_found_or_written_out() {
    let class = |text: &str| {
        let text = format!("{text}\n[[case]]\nname = \"it\"\nexpect = {{ score = 1 }}\n");
        read(&text).cases[0].class.find(&Classes::default())
    };
    assert_eq!(class("").expect("normal").interval_ms, 30_000);
    assert_eq!(class("class = \"critical\"").expect("known").interval_ms, 10_000);
    let written = class("[class]\nname = \"gold\"\ninterval_ms = 7000").expect("written");
    assert_eq!((written.name.as_str(), written.interval_ms), ("gold", 7_000));
    assert_eq!(written.detect_within_ms, 90_000, "that of normal");
    let (line, message) = class("\n\nclass = \"gold\"").expect_err("unknown");
    assert_eq!((line, message.contains("critical, normal, background")), (3, true));
}

#[test]
fn settings_and_executors_of_a_case_replace_those_of_the_file() {
    let file = read(
        r#"
        executors = [{ id = "a" }]
        [settings]
        depth = 1
        nested = { list = [1.5, "x", true, 1979-05-27] }
        [[case]]
        name = "first"
        expect = { score = 1 }
        [[case]]
        name = "second"
        settings = {}
        executors = [{ id = "b", wait_ms = 9 }, { id = "c" }]
        expect = { score = 1 }
        "#,
    );
    let settings = serde_json::json!({
        "depth": 1, "nested": { "list": [1.5, "x", true, "1979-05-27"] }
    });
    assert_eq!(file.cases[0].settings, settings);
    assert_eq!(file.cases[0].executors, [("a".to_owned(), 60_000)]);
    assert_eq!(file.cases[1].settings, serde_json::json!({}));
    assert_eq!(file.cases[1].executors, [("b".to_owned(), 9), ("c".to_owned(), 60_000)]);
}

#[test]
fn everything_wrong_is_told_at_once_with_line_and_key() {
    let said = problems(
        r#"clas = "normal"
[[case]]
name = "one"
observation = { queue_dept = 3, status = "bussy", now_ms = 1.5, latency_ms = nan }
expect = { interval_ms = { maximum = 5 }, helth = "healthy" }
[[case]]
name = "one"
repeat = 0
[[case.step]]
incident = { kind = "noise" }
observation = {}
expect = { plan = [] }
[[case]]
"#,
    );
    let expected = r#"cases.toml:1: clas: unknown key; did you mean class?
cases.toml:4: case[0].observation.latency_ms: must be a finite number from 0
cases.toml:4: case[0].observation.now_ms: must be a whole number from 0 to 9007199254740991
cases.toml:4: case[0].observation.queue_dept: unknown key; did you mean queue_depth?
cases.toml:4: case[0].observation.status: "bussy" is not one of healthy, degraded, busy,
  recovering, stopping
cases.toml:5: case[0].expect.helth: unknown key; did you mean health?
cases.toml:5: case[0].expect.interval_ms: must be a number, or a table of min and max, or of
  one of them; "maximum" is neither
cases.toml:6: case[1].name: another case has this name
cases.toml:8: case[1].repeat: belongs into a step, since this case has steps
cases.toml:10: case[1].step[0].incident: a step has either this or observation
cases.toml:12: case[1].step[0].expect.plan: unknown key; known here: health, score,
  health_reason, interval_ms, interval_reason
cases.toml:13: case[2].name: is needed: what the case claims"#;
    let mut said: Vec<&str> = said.lines().collect();
    let expected = expected.replace("\n  ", " ");
    let mut expected: Vec<&str> = expected.lines().collect();
    said.sort_unstable();
    expected.sort_unstable();
    assert_eq!(said, expected);
}

#[test]
fn each_kind_of_nonsense_has_its_own_text() {
    let case = |body: &str| problems(&format!("[[case]]\nname = \"it\"\n{body}\n"));
    for (said, wanted) in [
        (problems(""), "cases.toml: holds no case: a case begins with [[case]]"),
        (problems("case = 3"), "cases.toml:1: case: must be a list of tables: begin with [[case]]"),
        (problems("case = [3]"), "cases.toml:1: case[0]: must be a table"),
        (problems("a ="), "cases.toml:1: "),
        (problems(&"#".repeat(FILE_BYTES + 1)), "cases.toml: 1048577 bytes, at most 1048576"),
        (case(""), "cases.toml:1: case[0]: expects nothing: it could not fail"),
        (case("expect = {}"), "case[0].expect: names nothing"),
        (case("expect = 3"), "case[0].expect: must be a table"),
        (case("repeat = 1001\nexpect = { score = 1 }"), "a whole number from 1 to 1000"),
        (case("expect = { score = { min = 3, max = 2 } }"), "no number is from 3 to 2"),
        (case("expect = { score = {} }"), "must be a number, or a table"),
        (case("expect = { score = { min = \"a\" } }"), "min must be a finite number"),
        (case("expect = { health = [] }"), "is a list of nothing"),
        (case("expect = { health_reason = 3 }"), "must be a text"),
        (case("observation = { signals = \"idle\" }"), "must be a list of words"),
        (case("observation = { signals = [\"idel\"] }"), "\"idel\" is not one of first, "),
        (case("observation = { cpu_percent = 101 }"), "must be a number from 0 to 100"),
        (case("observation = { queue_depth = 1, queue-depth = 2 }"), "stands here twice"),
        (case("incident = { reachable = 1 }"), "must be true or false"),
        (case("incident = { king = \"health\" }"), "unknown key; did you mean kind?"),
        (case("incident = {}\nmetrics = {}"), "an incident has none"),
        (case("incident = {}\nexpect = { plan = 3 }"), "must be a list of ids of executors"),
        (case("incident = {}\nexpect = { plan = [{ wait_ms = 1 }] }"), "executor is needed"),
        (case("settings = 3"), "case[0].settings: must be a table"),
        (case("executors = 3"), "must be a list of tables of id and wait_ms"),
        (case("executors = [{ id = \"a\", wait_ms = -1 }]"), "wait_ms must be a whole number"),
        (case("executors = [{ id = \"a\", w = 1 }]"), "unknown key \"w\""),
        (case("executors = [{ id = \"a\" }, { id = \"a\" }]"), "two executors are called \"a\""),
        (case("class = 3"), "case[0].class: must be a table"),
        (case("class = { name = \"\" }"), "must be a text of 1 to 63 bytes"),
        (case("class = { cap_ms = 1 }"), "unknown key; known here: name"),
        (case("metrics = { a = \"b\" }"), "case[0].metrics.a: must be a finite number"),
        (problems("[[case]]\nname = \"a\\nb\"\n"), "must be a text of one line"),
    ] {
        assert!(said.contains(wanted), "{wanted}\nis missing in\n{said}");
    }
    let many = "[[case]]\n".repeat(CASES_MAX + 1);
    assert!(problems(&many).contains("1001 tables, at most 1000"));
    assert!(problems(&many).lines().count() <= 50);
}
