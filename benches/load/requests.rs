//! Heartbeats of a fleet whose agents take turns, each with a rising sequence.

use std::io::Write;

use prost::Message;
use pulsegate_wire::{Batch, Heartbeat, Metrics, Status};

/// Makes one request after another.
pub(crate) trait Requests {
    /// Writes the next one.
    fn next(&mut self, out: &mut Vec<u8>);
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
struct Turn {
    agents: u64,
    agent: u64,
    sequence: u64,
}

impl Turn {
    fn new(agents: u64, sequence: u64) -> Self {
        Self { agents, agent: 0, sequence }
    }

    fn next(&mut self) -> (u64, u64) {
        let now = (self.agent, self.sequence);
        self.agent += 1;
        if self.agent == self.agents {
            self.agent = 0;
            self.sequence += 1;
        }
        now
    }
}

/// One heartbeat a request, in JSON.
#[derive(Debug)]
pub(crate) struct Beats(Turn);

impl Beats {
    /// Heartbeats of this many agents, the first with this sequence.
    pub(crate) fn new(agents: u64, sequence: u64) -> Self {
        Self(Turn::new(agents, sequence))
    }
}

impl Requests for Beats {
    fn next(&mut self, out: &mut Vec<u8>) {
        let (agent, sequence) = self.0.next();
        let mut body = [0_u8; 320];
        let mut rest = &mut body[..];
        let written = write!(
            rest,
            r#"{{"agent_id":"agent-{agent:06}","incarnation":1,"sequence":{sequence},"#,
        )
        .and_then(|()| {
            write!(
                rest,
                r#""reason":"scheduled","status":"healthy","directive_seen":{},"#,
                sequence - 1
            )
        })
        .and_then(|()| {
            rest.write_all(br#""metrics":{"queue_depth":12,"active_tasks":3,"cpu_percent":41.5}}"#)
        });
        assert!(written.is_ok(), "a heartbeat fits into the buffer");
        let left = rest.len();
        let len = body.len() - left;
        let head = "POST /v1/heartbeats HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                    content-type: application/json\r\ncontent-length: ";
        let _ = write!(out, "{head}{len}\r\n\r\n");
        out.extend_from_slice(&body[..len]);
    }
}

/// A thousand heartbeats a request, in protobuf.
#[derive(Debug)]
pub(crate) struct Batches {
    turn: Turn,
    batch: Batch,
}

impl Batches {
    /// Batches of `size` heartbeats of this many agents, the first with this sequence.
    pub(crate) fn new(agents: u64, size: usize, sequence: u64) -> Self {
        let heartbeat = Heartbeat {
            incarnation: 1,
            status: Status::Healthy as i32,
            metrics: Some(Metrics {
                queue_depth: Some(12),
                active_tasks: Some(3),
                cpu_percent: Some(41.5),
                ..Metrics::default()
            }),
            ..Heartbeat::default()
        };
        let batch = Batch { heartbeats: vec![heartbeat; size] };
        Self { turn: Turn::new(agents, sequence), batch }
    }
}

impl Requests for Batches {
    fn next(&mut self, out: &mut Vec<u8>) {
        for heartbeat in &mut self.batch.heartbeats {
            let (agent, sequence) = self.turn.next();
            heartbeat.agent_id = format!("agent-{agent:06}");
            heartbeat.sequence = sequence;
            heartbeat.directive_seen = sequence - 1;
        }
        let len = self.batch.encoded_len();
        let head = "POST /v1/heartbeats/batch HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                    content-type: application/x-protobuf\r\naccept: application/x-protobuf\r\n\
                    content-length: ";
        let _ = write!(out, "{head}{len}\r\n\r\n");
        out.extend_from_slice(&self.batch.encode_to_vec());
    }
}
