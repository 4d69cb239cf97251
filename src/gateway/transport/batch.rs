//! The answer to a batch: a directive or a problem for each heartbeat, in order.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use pulsegate_wire::Problem;

use super::heartbeats::Handled;
use crate::admission::Format;
use crate::durable::Mark;
use crate::shard::{Reply, protobuf as pb};

/// The answer to a batch as it grows.
pub(super) struct BatchAnswer {
    format: Format,
    bytes: Vec<u8>,
    until: Option<Mark>,
    held: Vec<Held>,
}

/// A part of an answer that waits for the disk: where it stands, and whose it is.
pub(super) struct Held {
    place: Range<usize>,
    agent_id: String,
}

impl BatchAnswer {
    /// Room for one directive without rules; more is made where it is needed.
    const ITEM_BYTES: usize = 192;

    pub(super) fn new(format: Format, items: usize) -> Self {
        let mut bytes = Vec::with_capacity(32 + items * Self::ITEM_BYTES);
        if format == Format::Json {
            bytes.extend_from_slice(b"{\"results\":[");
        }
        Self { format, bytes, until: None, held: Vec::new() }
    }

    pub(super) fn directive(&mut self, id: &str, reply: &Reply<'_>) {
        let start = self.begin();
        match self.format {
            Format::Json => {
                named(&mut self.bytes, id, b",\"directive\":");
                reply.write_json(&mut self.bytes);
                self.bytes.push(b'}');
            }
            Format::Protobuf => pb::message(&mut self.bytes, 1, |out| {
                pb::text(out, 1, id);
                pb::message(out, 2, |out| reply.write_protobuf(out));
            }),
        }
        if let Some(mark) = reply.until() {
            self.until = self.until.max(Some(mark));
            self.held.push(Held { place: start..self.bytes.len(), agent_id: id.to_owned() });
        }
    }

    pub(super) fn problem(&mut self, id: &str, problem: &Problem) {
        self.begin();
        write_problem(self.format, &mut self.bytes, id, problem);
    }

    /// Begins an item; says where.
    fn begin(&mut self) -> usize {
        if self.format == Format::Json && self.bytes.last() != Some(&b'[') {
            self.bytes.push(b',');
        }
        self.bytes.len()
    }

    pub(super) fn finish(mut self) -> Handled {
        if self.format == Format::Json {
            self.bytes.extend_from_slice(b"]}");
        }
        Handled { bytes: self.bytes.into(), until: self.until, held: self.held }
    }
}

/// The answer to a batch with this problem in place of the parts that were held.
pub(super) fn without(format: Format, answer: &[u8], held: &[Held], problem: &Problem) -> Bytes {
    let mut bytes = Vec::with_capacity(answer.len());
    let mut done = 0;
    for Held { place, agent_id } in held {
        bytes.extend_from_slice(&answer[done..place.start]);
        write_problem(format, &mut bytes, agent_id, problem);
        done = place.end;
    }
    bytes.extend_from_slice(&answer[done..]);
    bytes.into()
}

fn write_problem(format: Format, bytes: &mut Vec<u8>, id: &str, problem: &Problem) {
    match format {
        Format::Json => {
            named(bytes, id, b",\"problem\":");
            // A Vec takes every write, and no key here can fail.
            let _ = serde_json::to_writer(&mut *bytes, problem);
            bytes.push(b'}');
        }
        Format::Protobuf => pb::message(bytes, 1, |out| {
            pb::text(out, 1, id);
            pb::bytes(out, 3, &problem.encode_to_vec());
        }),
    }
}

/// Names are checked or empty: nothing in them needs an escape.
fn named(bytes: &mut Vec<u8>, id: &str, field: &[u8]) {
    bytes.extend_from_slice(b"{\"agent_id\":\"");
    bytes.extend_from_slice(id.as_bytes());
    bytes.push(b'"');
    bytes.extend_from_slice(field);
}
