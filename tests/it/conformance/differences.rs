//! Where transports must differ, and why. Everything else is the same.

use super::client::Form;
use super::drivers::{Kind, Transport};

/// Something that a transport cannot do as HTTP with JSON does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// No headers, no status and no content type.
    Headers,
    /// Bytes that are no heartbeat end the connection, with the code of the problem.
    UnreadableEnds,
    /// Bytes that are no heartbeat are counted and dropped.
    UnreadableIsDropped,
    /// A heartbeat of 16,384 bytes, or a larger one, cannot be sent.
    Size,
    /// A credential is shown once; one that is not known ends the connection, with its code.
    Credentials,
    /// What waits for an agent is sent to it before its next heartbeat as well.
    Pushes,
    /// Answers carry agent, incarnation and sequence.
    Stamps,
    /// A field of the wrong type cannot be told from bytes that are no heartbeat.
    Types,
}

/// One difference.
pub struct Row {
    pub what: Differs,
    /// Whether it is one of this transport.
    pub holds: fn(&Transport) -> bool,
    pub why: &'static str,
}

/// All differences. Three need no row, since no case can see them: in `detail` the words of a
/// parser (each form has its own) and how a credential is to be shown; and batches, which are
/// requests of HTTP, where the compact protocol sends many heartbeats without waiting.
pub const TABLE: &[Row] = &[
    Row {
        what: Differs::Headers,
        holds: is_compact,
        why: "Retry-After, RateLimit and WWW-Authenticate are for clients of HTTP that know \
              nothing of us; retry_after_ms and code say the same, and say it everywhere. There is \
              one form, so nothing has to name it",
    },
    Row {
        what: Differs::UnreadableEnds,
        holds: |transport| transport.kind == Kind::Stream,
        why: "where the next frame of a stream begins, nobody knows; the close code is that of \
              the problem",
    },
    Row {
        what: Differs::UnreadableIsDropped,
        holds: |transport| transport.kind == Kind::Datagram,
        why: "an answer would name no heartbeat, and to whatever was sent by mistake it would be \
              noise; the next datagram can be read all the same",
    },
    Row {
        what: Differs::Size,
        holds: |transport| transport.kind == Kind::Datagram,
        why: "a datagram fits into one packet of the path; QUIC refuses a larger one at the \
              sender, who has a stream for it",
    },
    Row {
        what: Differs::Credentials,
        holds: is_compact,
        why: "a token in every packet would be longer than the heartbeat; a connection has one \
              sender, and one whose token is wrong has nothing more to say",
    },
    Row {
        what: Differs::Pushes,
        holds: is_compact,
        why: "HTTP has no way to an agent that did not ask",
    },
    Row {
        what: Differs::Stamps,
        holds: is_compact,
        why: "requests of HTTP have an answer of their own; many heartbeats share a stream, or \
              come as datagrams in any order",
    },
    Row {
        what: Differs::Types,
        holds: |transport| transport.form == Form::Protobuf,
        why: "protobuf knows a field by its number and its type together",
    },
];

fn is_compact(transport: &Transport) -> bool {
    matches!(transport.kind, Kind::Stream | Kind::Datagram)
}

impl Transport {
    /// Whether this is one of its differences.
    pub fn differs(&self, what: Differs) -> bool {
        TABLE.iter().any(|row| row.what == what && (row.holds)(self))
    }
}
