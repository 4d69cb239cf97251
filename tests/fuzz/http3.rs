//! The guard that reads the frame headers of HTTP/3 along.

use pulsegate_gateway::transport::http3_stream_passes;

/// Largest frame but for `DATA`, in bytes, once more.
const MOST: u64 = 64 * 1024;

/// A stream of HTTP/3. The first byte says whether it is a request or goes one way, and into how
/// large pieces it is cut.
pub fn http3_frames(bytes: &[u8]) {
    let Some((&how, stream)) = bytes.split_first() else { return };
    let (is_request, piece) = (how & 1 == 0, 1 + usize::from(how >> 1));
    let expected = may_pass(is_request, stream);
    assert_eq!(http3_stream_passes(is_request, [stream]), expected, "in one piece");
    assert_eq!(http3_stream_passes(is_request, stream.chunks(piece)), expected, "in pieces");
}

/// The same by reading of RFC 9114 §6.2 and §7.1, with the whole stream at hand.
fn may_pass(is_request: bool, mut stream: &[u8]) -> bool {
    if !is_request {
        match varint(&mut stream) {
            // Only the control stream has frames.
            Some(0) => {}
            _ => return true,
        }
    }
    while let Some(kind) = varint(&mut stream) {
        let Some(length) = varint(&mut stream) else { return true };
        if kind != 0 && length > MOST {
            return false;
        }
        let here = length.min(stream.len() as u64) as usize;
        stream = &stream[here..];
    }
    true
}

/// A variable-length integer (RFC 9000 §16); `None` where it has not come whole.
fn varint(stream: &mut &[u8]) -> Option<u64> {
    let length = 1_usize << (stream.first()? >> 6);
    let (number, rest) = stream.split_at_checked(length)?;
    *stream = rest;
    let first = u64::from(number[0] & 0x3f);
    Some(number[1..].iter().fold(first, |value, &byte| value << 8 | u64::from(byte)))
}
