//! `openapi.json` is kept by hand; here it is held to the routes and to the wire types.

mod events;

use std::collections::BTreeSet;
use std::net::IpAddr;

use pulsegate_wire::view::*;
use pulsegate_wire::*;
use serde_json::{Value, json, to_value};

use super::{pages, routes};

fn document() -> Value {
    serde_json::from_str(pages::OPENAPI).expect("openapi.json is JSON")
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    let served: BTreeSet<(String, String)> = routes()
        .iter()
        .flat_map(|route| {
            route.methods.iter().map(|method| (route.path.to_owned(), (*method).to_owned()))
        })
        .collect();
    assert_eq!(described, served);
}

#[test]
fn the_version_described_is_that_of_the_build() {
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn closed_sets_are_described_word_for_word() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let sets: [(&str, &[&str]); 10] = [
        ("Status", Status::WORDS),
        ("Reason", Reason::WORDS),
        ("State", State::WORDS),
        ("Health", Health::WORDS),
        ("Outcome", Outcome::WORDS),
        ("CommandKind", CommandKind::WORDS),
        ("AckOutcome", AckOutcome::WORDS),
        ("ProbeKind", ProbeKind::WORDS),
        ("IncidentKind", IncidentKind::WORDS),
        ("ActionOutcome", ActionOutcome::WORDS),
    ];
    for (name, words) in sets {
        assert_eq!(schemas[name]["enum"], json!(words), "{name}");
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schemas["Problem"]["properties"]["code"]["enum"], json!(codes));
}

#[test]
fn every_wire_type_is_described_field_by_field() {
    let document = document();
    let mut checker = Checker { document: &document, seen: BTreeSet::new() };
    for (name, full) in samples() {
        checker.check(name, &json!({"$ref": format!("#/components/schemas/{name}")}), &full);
    }
    let described = document["components"]["schemas"].as_object().expect("schemas").keys();
    let described: BTreeSet<String> = described.cloned().collect();
    assert_eq!(described, checker.seen, "a schema that no sample reaches proves nothing");
}

/// Holds a value in which every field is set to its schema, both ways.
struct Checker<'a> {
    document: &'a Value,
    seen: BTreeSet<String>,
}

impl Checker<'_> {
    fn check(&mut self, at: &str, schema: &Value, value: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().expect("a name").to_owned();
            let schema = self.document["components"]["schemas"][&name].clone();
            assert!(schema.is_object(), "{at}: no schema {name}");
            self.seen.insert(name);
            return self.check(at, &schema, value);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let whole = self.united(at, parts, value);
            return self.check(at, &whole, value);
        }
        let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{at}: no type"));
        match (kind, value) {
            ("object", Value::Object(fields)) => self.check_fields(at, schema, fields),
            ("array", Value::Array(items)) => {
                assert!(!items.is_empty(), "{at}: an empty list proves nothing");
                for item in items {
                    self.check(at, &schema["items"], item);
                }
            }
            ("integer", Value::Number(number)) => assert!(!number.is_f64(), "{at}"),
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => {}
            ("string", Value::String(word)) => {
                let words = schema["enum"].as_array();
                let known = words.is_none_or(|words| words.iter().any(|known| known == word));
                assert!(known, "{at}: {word} is not described");
            }
            _ => panic!("{at}: described as {kind}, but it is {value}"),
        }
    }

    /// The one schema that the parts of an `allOf` make for this value: all of their properties,
    /// with those of the kind that the value says it is.
    fn united(&mut self, at: &str, parts: &[Value], value: &Value) -> Value {
        let mut united = json!({"type": "object", "properties": {}, "required": []});
        for part in parts {
            let mut part = part.clone();
            if part["oneOf"].is_array() {
                let mapping = &part["discriminator"]["mapping"];
                let names: Vec<&Value> = part["oneOf"]
                    .as_array()
                    .expect("kinds")
                    .iter()
                    .map(|one| &one["$ref"])
                    .collect();
                assert_eq!(
                    mapping.as_object().map(serde_json::Map::len),
                    Some(names.len()),
                    "{at}"
                );
                let word = value["kind"].as_str().expect("a kind");
                let name = mapping[word].clone();
                assert!(names.contains(&&name), "{at}: {word} is not described");
                part = json!({ "$ref": name });
            }
            let name = part["$ref"].as_str().and_then(|name| name.rsplit('/').next());
            let name = name.unwrap_or_else(|| panic!("{at}: no reference")).to_owned();
            let schema = &self.document["components"]["schemas"][&name];
            assert!(schema.is_object(), "{at}: no schema {name}");
            let properties = schema["properties"].as_object().expect("properties").clone();
            united["properties"].as_object_mut().expect("an object").extend(properties);
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            united["required"].as_array_mut().expect("a list").extend(required);
            self.seen.insert(name);
        }
        united
    }

    fn check_fields(&mut self, at: &str, schema: &Value, fields: &serde_json::Map<String, Value>) {
        let Some(properties) = schema["properties"].as_object() else {
            for value in fields.values() {
                self.check(at, &schema["additionalProperties"], value);
            }
            return;
        };
        let described: BTreeSet<&String> = properties.keys().collect();
        let there: BTreeSet<&String> = fields.keys().collect();
        assert_eq!(described, there, "{at}: fields");
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(properties.contains_key(required.as_str().expect("a name")), "{at}");
        }
        for (name, value) in fields {
            self.check(&format!("{at}.{name}"), &properties[name], value);
        }
    }
}

