//! Transport parameters, sized for heartbeats and not for downloads.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

/// Bidirectional streams that a client may have open. Larger: a relay with many requests over
/// HTTP/3 waits less; smaller: less memory, because an entry is allocated for each. Source:
/// DESIGN §9, idle connection.
const BIDIRECTIONAL: u32 = 16;
/// Unidirectional streams that a client may have open: HTTP/3 needs three (control and both of
/// QPACK, RFC 9114 §6.2), and one more may come that nobody knows.
const UNIDIRECTIONAL: u32 = 4;
/// Bytes of one stream that may be on their way to us: a heartbeat fits four times.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of one connection that may be on their way to us, of all its streams: twice that of one,
/// so that a stream whose answers are not taken leaves room for others. HTTP/3 gets more:
/// [`HTTP3_WINDOW`]. Larger: more of them; smaller: a hostile connection holds less memory.
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// The same over HTTP/3: a whole batch.
pub(super) const HTTP3_WINDOW: VarInt = VarInt::from_u32(1024 * 1024);
/// Bytes of one connection that we keep until they are acknowledged. The answer to a batch goes in
/// pieces. Source: chosen; at 100 ms of round trip 2.5 MB/s.
const SEND_WINDOW: u64 = 256 * 1024;
/// Bytes of datagrams that wait to be read, and as many that wait to be sent; the oldest is
/// dropped. Source: chosen; some five hundred heartbeats.
const DATAGRAMS: usize = 64 * 1024;

/// The parameters of every connection.
///
/// `idle` goes to the client in the handshake: nothing is sent to keep a connection alive. No
/// larger packets are tried out: a heartbeat fits into the smallest (1,200 bytes, RFC 9000 §14),
/// and each probe would cost an agent as much as ten heartbeats.
pub(super) fn parameters(idle: Duration) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(BIDIRECTIONAL.into())
        .max_concurrent_uni_streams(UNIDIRECTIONAL.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .mtu_discovery_config(None)
        .keep_alive_interval(None)
        // Beyond 2^62 ms there is no limit to speak of.
        .max_idle_timeout(IdleTimeout::try_from(idle).ok());
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_agent_keeps_its_connection_and_costs_no_packet() {
        let idle = crate::config::Config::default().limits.idle_timeout_ms;
        assert_eq!(idle, 420_000, "longer than the longest interval");
        let shown = format!("{:?}", parameters(Duration::from_millis(idle.into())));
        for parameter in [
            "max_idle_timeout: Some(420000)",
            "keep_alive_interval: None",
            "mtu_discovery_config: None",
            "max_concurrent_bidi_streams: 16",
            "max_concurrent_uni_streams: 4",
        ] {
            assert!(shown.contains(parameter), "{parameter}: {shown}");
        }
    }
}
