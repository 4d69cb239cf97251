//! Bytes that are no heartbeat, more of them than may be, and more in them than anybody knows.

use prost::encoding::{WireType, encode_key, encode_varint};
use pulsegate_wire::{Code, Outcome, limits};

use super::cases;
use crate::conformance::client::Form;
use crate::conformance::world::World;

cases! {
    Open:
        bytes_that_are_no_heartbeat_are_malformed_and_harm_nothing,
        fields_that_nobody_knows_are_accepted;
    Open without Size:
        the_largest_heartbeat_is_taken_and_one_byte_more_is_not;
    Open without Headers:
        content_types_other_than_ours_are_refused;
    Open without Types:
        a_field_of_the_wrong_type_is_named;
}

const JSON: &[&[u8]] = &[
    b"{",
    b"[]",
    b"nonsense",
    b"{\"agent_id\":\"a\",",
    b"{\"agent_id\":\"a\"}x",
    b"{\"agent_id\":\"\xff\"}",
    b"{\"agent_id\":\"a\",\"sequence\":NaN}",
];
/// In order: a tag of the wire type 7, a field that is cut off, a varint that never ends, a text
/// that is no UTF-8, a number where a text should stand, a group that is not closed, field 0.
const PROTOBUF: &[&[u8]] = &[
    b"\xff\xff\xff",
    b"\x12\x05ab",
    b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x12\x01\xff",
    b"\x10\x07",
    b"\x12\x01a\xfb\x01",
    b"\x02\x01a",
];

fn bytes_that_are_no_heartbeat_are_malformed_and_harm_nothing(world: &mut World<'_>) {
    assert_eq!(JSON.len(), PROTOBUF.len(), "what is counted is compared");
    world.directive(1, 1);
    for (json, protobuf) in JSON.iter().zip(PROTOBUF) {
        let body = world.form().of(json, protobuf);
        if let Some(problem) = world.unreadable(body, Code::Malformed) {
            assert_eq!((problem.field, problem.limit), (None, None));
        }
    }
    assert_eq!(world.directive(1, 1).outcome(), Outcome::Duplicate);
    assert_eq!(world.directive(1, 2).outcome(), Outcome::Accepted);
}

fn fields_that_nobody_knows_are_accepted(world: &mut World<'_>) {
    let heartbeat = world.heartbeat(1, 1);
    let mut body = world.form().encode(&heartbeat);
    match world.form() {
        Form::Json => {
            body.truncate(body.len() - 1);
            body.extend_from_slice(b",\"colour\":{\"hue\":[1,2,3]},\"mood\":null}");
        }
        Form::Protobuf => pad(&mut body, 5),
    }
    assert_eq!(world.send(world.case, &body).directive().outcome(), Outcome::Accepted);
}

/// A field of a later version, with so many bytes.
fn pad(body: &mut Vec<u8>, bytes: usize) {
    encode_key(1_000, WireType::LengthDelimited, body);
    encode_varint(bytes as u64, body);
    body.extend(std::iter::repeat_n(b'x', bytes));
}

fn the_largest_heartbeat_is_taken_and_one_byte_more_is_not(world: &mut World<'_>) {
    for (over, sequence) in [(0, 1), (1, 2), (0, 3)] {
        let heartbeat = world.heartbeat(1, sequence);
        let mut body = world.form().encode(&heartbeat);
        let missing = limits::HEARTBEAT_BYTES + over - body.len();
        match world.form() {
            Form::Json => body.extend(std::iter::repeat_n(b' ', missing)),
            // Its tag and its length take four bytes.
            Form::Protobuf => pad(&mut body, missing - 4),
        }
        assert_eq!(body.len(), limits::HEARTBEAT_BYTES + over);
        if over == 0 {
            assert_eq!(world.send(world.case, &body).directive().outcome(), Outcome::Accepted);
        } else if let Some(problem) = world.unreadable(&body, Code::TooLarge) {
            assert_eq!(problem.limit, Some(limits::HEARTBEAT_BYTES as f64));
        }
    }
    assert_eq!(world.look(|found| found.info.sequence), 3);
}

fn content_types_other_than_ours_are_refused(world: &mut World<'_>) {
    let heartbeat = world.heartbeat(1, 1);
    for content_type in ["text/plain", "application/xml", "application/jsonp", ""] {
        world.refused_as(content_type, &heartbeat, Code::MediaType);
    }
    assert!(!world.is_known(world.case));
}

fn a_field_of_the_wrong_type_is_named(world: &mut World<'_>) {
    for (field, value) in [
        ("agent_id", "7"),
        ("sequence", "-1"),
        ("sequence", "1.5"),
        ("incarnation", "\"1\""),
        ("status", "1"),
        ("metrics.queue_depth", "[]"),
        ("labels", "[\"a\"]"),
    ] {
        let inner = field
            .split('.')
            .rev()
            .fold(value.to_owned(), |value, field| format!("{{\"{field}\":{value}}}"));
        let problem = world.send(world.case, inner.as_bytes()).problem();
        assert_eq!(problem.code(), Some(Code::FieldInvalid), "{problem:?}");
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    }
    assert!(!world.is_known(world.case));
}