fn samples() -> Vec<(&'static str, Value)> {
    let value = |sample: Result<Value, serde_json::Error>| sample.expect("it serialises");
    let events = events::one_of_each().into_iter().map(|event| ("Event", value(to_value(event))));
    let mut samples = vec![
        ("Batch", value(to_value(Batch { heartbeats: vec![heartbeat()] }))),
        ("BatchAnswer", value(to_value(BatchAnswer { results: vec![batch_item()] }))),
        ("Registration", value(to_value(registration()))),
        ("AgentPage", value(to_value(agent_page()))),
        ("FleetView", value(to_value(fleet()))),
        ("ExplainView", value(to_value(explain()))),
        ("Acquire", value(to_value(lease::Acquire { holder: "a".into(), ttl_ms: 1, wait_ms: 1 }))),
        ("Renew", value(to_value(lease::Renew { token: 1, ttl_ms: 1 }))),
        ("Release", value(to_value(lease::Release { token: 1 }))),
        ("LeaseHold", value(to_value(lease_hold()))),
        ("Released", value(to_value(lease::Released { released: true }))),
        ("CheckView", value(to_value(lease_check()))),
        ("LeasePage", value(to_value(lease_page()))),
        ("PolicyPage", value(to_value(policies()))),
        ("PolicyMode", value(to_value(PolicyMode { mode: "shadow".into(), revision: text() }))),
        ("PolicyCanary", value(to_value(canary()))),
        ("WatchPage", value(to_value(events::page()))),
        ("JournalView", value(to_value(journal()))),
        ("DeadLetterPage", value(to_value(dead_letters()))),
        ("ReplayView", value(to_value(ReplayView::default()))),
        ("PurgeView", value(to_value(PurgeView::default()))),
    ];
    samples.extend(events);
    samples
}

fn agent_page() -> AgentPage {
    AgentPage { agents: vec![agent()], next: text(), watch: "1-1".to_owned() }
}

fn canary() -> PolicyCanary {
    PolicyCanary { percent: Some(0.5), labels: Some(one("v".to_owned())), revision: text() }
}

fn policies() -> PolicyPage {
    let revision = RevisionView {
        added_at_unix_ms: Some(1),
        role: "shadow".to_owned(),
        answers: vec!["cadence".to_owned()],
        shadow: Some(ShadowView { intervals: one(1), ..ShadowView::default() }),
        taken_back: text(),
        ..RevisionView::default()
    };
    let trial = TrialView {
        revision: "x".to_owned(),
        mode: "canary".to_owned(),
        percent: Some(0.5),
        labels: one("v".to_owned()),
    };
    let policy = PolicyView {
        mode: "enforce".to_owned(),
        enforced: text(),
        trial: Some(trial),
        before: text(),
        revisions: vec![revision],
        ..PolicyView::default()
    };
    PolicyPage { policies: vec![policy] }
}

fn journal() -> JournalView {
    let digest = text();
    JournalView { read_only: text(), snapshot_seq: Some(1), digest, ..JournalView::default() }
}

fn dead_letters() -> DeadLetterPage {
    let letter = DeadLetterView {
        agent_id: "a".to_owned(),
        body: text(),
        body_base64: text(),
        ..DeadLetterView::default()
    };
    DeadLetterPage { dead_letters: vec![letter], next: text() }
}

fn text() -> Option<String> {
    Some("x".to_owned())
}

fn one<T>(value: T) -> std::collections::BTreeMap<String, T> {
    [("key".to_owned(), value)].into()
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        schema: 1,
        agent_id: "a".to_owned(),
        incarnation: 1,
        sequence: 1,
        reason: Reason::Start as i32,
        sent_at_ms: 1,
        status: Status::Busy as i32,
        directive_seen: 1,
        metrics: Some(Metrics {
            queue_depth: Some(1),
            active_tasks: Some(1),
            cpu_percent: Some(0.5),
            memory_bytes: Some(1),
            error_count: Some(1),
            latency_ms: Some(0.5),
            custom: one(0.5),
        }),
        progress: Some(Progress {
            watermark: 1,
            task: "t".to_owned(),
            percent: Some(0.5),
            stall_after_ms: Some(1_000),
        }),
        command_acks: vec![CommandAck {
            id: "c".to_owned(),
            outcome: AckOutcome::Done as i32,
            detail: "d".to_owned(),
        }],
        class: text(),
        labels: one("v".to_owned()),
        endpoint: text(),
        capabilities: vec!["c".to_owned()],
        probe: Some(probe()),
    }
}

fn probe() -> Probe {
    Probe { kind: ProbeKind::Http as i32, port: 80, path: "/".to_owned() }
}

fn registration() -> Registration {
    Registration {
        class: text(),
        labels: one("v".to_owned()),
        endpoint: text(),
        capabilities: vec!["c".to_owned()],
        probe: Some(probe()),
    }
}

