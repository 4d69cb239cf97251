//! Values: wrong ones name their field and their limit, those at the limit are taken.

use pulsegate_wire::{
    Code, CommandAck, Heartbeat, Metrics, Probe, ProbeKind, Progress, Reason, Status, limits,
};

use super::cases;
use crate::conformance::world::World;

cases! {
    Open:
        a_wrong_value_names_its_field_and_its_limit,
        a_number_that_is_none_is_no_metric,
        values_at_their_limits_are_taken,
        agent_ids_at_their_limits_are_taken,
        an_unknown_schema_is_refused_with_the_one_that_is_known,
        words_that_are_not_known_count_as_the_manual_says;
}

/// What is wrong: the field, the limit, and how to get it wrong.
type Wrong = (&'static str, Option<f64>, fn(&mut Heartbeat));

const MOST: f64 = limits::INTEGER as f64;
const OVER: u64 = limits::INTEGER + 1;

fn metrics(heartbeat: &mut Heartbeat) -> &mut Metrics {
    heartbeat.metrics.get_or_insert_default()
}

fn progress(heartbeat: &mut Heartbeat) -> &mut Progress {
    heartbeat.progress.get_or_insert_default()
}

fn probe(kind: ProbeKind, port: u32, path: &str) -> Option<Probe> {
    Some(Probe { kind: kind as i32, port, path: path.into() })
}

fn ack(id: &str, detail: &str) -> Vec<CommandAck> {
    acks(1, id, detail)
}

fn acks(count: usize, id: &str, detail: &str) -> Vec<CommandAck> {
    vec![CommandAck { id: id.into(), detail: detail.into(), ..CommandAck::default() }; count]
}

/// So many names, each with a value.
fn names<T>(count: usize, value: T) -> impl Iterator<Item = (String, T)>
where
    T: Clone,
{
    (0..count).map(move |number| (format!("n{number}"), value.clone()))
}

const OF_THE_HEARTBEAT: &[Wrong] = &[
    ("agent_id", Some(128.0), |h| h.agent_id.clear()),
    ("agent_id", Some(128.0), |h| h.agent_id = "x".repeat(129)),
    ("agent_id", Some(128.0), |h| h.agent_id = "with space".into()),
    ("agent_id", Some(128.0), |h| h.agent_id = "new\nline".into()),
    ("agent_id", Some(128.0), |h| h.agent_id = "a/b".into()),
    ("agent_id", Some(128.0), |h| h.agent_id = "ä".into()),
    ("agent_id", Some(128.0), |h| h.agent_id = ".".into()),
    ("agent_id", Some(128.0), |h| h.agent_id = "..".into()),
    ("incarnation", Some(MOST), |h| h.incarnation = OVER),
    ("sequence", Some(MOST), |h| h.sequence = u64::MAX),
    ("sent_at_ms", Some(MOST), |h| h.sent_at_ms = OVER),
    ("directive_seen", Some(MOST), |h| h.directive_seen = OVER),
    ("command_acks", Some(16.0), |h| h.command_acks = acks(17, "c", "")),
    ("command_acks.id", None, |h| h.command_acks = ack("", "")),
    ("command_acks.id", Some(64.0), |h| h.command_acks = ack(&"c".repeat(65), "")),
    ("command_acks.id", None, |h| h.command_acks = ack("c\td", "")),
    ("command_acks.detail", Some(256.0), |h| h.command_acks = ack("c", &"d".repeat(257))),
    ("command_acks.detail", None, |h| h.command_acks = ack("c", "two\nlines")),
];

const OF_METRICS_AND_PROGRESS: &[Wrong] = &[
    ("metrics.queue_depth", Some(MOST), |h| metrics(h).queue_depth = Some(OVER)),
    ("metrics.active_tasks", Some(MOST), |h| metrics(h).active_tasks = Some(OVER)),
    ("metrics.memory_bytes", Some(MOST), |h| metrics(h).memory_bytes = Some(OVER)),
    ("metrics.error_count", Some(MOST), |h| metrics(h).error_count = Some(OVER)),
    ("metrics.cpu_percent", Some(100.0), |h| metrics(h).cpu_percent = Some(100.5)),
    ("metrics.cpu_percent", Some(100.0), |h| metrics(h).cpu_percent = Some(-0.5)),
    ("metrics.latency_ms", None, |h| metrics(h).latency_ms = Some(-1.0)),
    ("metrics.custom", Some(16.0), |h| metrics(h).custom = names(17, 1.0).collect()),
    ("metrics.custom", None, |h| metrics(h).custom = [("a b".into(), 1.0)].into()),
    ("metrics.custom", Some(63.0), |h| metrics(h).custom = [("x".repeat(64), 1.0)].into()),
    ("progress.watermark", Some(MOST), |h| progress(h).watermark = OVER),
    ("progress.task", Some(128.0), |h| progress(h).task = "t".repeat(129)),
    ("progress.task", None, |h| progress(h).task = "\u{7}".into()),
    ("progress.percent", Some(100.0), |h| progress(h).percent = Some(101.0)),
    ("progress.stall_after_ms", Some(1_000.0), |h| progress(h).stall_after_ms = Some(999)),
    ("progress.stall_after_ms", Some(MOST), |h| progress(h).stall_after_ms = Some(OVER)),
];

const OF_THE_REGISTRATION: &[Wrong] = &[
    ("class", Some(63.0), |h| h.class = Some(String::new())),
    ("class", Some(63.0), |h| h.class = Some("c".repeat(64))),
    ("class", None, |h| h.class = Some("very critical".into())),
    ("labels", Some(32.0), |h| h.labels = names(33, String::new()).collect()),
    ("labels", None, |h| h.labels = [("re gion".into(), "eu".into())].into()),
    ("labels.region", Some(255.0), |h| h.labels = [("region".into(), "x".repeat(256))].into()),
    ("labels.region", None, |h| h.labels = [("region".into(), "e\0u".into())].into()),
    ("endpoint", Some(255.0), |h| h.endpoint = Some("e".repeat(256))),
    ("capabilities", Some(32.0), |h| h.capabilities = vec!["c".into(); 33]),
    ("capabilities", Some(63.0), |h| h.capabilities = vec![String::new()]),
    ("probe.port", Some(65_535.0), |h| h.probe = probe(ProbeKind::Tcp, 0, "")),
    ("probe.port", Some(65_535.0), |h| h.probe = probe(ProbeKind::Tcp, 65_536, "")),
    ("probe.path", None, |h| h.probe = probe(ProbeKind::Tcp, 80, "/")),
    ("probe.path", None, |h| h.probe = probe(ProbeKind::Http, 80, "//10.0.0.1/")),
    ("probe.path", Some(255.0), |h| h.probe = probe(ProbeKind::Http, 80, &"/".repeat(256))),
];

fn a_wrong_value_names_its_field_and_its_limit(world: &mut World<'_>) {
    for table in [OF_THE_HEARTBEAT, OF_METRICS_AND_PROGRESS, OF_THE_REGISTRATION] {
        for (field, limit, change) in table {
            let mut heartbeat = world.heartbeat(1, 1);
            change(&mut heartbeat);
            let problem = world.refused(&heartbeat, Code::FieldInvalid);
            assert_eq!(problem.field.as_deref(), Some(*field), "{problem:?}");
            assert_eq!(problem.limit, *limit, "{problem:?}");
        }
    }
    assert!(!world.is_known(world.case));
}

fn a_number_that_is_none_is_no_metric(world: &mut World<'_>) {
    let mut heartbeat = world.heartbeat(1, 1);
    metrics(&mut heartbeat).latency_ms = Some(f64::INFINITY);
    let json = format!("{{\"agent_id\":\"{}\",\"metrics\":{{\"latency_ms\":1e999}}}}", world.case);
    let body = world.form().of(json.into_bytes(), world.form().encode(&heartbeat));
    let problem = world.send_unnoted(&body).problem();
    assert_eq!(problem.code(), Some(Code::FieldInvalid));
    assert_eq!(problem.field.as_deref(), Some("metrics.latency_ms"));
    assert!(!world.is_known(world.case));
}

fn values_at_their_limits_are_taken(world: &mut World<'_>) {
    let most = limits::INTEGER;
    let numbers = Heartbeat {
        directive_seen: most,
        sent_at_ms: most,
        metrics: Some(Metrics {
            queue_depth: Some(most),
            active_tasks: Some(most),
            cpu_percent: Some(100.0),
            memory_bytes: Some(most),
            error_count: Some(most),
            latency_ms: Some(1.7e308),
            custom: names(16, -1.7e308).collect(),
        }),
        progress: Some(Progress {
            watermark: most,
            task: "t".repeat(limits::TASK_BYTES),
            percent: Some(100.0),
            stall_after_ms: Some(most),
        }),
        ..world.heartbeat(most, most - 1)
    };
    world.accepted(&numbers);
    let texts = Heartbeat {
        class: Some("c".repeat(limits::NAME_BYTES)),
        labels: names(limits::LABELS, "x".into()).collect(),
        endpoint: Some("e".repeat(limits::ENDPOINT_BYTES)),
        capabilities: vec!["c".into(); limits::CAPABILITIES],
        probe: probe(ProbeKind::Http, 65_535, &format!("/{}", "p".repeat(254))),
        command_acks: acks(limits::COMMAND_ACKS, "c", ""),
        ..world.heartbeat(most, most)
    };
    assert_eq!(world.accepted(&texts).number, most);
}

fn agent_ids_at_their_limits_are_taken(world: &mut World<'_>) {
    let all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-";
    for agent_id in ["x".repeat(limits::AGENT_ID_BYTES), all.into(), "-".into(), "...".into()] {
        let heartbeat = Heartbeat { agent_id: agent_id.clone(), ..world.heartbeat(1, 1) };
        world.accepted(&heartbeat);
        assert!(world.is_known(&agent_id));
    }
}

fn an_unknown_schema_is_refused_with_the_one_that_is_known(world: &mut World<'_>) {
    for schema in [2, u32::MAX] {
        // Whatever else is wrong with it: nobody here knows its fields.
        let newer = Heartbeat { schema, sequence: u64::MAX, ..world.heartbeat(1, 1) };
        let problem = world.refused(&newer, Code::SchemaUnsupported);
        assert_eq!((problem.field.as_deref(), problem.limit), (Some("schema"), Some(1.0)));
    }
    assert!(!world.is_known(world.case));
    let ours = Heartbeat { schema: 1, ..world.heartbeat(1, 1) };
    world.accepted(&ours);
}

fn words_that_are_not_known_count_as_the_manual_says(world: &mut World<'_>) {
    let case = world.case;
    let json = format!(
        "{{\"agent_id\":\"{case}\",\"incarnation\":1,\"sequence\":1,\
         \"status\":\"napping\",\"reason\":\"whim\"}}"
    );
    let protobuf = Heartbeat { status: 99, reason: 99, ..world.heartbeat(1, 1) };
    let body = world.form().of(json.into_bytes(), world.form().encode(&protobuf));
    let directive = world.send(case, &body).directive();
    assert_eq!(directive.throttle, Some(0.5), "an unknown status counts as degraded");
    assert_eq!(world.look(|found| found.info.status), Status::Degraded);
    let early = Heartbeat { reason: Reason::Early as i32, ..world.heartbeat(1, 2) };
    world.accepted(&early);
}
