//! Heartbeats as bodies of HTTP: JSON and protobuf, one and many.

use prost::Message as _;
use pulsegate_gateway::admission::{self, Checked, Format};
use pulsegate_wire::{
    AckOutcome, AgentId, Batch, Code, Heartbeat, ProbeKind, Reason, SCHEMA, Status, limits,
};

use crate::problem::assert_clear;

/// The body of `POST /v1/heartbeats` in JSON.
pub fn heartbeat_json(bytes: &[u8]) {
    heartbeat(Format::Json, bytes);
}

/// The body of `POST /v1/heartbeats` in protobuf.
pub fn heartbeat_protobuf(bytes: &[u8]) {
    heartbeat(Format::Protobuf, bytes);
}

/// The body of `POST /v1/heartbeats/batch` in JSON.
pub fn batch_json(bytes: &[u8]) {
    batch(Format::Json, bytes);
}

/// The body of `POST /v1/heartbeats/batch` in protobuf.
pub fn batch_protobuf(bytes: &[u8]) {
    batch(Format::Protobuf, bytes);
}

fn heartbeat(format: Format, bytes: &[u8]) {
    let name = admission::named(format, bytes);
    assert!(name.is_empty() || AgentId::check(&name).is_ok(), "{name:?}");
    match admission::heartbeat(format, bytes) {
        Ok(heartbeat) => {
            assert_eq!(name, heartbeat.agent_id);
            assert_within_limits(&heartbeat);
            assert_same_in_both_forms(&heartbeat);
        }
        Err(problem) => assert_clear(&problem),
    }
}

fn batch(format: Format, bytes: &[u8]) {
    let checked = match admission::batch(format, bytes) {
        Ok(checked) => checked,
        Err(problem) => {
            assert_clear(&problem);
            let codes = [Code::Malformed, Code::FieldInvalid, Code::TooLarge];
            return assert!(problem.code().is_some_and(|code| codes.contains(&code)));
        }
    };
    assert!(checked.len() <= limits::BATCH_ITEMS);
    let items = admission::items(format, bytes);
    assert_eq!(items.len(), checked.len(), "a dead letter finds its heartbeat by its place");
    for (item, checked) in items.iter().zip(&checked) {
        assert_as_alone(format, item, checked);
    }
    let taken: Vec<Heartbeat> = checked.into_iter().flatten().collect();
    let body = Batch { heartbeats: taken.clone() }.encode_to_vec();
    let again = admission::batch(Format::Protobuf, &body).expect("what was taken is taken again");
    assert_eq!(again.into_iter().flatten().collect::<Vec<_>>(), taken);
}

/// A heartbeat of a batch is judged as if it had come alone.
fn assert_as_alone(format: Format, item: &[u8], checked: &Checked) {
    match (admission::heartbeat(format, item), checked) {
        (Ok(alone), Ok(heartbeat)) => assert_eq!(alone, *heartbeat),
        (Err(alone), Err((name, problem))) => {
            assert_eq!(alone, *problem);
            assert_clear(problem);
            assert_eq!(*name, admission::named(format, item));
        }
        (alone, checked) => panic!("alone {alone:?}, in a batch {checked:?}"),
    }
}

/// Numbers of enumerations that this build does not know stand for a known one.
fn known(heartbeat: &Heartbeat) -> Heartbeat {
    let mut known = heartbeat.clone();
    known.reason = Reason::from_number(known.reason) as i32;
    known.status = Status::from_number(known.status) as i32;
    for ack in &mut known.command_acks {
        ack.outcome = AckOutcome::from_number(ack.outcome) as i32;
    }
    if let Some(probe) = &mut known.probe {
        probe.kind = ProbeKind::from_number(probe.kind) as i32;
    }
    known
}

fn assert_same_in_both_forms(heartbeat: &Heartbeat) {
    let protobuf = admission::heartbeat(Format::Protobuf, &heartbeat.encode_to_vec());
    assert_eq!(protobuf.as_ref(), Ok(heartbeat));
    let body = serde_json::to_vec(heartbeat).expect("a heartbeat has a JSON form");
    let json = admission::heartbeat(Format::Json, &body);
    assert_eq!(json, Ok(known(heartbeat)), "{}", String::from_utf8_lossy(&body));
}

/// Every limit of the wire, written down once more: what is taken keeps them all.
fn assert_within_limits(heartbeat: &Heartbeat) {
    assert!(heartbeat.schema <= SCHEMA);
    assert!(AgentId::check(&heartbeat.agent_id).is_ok());
    assert!(heartbeat.agent_id.len() <= limits::AGENT_ID_BYTES);
    let metrics = heartbeat.metrics.clone().unwrap_or_default();
    let progress = heartbeat.progress.clone().unwrap_or_default();
    let integers = [
        Some(heartbeat.incarnation),
        Some(heartbeat.sequence),
        Some(heartbeat.sent_at_ms),
        Some(heartbeat.directive_seen),
        metrics.queue_depth,
        metrics.active_tasks,
        metrics.memory_bytes,
        metrics.error_count,
        Some(progress.watermark),
        progress.stall_after_ms,
    ];
    assert!(integers.into_iter().flatten().all(|integer| integer <= limits::INTEGER));
    for percent in [metrics.cpu_percent, progress.percent].into_iter().flatten() {
        assert!((0.0..=100.0).contains(&percent));
    }
    assert!(metrics.latency_ms.is_none_or(|latency| latency.is_finite() && latency >= 0.0));
    assert!(metrics.custom.len() <= limits::CUSTOM_METRICS);
    for (name, value) in &metrics.custom {
        assert!(is_name(name) && value.is_finite());
    }
    assert!(is_text(&progress.task, limits::TASK_BYTES));
    assert!(progress.stall_after_ms.is_none_or(|stall| stall >= limits::STALL_AFTER_MIN_MS));
    assert!(heartbeat.command_acks.len() <= limits::COMMAND_ACKS);
    for ack in &heartbeat.command_acks {
        assert!(!ack.id.is_empty() && is_text(&ack.id, limits::COMMAND_ID_BYTES));
        assert!(is_text(&ack.detail, limits::ACK_DETAIL_BYTES));
    }
    let registration = heartbeat.clone().take_registration().unwrap_or_default();
    crate::registration::assert_within_limits(&registration);
}

/// A word for machines.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c))
}

/// A text for people.
pub(crate) fn is_text(text: &str, limit: usize) -> bool {
    text.len() <= limit && !text.chars().any(char::is_control)
}