fn batch_item() -> BatchItem {
    BatchItem { agent_id: "a".to_owned(), directive: Some(directive()), problem: Some(problem()) }
}

fn problem() -> Problem {
    Problem::on_field("f", "d").with_limit(1.5).with_retry_after_ms(1).with_holder("h")
}

fn directive() -> Directive {
    let rule = EarlyRule { metric: "m".to_owned(), above: Some(0.5), below: Some(0.5), rearm: 0.5 };
    Directive {
        number: 1,
        outcome: Outcome::Stale as i32,
        next_interval_ms: 1,
        suspect_after_ms: 1,
        fail_after_ms: 1,
        beat_early: Some(BeatEarly { min_gap_ms: 1, spread_ms: 1, rules: vec![rule] }),
        retry: vec![1],
        explain: Some(Explain {
            reason: "r".to_owned(),
            bound: "b".to_owned(),
            policy: "p".to_owned(),
            policy_revision: "v".to_owned(),
        }),
        commands: vec![Command {
            id: "c".to_owned(),
            kind: CommandKind::Custom as i32,
            name: "n".to_owned(),
        }],
        leases: vec![LeaseGrant { name: "l".to_owned(), token: 1, ttl_ms: 1 }],
        throttle: Some(0.5),
    }
}

fn lease_hold() -> lease::LeaseHold {
    lease::LeaseHold {
        name: "l".to_owned(),
        holder: "a".to_owned(),
        token: 1,
        ttl_ms: 1,
        waited_ms: 1,
        beat_now: true,
    }
}

fn lease_check() -> lease::CheckView {
    lease::CheckView {
        valid: true,
        verdict: lease::CheckVerdict::Superseded,
        expires_in_ms: Some(1),
    }
}

fn lease_page() -> lease::LeasePage {
    let lease = lease::LeaseView {
        name: "l".to_owned(),
        tenant: "default".to_owned(),
        holder: "a".to_owned(),
        token: 1,
        ttl_ms: 1,
        expires_in_ms: 1,
        waiting: 1,
    };
    lease::LeasePage { leases: vec![lease], next: text() }
}

fn agent() -> AgentView {
    AgentView {
        agent_id: "a".to_owned(),
        tenant: "default".to_owned(),
        state: State::Alive,
        health: Health::Healthy,
        status: Status::Healthy,
        class: "normal".to_owned(),
        class_unknown: text(),
        labels: one("v".to_owned()),
        capabilities: vec!["c".to_owned()],
        endpoint: text(),
        incarnation: 1,
        sequence: 1,
        interval_ms: 1,
        in_force_ms: 1,
        silent_ms: Some(1),
        missed: 1,
        flags: vec!["paused".to_owned()],
        peer: Some(IpAddr::from([127, 0, 0, 1])),
        clock_skew_ms: Some(-1),
        recovery: text(),
    }
}

fn fleet() -> FleetView {
    let agent_id = "a".to_owned();
    let glance = AgentGlance { agent_id, state: State::Alive, health: Health::Healthy };
    FleetView {
        total: 1,
        healthy: 1,
        missing: 0,
        failed: 0,
        stopped: 0,
        agents: vec![glance],
        next: text(),
    }
}

fn explain() -> ExplainView {
    let verdict = VerdictView {
        policy: "p".to_owned(),
        policy_revision: "v".to_owned(),
        reason: "r".to_owned(),
        health: Some(Health::Healthy),
        score: Some(0.5),
        interval_ms: Some(0.5),
    };
    ExplainView {
        agent: agent(),
        deadlines: Some(DeadlinesView { due_in_ms: -1, suspect_in_ms: 1, fail_in_ms: 1 }),
        shadow: Some(WatchedView {
            number: 1,
            health: Some(verdict.clone()),
            cadence: Some(verdict.clone()),
            health_differs: true,
            difference: Some("same".to_owned()),
        }),
        decision: Some(DecisionView {
            decided_at_unix_ms: 1,
            observation: observation(),
            health: verdict.clone(),
            cadence: verdict,
            steps: vec![StepView {
                step: "clamp".to_owned(),
                before_ms: Some(1),
                after_ms: 1,
                text: "t".to_owned(),
            }],
            bound: "none".to_owned(),
            number: 1,
            outcome: Outcome::Accepted,
            next_interval_ms: 1,
            suspect_after_ms: 1,
            fail_after_ms: 1,
        }),
        text: vec!["t".to_owned()],
    }
}

fn observation() -> ObservationView {
    ObservationView {
        now_ms: 1,
        status: Status::Healthy,
        health: Health::Healthy,
        signals: vec!["first".to_owned()],
        interval_ms: 1,
        lateness_ms: -1,
        missed: 1,
        queue_depth: Some(0.5),
        queue_trend: 0.5,
        active_tasks: Some(0.5),
        cpu_percent: Some(0.5),
        memory_bytes: Some(0.5),
        errors: 1,
        latency_ms: Some(0.5),
        progress_age_ms: Some(1),
        fleet_load: 0.5,
    }
}
