//! What crosses the network: ids, heartbeats, directives, problems and their limits.
//!
//! One Rust type per message carries both forms: JSON through serde, protobuf through prost.
//! `pulsegate.proto` beside this file is the published protobuf form; a test holds the two
//! together. A parsed message is *well-formed*; [`Heartbeat::validate`] makes sure that it is
//! also *acceptable* before anything acts on it.
//!
//! This room may touch serde and prost. It knows no clock and no I/O, and is `no_std` + alloc.
#![no_std]

extern crate alloc;

mod batch;
mod directive;
mod enums;
pub mod event;
mod frame;
mod heartbeat;
mod id;
pub mod lease;
pub mod limits;
mod problem;
#[cfg(test)]
mod tests;
mod validate;
pub mod view;

pub use batch::{Batch, BatchAnswer, BatchItem};
pub use directive::{BeatEarly, Command, Directive, EarlyRule, Explain, LeaseGrant};
pub use enums::{
    AckOutcome, ActionOutcome, CommandKind, Health, IncidentKind, Outcome, ProbeKind, Reason,
    State, Status, UnknownName,
};
pub use event::{AgentRecord, Event, EventKind};
pub use frame::{
    Answer, Answered, ClientFrame, FrameError, FromClient, FromServer, Hello, Push, ServerFrame,
    Welcome, frame_length,
};
pub use heartbeat::{CommandAck, Heartbeat, Metrics, Probe, Progress, Registration};
pub use id::{AgentId, IdError};
pub use problem::{Code, Problem};

/// The published protobuf form of every message, as text.
pub const PROTO: &str = include_str!("pulsegate.proto");

/// Version of the heartbeat schema that this build speaks.
pub const SCHEMA: u32 = 1;

/// Name of the compact protocol and its version in the handshake of TLS (RFC 7301). A client
/// offers every version that it speaks.
pub const ALPN: &str = "pulsegate/1";
