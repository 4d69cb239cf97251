use pulsegate_wire::Batch;

use super::*;

fn refused(body: &str) -> Problem {
    *heartbeat(Format::Json, body.as_bytes()).unwrap_err()
}

fn code_and_field(body: &str) -> (Code, Option<String>) {
    let problem = refused(body);
    (problem.code().unwrap(), problem.field)
}

#[test]
fn what_cannot_be_parsed_is_malformed_and_says_where() {
    let deep = format!("{{\"agent_id\":\"a\",\"new\":{}", "[".repeat(16_000));
    for body in ["", "{", r#"{"agent_id":"a""#, r#"{"agent_id":NaN}"#, "[]", "null", "7", &deep] {
        assert_eq!(code_and_field(body).0, Code::Malformed, "{body:.40}");
    }
    assert!(refused("{\n  \"agent_id\": x}").detail.contains("line 2 column 15"));
}

#[test]
fn deep_nesting_ends_nobody() {
    let nested = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    let unknown = format!(r#"{{"agent_id":"a","new":{nested}}}"#);
    assert!(heartbeat(Format::Json, unknown.as_bytes()).is_ok());
    let known = format!(r#"{{"agent_id":"a","labels":{nested}}}"#);
    assert_eq!(code_and_field(&known), (Code::FieldInvalid, Some("labels".into())));
}

#[test]
fn bytes_that_are_no_text_are_malformed() {
    let problem = heartbeat(Format::Json, b"{\"agent_id\":\"\xff\xfe\"}").unwrap_err();
    assert_eq!(problem.code(), Some(Code::Malformed));
}

#[test]
fn a_wrong_value_names_its_field() {
    for (body, field) in [
        (r#"{"agent_id":7}"#, "agent_id"),
        (r#"{"agent_id":"a","sequence":-1}"#, "sequence"),
        (r#"{"agent_id":"a","sequence":"1"}"#, "sequence"),
        (r#"{"agent_id":"a","sequence":18446744073709551616}"#, "sequence"),
        (r#"{"agent_id":"a","sequence":9007199254740992}"#, "sequence"),
        (r#"{"agent_id":"a","metrics":{"cpu_percent":"x"}}"#, "metrics.cpu_percent"),
        (r#"{"agent_id":"a","metrics":{"cpu_percent":1e999}}"#, "metrics.cpu_percent"),
        (r#"{"agent_id":"a","metrics":{"custom":{"x":null}}}"#, "metrics.custom.x"),
        (r#"{"agent_id":"a\u0007"}"#, "agent_id"),
        (r#"{"agent_id":"a","probe":{"kind":"tcp","port":80,"host":"10.0.0.1"}}"#, "probe.host"),
    ] {
        assert_eq!(code_and_field(body), (Code::FieldInvalid, Some(field.into())), "{body}");
    }
}

#[test]
fn a_field_that_comes_twice_is_refused_by_name() {
    let twice = r#"{"agent_id":"a","sequence":1,"sequence":2}"#;
    assert_eq!(code_and_field(twice), (Code::FieldInvalid, Some("sequence".into())));
    let inner = r#"{"agent_id":"a","metrics":{"queue_depth":1,"queue_depth":2}}"#;
    assert_eq!(code_and_field(inner), (Code::FieldInvalid, Some("metrics.queue_depth".into())));
}

#[test]
fn unknown_fields_are_accepted_and_an_unknown_schema_is_not() {
    assert!(heartbeat(Format::Json, br#"{"agent_id":"a","new":{"x":[1]}}"#).is_ok());
    let (code, field) = code_and_field(r#"{"agent_id":"a","schema":2}"#);
    assert_eq!((code, field.as_deref()), (Code::SchemaUnsupported, Some("schema")));
}

#[test]
fn a_problem_does_not_repeat_the_body() {
    let body = format!(r#"{{"agent_id":"a","sequence":"{}"}}"#, "x".repeat(10_000));
    assert!(refused(&body).detail.len() < 300);
}

#[test]
fn a_problem_does_not_repeat_a_long_or_forged_name() {
    let long = format!(r#"{{"agent_id":"a","labels":{{"{}":7}}}}"#, "k".repeat(10_000));
    let forged = r#"{"agent_id":"a","probe":{"kind":"tcp","port":1,"x\n\u007fERROR":1}}"#;
    for body in [&*long, forged] {
        let problem = refused(body);
        let field = problem.field.as_deref().unwrap();
        assert!(field.len() < 300 && problem.detail.len() < 300, "{problem:?}");
        assert!(!field.chars().chain(problem.detail.chars()).any(char::is_control), "{problem:?}");
    }
}

#[test]
fn content_types_are_read_with_their_parameters() {
    let of = |text: &'static str| Format::of(Some(&HeaderValue::from_static(text)));
    assert_eq!(Format::of(None), Ok(Format::Json));
    assert_eq!(of("Application/JSON; charset=utf-8"), Ok(Format::Json));
    assert_eq!(of("application/x-protobuf"), Ok(Format::Protobuf));
    assert_eq!(of("application/protobuf"), Ok(Format::Protobuf));
    assert_eq!(of("text/plain").unwrap_err().code(), Some(Code::MediaType));
}

#[test]
fn a_bad_heartbeat_of_a_batch_costs_only_itself() {
    let body = br#"{"heartbeats":[{"agent_id":"a"},{"agent_id":"b","sequence":"x"},
        {"agent_id":"c","metrics":{"cpu_percent":101}},{"agent_id":"d"}]}"#;
    let items = batch(Format::Json, body).unwrap();
    let problems: Vec<_> = items.iter().map(|item| item.as_ref().err()).collect();
    assert!(problems[0].is_none() && problems[3].is_none());
    let (name, problem) = problems[1].unwrap();
    assert_eq!((&**name, problem.field.as_deref()), ("b", Some("sequence")));
    let (name, problem) = problems[2].unwrap();
    assert_eq!((&**name, problem.field.as_deref()), ("c", Some("metrics.cpu_percent")));
}

#[test]
fn both_forms_of_a_batch_read_alike() {
    let named = |name: &str| Heartbeat { agent_id: name.into(), ..Heartbeat::default() };
    let batch = Batch { heartbeats: vec![named("a"), named("b")] };
    let json = super::batch(Format::Json, &serde_json::to_vec(&batch).unwrap()).unwrap();
    let protobuf = super::batch(Format::Protobuf, &batch.encode_to_vec()).unwrap();
    assert_eq!(json, protobuf);
    assert_eq!(json.len(), 2);
}

#[test]
fn a_batch_over_its_limit_is_refused_as_a_whole() {
    let mut json = br#"{"heartbeats":["#.to_vec();
    json.extend(br#"{"agent_id":"a"},"#.repeat(limits::BATCH_ITEMS));
    json.extend(br#"{"agent_id":"a"}]}"#);
    let protobuf = [0x0a, 0x00].repeat(limits::BATCH_BYTES / 2);
    for (format, body) in [(Format::Json, json), (Format::Protobuf, protobuf)] {
        let problem = batch(format, &body).unwrap_err();
        assert_eq!(problem.code(), Some(Code::TooLarge));
        assert_eq!(problem.limit, Some(1_000.0));
    }
}

#[test]
fn a_batch_that_is_cut_off_is_malformed() {
    for (format, body) in [
        (Format::Json, &br#"{"heartbeats":[{"agent_id":"a"}"#[..]),
        (Format::Json, b"{}"),
        (Format::Protobuf, &[0x0a, 0x05, 0x12]),
        (Format::Protobuf, &[0xff]),
    ] {
        assert!(batch(format, body).is_err(), "{body:?}");
    }
}

#[test]
fn a_newer_schema_is_named_whatever_else_is_wrong_with_it() {
    for body in [
        r#"{"schema":2,"agent_id":"a"}"#,
        r#"{"schema":2,"agent_id":{"name":"a"}}"#,
        r#"{"metrics":[1],"schema":4294967295}"#,
    ] {
        let field = Some("schema".to_owned());
        assert_eq!(code_and_field(body), (Code::SchemaUnsupported, field), "{body}");
    }
    // What says nothing of a newer schema is wrong where it is wrong.
    for body in [r#"{"agent_id":7}"#, r#"{"schema":1,"agent_id":7}"#, r#"{"schema":"2"}"#] {
        assert_eq!(code_and_field(body).0, Code::FieldInvalid, "{body}");
    }
    assert_eq!(code_and_field(r#"{"schema":2,"agent_id":"#).0, Code::Malformed);
}

#[test]
fn a_heartbeat_is_found_again_as_it_came() {
    let body = br#" {"new":1, "heartbeats": [ {"agent_id": "a"} , {"x":[1, 2]} ]} "#;
    assert_eq!(items(Format::Json, body), [&br#"{"agent_id": "a"}"#[..], br#"{"x":[1, 2]}"#]);
    assert_eq!(items(Format::Json, b"{").len(), 0);
    let heartbeats: Vec<Heartbeat> = ["a", "b"]
        .map(|id| Heartbeat { agent_id: id.to_owned(), schema: 2, ..Heartbeat::default() })
        .into();
    let bytes = heartbeats[1].encode_to_vec();
    let frame = pulsegate_wire::ClientFrame {
        frame: Some(pulsegate_wire::FromClient::Heartbeat(heartbeats[1].clone().into())),
    };
    assert_eq!(framed(&frame.encode_to_vec()), bytes);
    assert_eq!(framed(b""), b"");
    assert_eq!(named(Format::Protobuf, &bytes), "b");
    let batch = Batch { heartbeats }.encode_to_vec();
    assert_eq!(items(Format::Protobuf, &batch)[1], bytes);
}
