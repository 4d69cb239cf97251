use alloc::vec;
use alloc::vec::Vec;

use prost::Message;

use super::*;

/// Tags of the kinds, agents' first.
const TAGS: [core::ops::RangeInclusive<u32>; 2] = [16..=35, 48..=58];

/// An event of the kind with this tag, all of whose plain fields are filled, by its bytes: so no
/// kind and no field can be forgotten here.
fn event(tag: u32) -> Event {
    let mut body = Vec::new();
    for field in 1..=8_u8 {
        let number = [field << 3, 1];
        let text = [field << 3 | 2, 2, b'a', b'b'];
        // A field of another type refuses these bytes.
        for bytes in [&number[..], &text] {
            let filled = [&body[..], bytes].concat();
            if Event::decode(&wrapped(tag, &filled)[..]).is_ok() {
                body = filled;
                break;
            }
        }
    }
    let standing = Standing { state: 2, incarnation: 7, in_force_ms: 9, ..Standing::default() };
    Event {
        epoch: 3,
        seq: (1 << 53) - 1,
        at_ms: 5,
        wall_ms: 1_790_000_000_000,
        tenant: "acme".into(),
        agent_id: "a".into(),
        class: "normal".into(),
        standing: Some(standing),
        ..Event::decode(&wrapped(tag, &body)[..]).expect("it was tried")
    }
}

/// A message with one field that holds these bytes.
fn wrapped(tag: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    bytes.push(body.len() as u8);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn every_kind_survives_both_forms_under_its_own_word() {
    let mut words = Vec::new();
    for tag in TAGS.into_iter().flatten() {
        let event = event(tag);
        let kind = event.kind.as_ref().expect("a kind stands for every tag");
        words.push(kind.as_str());
        assert_eq!(Event::decode(&event.encode_to_vec()[..]).as_ref(), Ok(&event));
        let json = serde_json::to_value(&event).expect("it can be written");
        assert_eq!(json["kind"], kind.as_str());
        let read: Event = serde_json::from_value(json.clone()).expect("it can be read");
        assert_eq!(read, event, "{json}");
        let text = serde_json::to_string(&event).expect("it can be written");
        assert_eq!(serde_json::from_str::<Event>(&text).expect("it can be read"), event, "{text}");
    }
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!((words.len(), count), (31, 31), "each has a word of its own");
}

#[test]
fn the_fields_of_a_kind_are_really_filled() {
    let Some(EventKind::Suspected(silent)) = event(20).kind else { panic!("20 is suspected") };
    let expected =
        Silent { last_receipt_ms: 1, in_force_ms: 1, grace_ms: 1, missed: 1, undurable: true };
    assert_eq!(silent, expected);
    let Some(EventKind::LeaseGranted(lease)) = event(55).kind else { panic!("55 is a grant") };
    assert_eq!((lease.name.as_str(), lease.holder.as_str(), lease.token), ("ab", "ab", 1));
}

#[test]
fn a_kind_of_a_newer_version_keeps_how_the_agent_stands() {
    let known = Event { kind: None, ..event(16) };
    let bytes = [known.encode_to_vec(), wrapped(36, b""), wrapped(59, b"")].concat();
    assert_eq!(Event::decode(&bytes[..]), Ok(known));
}
