//! The frames of the compact protocol: what crosses a QUIC connection whose ALPN is
//! [`ALPN`](crate::ALPN).
//!
//! On a stream each frame stands behind its length, a varint of protobuf; a datagram is one frame
//! without a length. Frames have no JSON form. A frame of a kind that this build does not know is
//! read as one without content, and ignored.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{Code, Command, Directive, Heartbeat, Problem, limits};

/// What a client sends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClientFrame {
    /// Absent: a kind that this build does not know.
    #[prost(oneof = "FromClient", tags = "1, 2")]
    pub frame: Option<FromClient>,
}

/// The kinds of frames that a client sends.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromClient {
    /// Says who the client is.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// An agent lives.
    #[prost(message, tag = "2")]
    Heartbeat(Box<Heartbeat>),
}

/// Says who the client is: holds for the whole connection, until another one comes.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Hello {
    /// The bearer token, without the word `Bearer`; empty where the gateway asks for none.
    #[prost(string, tag = "1")]
    pub token: String,
}

/// What the gateway sends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerFrame {
    /// Absent: a kind that this build does not know.
    #[prost(oneof = "FromServer", tags = "1, 2, 3")]
    pub frame: Option<FromServer>,
}

/// The kinds of frames that the gateway sends.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromServer {
    /// The token of a [`Hello`] is good.
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    /// What became of a heartbeat.
    #[prost(message, tag = "2")]
    Answer(Box<Answer>),
    /// Something that cannot wait for the next heartbeat.
    #[prost(message, tag = "3")]
    Push(Push),
}

/// Answers a [`Hello`] whose token is good, with the limits of the connection.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Welcome {
    /// Largest frame that is read, in bytes, without its length.
    #[prost(uint32, tag = "1")]
    pub frame_bytes: u32,
    /// Heartbeats of one stream that are read before the oldest of them is answered.
    #[prost(uint32, tag = "2")]
    pub in_flight: u32,
}

/// What became of one heartbeat.
///
/// The first three fields are those of the heartbeat as it was sent, so that the client finds it
/// again: answers of different agents come in any order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// The agent; empty where the heartbeat had no good name.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// The incarnation, as it was sent.
    #[prost(uint64, tag = "2")]
    pub incarnation: u64,
    /// The sequence, as it was sent.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// The answer itself.
    #[prost(oneof = "Answered", tags = "4, 5")]
    pub result: Option<Answered>,
    /// The directive did not fit into a datagram: `explain`, then `commands`, then `beat_early`
    /// were left away until it did. What was left away still holds, and comes whole on a stream.
    #[prost(bool, tag = "6")]
    pub more: bool,
}

/// A heartbeat is answered by one of two.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answered {
    /// It was handled.
    #[prost(message, tag = "4")]
    Directive(Directive),
    /// It was refused.
    #[prost(message, tag = "5")]
    Problem(Problem),
}

/// Something that cannot wait for the next heartbeat. Best effort: commands stay in every
/// directive until they are acknowledged.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Push {
    /// The agent that it is for.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// Commands that wait for the agent, as in a directive; an id that came before changes
    /// nothing.
    #[prost(message, repeated, tag = "2")]
    pub commands: Vec<Command>,
    /// The agent shall beat at once, with `reason` `early`; `beat_early.min_gap_ms` does not hold
    /// it back.
    #[prost(bool, tag = "3")]
    pub beat_now: bool,
}

/// Why bytes of a stream are no frame. The connection cannot go on: where the next frame begins,
/// nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is over [`limits::FRAME_BYTES`].
    TooLarge,
    /// The length is no varint.
    Malformed,
}

impl FrameError {
    /// The code that the connection is closed with.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::TooLarge => Code::TooLarge,
            Self::Malformed => Code::Malformed,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the frame is over its limit",
            Self::Malformed => "the length of the frame is no varint",
        })
    }
}

impl core::error::Error for FrameError {}

/// Longest varint, in bytes. Source: protobuf encoding, Base 128 Varints.
const VARINT_BYTES: usize = 10;

/// Finds the first frame of a stream: how many bytes its length takes, and how many it has itself.
/// `None` where the length has not come whole; the frame itself may not have come yet either.
///
/// # Errors
/// [`FrameError`], as soon as the length tells, before memory is spent on the frame.
pub fn frame_length(stream: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0_u64;
    for (place, byte) in stream.iter().take(VARINT_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // Of the tenth byte only the lowest bit fits into 64.
        if place == VARINT_BYTES - 1 && *byte > 1 {
            return Err(FrameError::Malformed);
        }
        length |= bits << (7 * place);
        if length > limits::FRAME_BYTES as u64 {
            return Err(FrameError::TooLarge);
        }
        if byte & 0x80 == 0 {
            return Ok(Some((place + 1, length as usize)));
        }
    }
    if stream.len() >= VARINT_BYTES { Err(FrameError::Malformed) } else { Ok(None) }
}
