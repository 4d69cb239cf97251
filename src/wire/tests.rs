//! What is promised about messages: both forms carry the same, and bad input is named.

extern crate std;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions, Value};

use crate::{
    AckOutcome, Answer, Answered, Batch, ClientFrame, Code, Command, CommandAck, Directive,
    EarlyRule, Explain, FrameError, FromClient, FromServer, Heartbeat, Hello, LeaseGrant, Metrics,
    PROTO, Probe, Problem, Progress, Push, Registration, ServerFrame, Status, Welcome,
    frame_length, limits,
};

/// The published .proto, read by a parser that nobody here wrote.
fn published() -> DescriptorPool {
    struct Published;
    impl protox::file::FileResolver for Published {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            protox::file::File::from_source(name, PROTO)
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(Published);
    compiler.open_file("pulsegate.proto").unwrap();
    compiler.descriptor_pool()
}

/// Reads our bytes by the published form, strictly, and gives them as published JSON.
fn as_published(message: &impl Message, name: &str) -> serde_json::Value {
    let descriptor = published().get_message_by_name(&format!("pulsegate.v1.{name}")).unwrap();
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap();
    assert_eq!(dynamic.unknown_fields().count(), 0, "fields that the .proto does not publish");
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

fn full_heartbeat() -> Heartbeat {
    Heartbeat {
        schema: 1,
        agent_id: "agent-1".into(),
        incarnation: limits::INTEGER,
        sequence: 7,
        reason: 2,
        sent_at_ms: 8,
        status: 3,
        directive_seen: 6,
        metrics: Some(Metrics {
            queue_depth: Some(1),
            active_tasks: Some(2),
            cpu_percent: Some(3.5),
            memory_bytes: Some(4),
            error_count: Some(5),
            latency_ms: Some(6.5),
            custom: BTreeMap::from([("tokens".to_string(), 7.5)]),
        }),
        progress: Some(Progress {
            watermark: 9,
            task: "index".into(),
            percent: Some(50.0),
            stall_after_ms: Some(60_000),
        }),
        command_acks: vec![CommandAck {
            id: "c1".into(),
            outcome: AckOutcome::Unsupported as i32,
            detail: "no".into(),
        }],
        class: Some("critical".into()),
        labels: BTreeMap::from([("region".to_string(), "eu".to_string())]),
        endpoint: Some("10.0.0.1:80".into()),
        capabilities: vec!["gpu".into()],
        probe: Some(Probe { kind: 1, port: 80, path: "/live".into() }),
    }
}

fn full_directive() -> Directive {
    Directive {
        number: 7,
        outcome: 1,
        next_interval_ms: 30_000,
        suspect_after_ms: 50_000,
        fail_after_ms: 91_000,
        beat_early: Some(crate::BeatEarly {
            min_gap_ms: 5_000,
            spread_ms: 200,
            rules: vec![EarlyRule {
                metric: "queue_depth".into(),
                above: Some(100.0),
                below: Some(1.0),
                rearm: 50.0,
            }],
        }),
        retry: vec![1_000, 2_000],
        explain: Some(Explain {
            reason: "queue rises".into(),
            bound: "slew".into(),
            policy: "steady".into(),
            policy_revision: "0123456789ab".into(),
        }),
        commands: vec![Command { id: "c1".into(), kind: 4, name: "rotate".into() }],
        leases: vec![LeaseGrant { name: "leader".into(), token: 5, ttl_ms: 10_000 }],
        throttle: Some(0.5),
    }
}

/// Words of JSON stand in the published form as `PREFIX_WORD`.
fn same_but_for_enumerations(ours: &serde_json::Value, published: &serde_json::Value, path: &str) {
    use serde_json::Value as Json;
    match (ours, published) {
        (Json::Object(ours), Json::Object(published)) => {
            for (key, value) in published {
                let key_in_json =
                    if key == "kind" && ours.contains_key("type") { "type" } else { key };
                let mine =
                    ours.get(key_in_json).unwrap_or_else(|| panic!("{path}.{key} is missing"));
                same_but_for_enumerations(mine, value, &format!("{path}.{key}"));
            }
            assert_eq!(ours.len(), published.len(), "{path}: {ours:?} against {published:?}");
        }
        (Json::Array(ours), Json::Array(published)) => {
            assert_eq!(ours.len(), published.len(), "{path}");
            for (mine, theirs) in ours.iter().zip(published) {
                same_but_for_enumerations(mine, theirs, path);
            }
        }
        (Json::String(word), Json::String(name)) if word != name => {
            assert!(name.ends_with(&format!("_{}", word.to_uppercase())), "{path}: {word}, {name}");
        }
        (Json::Number(mine), Json::Number(theirs)) => {
            assert_eq!(mine.as_f64(), theirs.as_f64(), "{path}");
        }
        _ => assert_eq!(ours, published, "{path}"),
    }
}

fn both_forms_agree(message: &(impl Message + serde::Serialize), name: &str) {
    let json = serde_json::to_value(message).unwrap();
    same_but_for_enumerations(&json, &as_published(message, name), name);
}

#[test]
fn every_field_of_a_message_is_published_under_the_same_name() {
    both_forms_agree(&full_heartbeat(), "Heartbeat");
    both_forms_agree(&full_directive(), "Directive");
    both_forms_agree(&full_heartbeat().take_registration().unwrap(), "Registration");
    both_forms_agree(&Batch { heartbeats: vec![full_heartbeat()] }, "Batch");
    let problem = Problem::on_field("class", "is odd").with_limit(3.0).with_retry_after_ms(9);
    let problem = problem.with_holder("a");
    both_forms_agree(&problem, "Problem");
}

/// One of each frame, with every field set.
fn full_frames() -> Vec<(&'static str, Vec<u8>)> {
    let client = |frame| ClientFrame { frame: Some(frame) }.encode_to_vec();
    let server = |frame| ServerFrame { frame: Some(frame) }.encode_to_vec();
    vec![
        ("ClientFrame", client(FromClient::Hello(full_hello()))),
        ("ClientFrame", client(FromClient::Heartbeat(full_heartbeat().into()))),
        ("ServerFrame", server(FromServer::Welcome(Welcome { frame_bytes: 1, in_flight: 2 }))),
        ("ServerFrame", server(FromServer::Answer(full_answer(true).into()))),
        ("ServerFrame", server(FromServer::Answer(full_answer(false).into()))),
        ("ServerFrame", server(FromServer::Push(full_push()))),
    ]
}

fn full_hello() -> Hello {
    Hello { token: "0123456789abcdef".into() }
}

fn full_answer(is_directive: bool) -> Answer {
    let result = if is_directive {
        Answered::Directive(full_directive())
    } else {
        Answered::Problem(Problem::new(Code::TooEarly, "later"))
    };
    Answer {
        agent_id: "agent-1".into(),
        incarnation: 5,
        sequence: 7,
        result: Some(result),
        more: true,
    }
}

fn full_push() -> Push {
    Push { agent_id: "agent-1".into(), commands: full_directive().commands, beat_now: true }
}

/// Asserts that nothing in a message is unknown to the published form, however deep.
fn all_known(message: &DynamicMessage) {
    assert_eq!(message.unknown_fields().count(), 0, "{message:?}");
    for (_, value) in message.fields() {
        match value {
            Value::Message(inner) => all_known(inner),
            Value::List(items) => {
                items.iter().filter_map(Value::as_message).for_each(all_known);
            }
            _ => {}
        }
    }
}

#[test]
fn every_frame_is_read_by_the_published_form_and_written_back_the_same() {
    let pool = published();
    for (name, bytes) in full_frames() {
        let descriptor = pool.get_message_by_name(&format!("pulsegate.v1.{name}")).unwrap();
        let dynamic = DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap();
        assert_eq!(dynamic.fields().count(), 1, "{name} holds one kind");
        all_known(&dynamic);
        assert_eq!(dynamic.encode_to_vec(), bytes, "{name}");
    }
}

#[test]
fn a_frame_of_an_unknown_kind_is_read_as_one_without_content() {
    // Field 15 of both, as a later version may add it.
    let bytes = [0x7a, 0x02, 0x08, 0x01];
    assert_eq!(ClientFrame::decode(&bytes[..]).unwrap().frame, None);
    assert_eq!(ServerFrame::decode(&bytes[..]).unwrap().frame, None);
}

#[test]
fn the_largest_heartbeat_fits_into_a_frame_and_one_byte_more_does_not() {
    let with_task = |length| {
        let progress = Some(Progress { task: "x".repeat(length), ..Progress::default() });
        Heartbeat { progress, ..Heartbeat::default() }
    };
    // The lengths within take two bytes each from here to the limit.
    let around = with_task(10_000).encoded_len() - 10_000;
    let largest = with_task(limits::HEARTBEAT_BYTES - around);
    assert_eq!(largest.encoded_len(), limits::HEARTBEAT_BYTES);
    for (extra, expected) in [(0, Ok(())), (1, Err(FrameError::TooLarge))] {
        let heartbeat = with_task(limits::HEARTBEAT_BYTES - around + extra);
        let frame = ClientFrame { frame: Some(FromClient::Heartbeat(heartbeat.into())) };
        let bytes = frame.encode_length_delimited_to_vec();
        let found = frame_length(&bytes);
        assert_eq!(found.map(|found| assert_eq!(found, Some((3, bytes.len() - 3)))), expected);
    }
}

#[test]
fn a_length_is_refused_as_soon_as_it_tells_too_much() {
    assert_eq!(frame_length(&[]), Ok(None));
    assert_eq!(frame_length(&[0x00]), Ok(Some((1, 0))));
    assert_eq!(frame_length(&[0x80]), Ok(None), "the length has not come whole");
    assert_eq!(frame_length(&[0x85, 0x01, 0xff]), Ok(Some((2, 133))));
    assert_eq!(frame_length(&[0xff, 0xff, 0x01]), Err(FrameError::TooLarge));
    // Refused before its last byte has come.
    assert_eq!(frame_length(&[0xff, 0xff, 0xff]), Err(FrameError::TooLarge));
    // A number in more bytes than it needs is still that number.
    assert_eq!(frame_length(&[0x81, 0x80, 0x80, 0x00]), Ok(Some((4, 1))));
    assert_eq!(frame_length(&[0x80; 9]), Ok(None));
    assert_eq!(frame_length(&[0x80; 10]), Err(FrameError::Malformed));
    assert_eq!(FrameError::TooLarge.code(), Code::TooLarge);
    assert_eq!(FrameError::Malformed.code(), Code::Malformed);
}

#[test]
fn every_published_field_is_in_our_messages() {
    let messages = [
        ("Heartbeat", full_heartbeat().encode_to_vec()),
        ("Directive", full_directive().encode_to_vec()),
        ("Hello", full_hello().encode_to_vec()),
        ("Welcome", Welcome { frame_bytes: 1, in_flight: 2 }.encode_to_vec()),
        ("Push", full_push().encode_to_vec()),
    ];
    for (name, bytes) in messages {
        let descriptor = published().get_message_by_name(&format!("pulsegate.v1.{name}")).unwrap();
        let dynamic = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap();
        for field in descriptor.fields() {
            assert!(
                dynamic.has_field(&field),
                "{name}.{} is published, but not ours",
                field.name()
            );
        }
    }
}

#[test]
fn published_enumerations_have_our_numbers() {
    let pool = published();
    let check = |name: &str, words: &[&str]| {
        let published = pool.get_enum_by_name(&format!("pulsegate.v1.{name}")).unwrap();
        assert_eq!(published.values().len(), words.len(), "{name}");
        for (value, word) in published.values().zip(words) {
            assert!(value.name().ends_with(&word.to_uppercase()), "{name}: {}", value.name());
        }
        for (number, value) in published.values().enumerate() {
            assert_eq!(value.number(), number as i32, "{name}");
        }
    };
    check("Status", Status::WORDS);
    check("Reason", crate::Reason::WORDS);
    check("Outcome", crate::Outcome::WORDS);
    check("CommandKind", crate::CommandKind::WORDS);
    check("AckOutcome", AckOutcome::WORDS);
    check("ProbeKind", crate::ProbeKind::WORDS);
}

#[test]
fn a_foreign_writer_of_the_published_form_is_understood() {
    let descriptor = published().get_message_by_name("pulsegate.v1.Heartbeat").unwrap();
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.set_field_by_name("agent_id", Value::String("a".into()));
    dynamic.set_field_by_name("status", Value::EnumNumber(2));
    let heartbeat = Heartbeat::decode(dynamic.encode_to_vec().as_slice()).unwrap();
    assert_eq!((heartbeat.agent_id.as_str(), heartbeat.status()), ("a", Status::Busy));
}

#[test]
fn an_agent_id_is_all_that_a_heartbeat_needs() {
    let heartbeat: Heartbeat = serde_json::from_str(r#"{"agent_id":"a"}"#).unwrap();
    assert_eq!(heartbeat, Heartbeat { agent_id: "a".into(), ..Heartbeat::default() });
    assert_eq!(heartbeat.validate(), Ok(()));
}

#[test]
fn unknown_fields_are_accepted_and_unknown_words_are_read_with_care() {
    let text = r#"{"agent_id":"a","status":"on_fire","reason":"bored","tomorrow":{"x":[1]}}"#;
    let heartbeat: Heartbeat = serde_json::from_str(text).unwrap();
    assert_eq!(heartbeat.status(), Status::Degraded);
    assert_eq!(heartbeat.reason(), crate::Reason::Scheduled);
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    for text in [
        r#"{"agent_id":"a","agent_id":"b"}"#,
        r#"{"agent_id":"a","labels":{"k":"1","k":"2"}}"#,
        r#"{"agent_id":"a","metrics":{"custom":{"k":1,"k":2}}}"#,
    ] {
        let error = serde_json::from_str::<Heartbeat>(text).unwrap_err().to_string();
        assert!(error.contains("duplicate"), "{text}: {error}");
    }
}

#[test]
fn a_probe_cannot_name_a_host() {
    for aim in [r#""host":"10.0.0.9""#, r#""address":"::1""#] {
        let text =
            format!(r#"{{"agent_id":"a","probe":{{"kind":"http","port":80,"path":"/",{aim}}}}}"#);
        let error = serde_json::from_str::<Heartbeat>(&text).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}

type Spoil = fn(&mut Heartbeat);

fn metrics(heartbeat: &mut Heartbeat) -> &mut Metrics {
    heartbeat.metrics.get_or_insert_default()
}

/// Every rule of a heartbeat, each broken once, and the field that must be named.
const SPOILED: &[(&str, Spoil)] = &[
    ("agent_id", |h| h.agent_id.clear()),
    ("agent_id", |h| h.agent_id = "..".into()),
    ("agent_id", |h| h.agent_id = "a/b".into()),
    ("agent_id", |h| h.agent_id = "a\n".into()),
    ("agent_id", |h| h.agent_id = "é".into()),
    ("agent_id", |h| h.agent_id = "a".repeat(129)),
    ("incarnation", |h| h.incarnation = limits::INTEGER + 1),
    ("sequence", |h| h.sequence = u64::MAX),
    ("sent_at_ms", |h| h.sent_at_ms = u64::MAX),
    ("directive_seen", |h| h.directive_seen = u64::MAX),
    ("metrics.queue_depth", |h| metrics(h).queue_depth = Some(u64::MAX)),
    ("metrics.active_tasks", |h| metrics(h).active_tasks = Some(u64::MAX)),
    ("metrics.memory_bytes", |h| metrics(h).memory_bytes = Some(u64::MAX)),
    ("metrics.error_count", |h| metrics(h).error_count = Some(u64::MAX)),
    ("metrics.cpu_percent", |h| metrics(h).cpu_percent = Some(100.1)),
    ("metrics.cpu_percent", |h| metrics(h).cpu_percent = Some(f64::NAN)),
    ("metrics.latency_ms", |h| metrics(h).latency_ms = Some(f64::INFINITY)),
    ("metrics.latency_ms", |h| metrics(h).latency_ms = Some(-1.0)),
    ("metrics.custom", |h| {
        metrics(h).custom = (0..=limits::CUSTOM_METRICS).map(|n| (format!("m{n}"), 0.0)).collect();
    }),
    ("metrics.custom", |h| metrics(h).custom.extend([("a b".into(), 0.0)])),
    ("metrics.custom.x", |h| metrics(h).custom.extend([("x".into(), f64::NAN)])),
    ("progress.watermark", |h| h.progress.as_mut().unwrap().watermark = u64::MAX),
    ("progress.task", |h| h.progress.as_mut().unwrap().task = "a".repeat(129)),
    ("progress.task", |h| h.progress.as_mut().unwrap().task = "\u{1b}[2J".into()),
    ("progress.percent", |h| h.progress.as_mut().unwrap().percent = Some(-0.1)),
    ("progress.stall_after_ms", |h| h.progress.as_mut().unwrap().stall_after_ms = Some(999)),
    ("progress.stall_after_ms", |h| h.progress.as_mut().unwrap().stall_after_ms = Some(u64::MAX)),
    ("command_acks", |h| h.command_acks = vec![CommandAck::default(); 17]),
    ("command_acks.id", |h| h.command_acks[0].id.clear()),
    ("command_acks.id", |h| h.command_acks[0].id = "a".repeat(65)),
    ("command_acks.detail", |h| h.command_acks[0].detail = "a".repeat(257)),
    ("class", |h| h.class = Some(String::new())),
    ("labels", |h| h.labels = (0..=limits::LABELS).map(|n| (format!("l{n}"), "".into())).collect()),
    ("labels", |h| h.labels.extend([("a b".into(), "".into())])),
    ("labels.region", |h| h.labels.extend([("region".into(), "x".repeat(256))])),
    ("endpoint", |h| h.endpoint = Some("x".repeat(256))),
    ("capabilities", |h| h.capabilities = vec!["a".into(); limits::CAPABILITIES + 1]),
    ("capabilities", |h| h.capabilities = vec!["".into()]),
    ("probe.port", |h| h.probe.as_mut().unwrap().port = 0),
    ("probe.port", |h| h.probe.as_mut().unwrap().port = 65_536),
    ("probe.path", |h| h.probe.as_mut().unwrap().path = "//other.host/".into()),
    ("probe.path", |h| h.probe.as_mut().unwrap().path = "/a b".into()),
    ("probe.path", |h| h.probe.as_mut().unwrap().kind = 0),
    ("probe.path", |h| h.probe.as_mut().unwrap().path = format!("/{}", "x".repeat(255))),
];

#[test]
fn every_broken_rule_names_its_field() {
    assert_eq!(full_heartbeat().validate(), Ok(()));
    for (index, (field, spoil)) in SPOILED.iter().enumerate() {
        let mut heartbeat = full_heartbeat();
        spoil(&mut heartbeat);
        let problem = heartbeat.validate().unwrap_err();
        assert_eq!(problem.field.as_deref(), Some(*field), "rule {index}: {problem:?}");
        assert_eq!(problem.code(), Some(Code::FieldInvalid), "rule {index}");
    }
}

#[test]
fn an_unknown_schema_is_refused_under_its_own_code() {
    let heartbeat = Heartbeat { schema: 2, ..full_heartbeat() };
    let problem = heartbeat.validate().unwrap_err();
    assert_eq!((problem.code(), problem.limit), (Some(Code::SchemaUnsupported), Some(1.0)));
}

#[test]
fn a_registration_keeps_what_newer_fields_leave_away() {
    let mut known = full_heartbeat().take_registration().unwrap();
    let before = known.clone();
    assert!(!known.merge(Registration::default()), "nothing new is no change");
    assert_eq!(known, before);
    assert!(known.merge(Registration { class: Some("normal".into()), ..Registration::default() }));
    assert_eq!(known, Registration { class: Some("normal".into()), ..before });
}

#[test]
fn codes_are_distinct_on_every_transport() {
    let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut numbers: Vec<_> = Code::ALL.iter().map(|code| code.quic()).collect();
    words.sort_unstable();
    words.dedup();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((words.len(), numbers.len()), (Code::ALL.len(), Code::ALL.len()));
    assert_eq!(Code::from_quic(0), None);
    for (place, code) in Code::ALL.iter().enumerate() {
        assert_eq!(code.quic() as usize, 0x5001 + place, "in the order of the table");
        assert_eq!(Code::from_word(code.as_str()), Some(*code));
        assert_eq!(Code::from_quic(code.quic().into()), Some(*code));
        assert!((400..600).contains(&code.status()), "{code:?}");
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_and_never_panics(text in ".{0,200}") {
        let _ = serde_json::from_str::<Heartbeat>(&text).map(|heartbeat| heartbeat.validate());
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Heartbeat::decode(bytes.as_slice()).map(|heartbeat| heartbeat.validate());
    }

    #[test]
    fn any_bytes_are_a_frame_or_refused_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = frame_length(&bytes);
        let _ = ClientFrame::decode(bytes.as_slice());
        let _ = ServerFrame::decode(bytes.as_slice());
    }

    #[test]
    fn an_accepted_heartbeat_survives_both_forms(
        id in "[A-Za-z0-9_:@-]{1,128}",
        numbers in any::<[u32; 6]>(),
        cpu in 0.0..=100.0f64,
        custom in prop::collection::btree_map("[a-z]{1,8}", -1e300..1e300f64, 0..=16),
    ) {
        let heartbeat = Heartbeat {
            agent_id: id,
            incarnation: u64::from(numbers[0]),
            sequence: u64::from(numbers[1]),
            status: (numbers[2] % 5) as i32,
            metrics: Some(Metrics {
                queue_depth: Some(u64::from(numbers[3])),
                cpu_percent: Some(cpu),
                custom,
                ..Metrics::default()
            }),
            ..Heartbeat::default()
        };
        prop_assert_eq!(heartbeat.validate(), Ok(()));
        let bytes = heartbeat.encode_to_vec();
        prop_assert_eq!(&Heartbeat::decode(bytes.as_slice()).unwrap(), &heartbeat);
        let json = serde_json::to_string(&heartbeat).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Heartbeat>(&json).unwrap(), &heartbeat);
    }
}
