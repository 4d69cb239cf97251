//! QUIC: one endpoint for HTTP/3 and for the compact protocol, told apart by ALPN.
//!
//! ```text
//! endpoint → (Retry, place) → handshake → http3:   requests → the service of all transports
//!                                       → compact: streams, datagrams → frames → shard
//!                                                  push ← events
//! ```
//! A connection is a task, and so is each of its requests and streams: a panic ends the one that
//! it happened in. What a peer may make us hold is named where it is set up, in `endpoint` for
//! QUIC, in `guard` for HTTP/3 and in `stream` for the compact protocol.

mod compact;
mod endpoint;
mod guard;
mod handshake;
mod held;
mod http3;
mod push;
mod stream;
mod windows;

pub use endpoint::{BindError, Endpoint};
#[doc(hidden)]
pub use guard::http3_stream_passes;
pub(super) use handshake::Handshake;
#[doc(hidden)]
pub use stream::compact_frames;

use pulsegate_wire::Code;
use quinn::VarInt;

use super::worker::draining;

/// A connection or stream that ends without anything being wrong.
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// The application error code of QUIC for a code of ours.
fn close_code(code: Code) -> VarInt {
    VarInt::from_u32(code.quic())
}
