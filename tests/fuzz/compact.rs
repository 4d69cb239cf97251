//! Frames of the compact protocol, on a stream that packets cut anywhere.

use prost::Message;
use pulsegate_gateway::admission;
use pulsegate_gateway::transport::compact_frames as take_apart;
use pulsegate_wire::{ClientFrame, FrameError, FromClient, Heartbeat, ServerFrame, limits};

/// A stream of frames. The first byte says into how large pieces it is cut.
pub fn compact_frames(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let (frames, end) = take_apart([stream]);
    let pieces = stream.chunks(1 + usize::from(cut));
    let cut_up = take_apart(pieces);
    assert_eq!(cut_up, (frames.clone(), end), "frames are the same however packets cut them");
    assert_eq!((frames.len(), end), count(stream), "each frame stands behind its length");
    for frame in &frames {
        assert!(frame.len() <= limits::FRAME_BYTES);
        from_client(frame);
        again::<ServerFrame>(frame);
    }
}

/// A message that can be read is the same when it is read again. Bytes are compared: NaN, which
/// protobuf can hold, equals nothing.
fn again<M: Message + Default>(frame: &[u8]) -> Option<M> {
    let message = M::decode(frame).ok()?;
    let bytes = message.encode_to_vec();
    let read = M::decode(bytes.as_slice()).expect("what was written can be read");
    assert_eq!(read.encode_to_vec(), bytes);
    Some(message)
}

/// The heartbeat of a frame is found in it, as it would stand in a dead letter.
fn from_client(frame: &[u8]) {
    let Some(read) = again::<ClientFrame>(frame) else { return };
    let Some(FromClient::Heartbeat(heartbeat)) = &read.frame else { return };
    let canonical = read.encode_to_vec();
    let found = Heartbeat::decode(admission::framed(&canonical)).expect("it is there");
    assert_eq!(found.encode_to_vec(), heartbeat.encode_to_vec());
    // It says no, or it is kept; either way it says so in bounded words.
    if let Err(problem) = heartbeat.validate() {
        crate::problem::assert_clear(&problem);
    }
}

/// How many whole frames a stream has, by reading of protobuf's encoding: varints of seven bits a
/// byte, the lowest first.
fn count(mut stream: &[u8]) -> (usize, Result<(), FrameError>) {
    let mut frames = 0;
    loop {
        let mut length = 0_u128;
        let mut at = 0;
        loop {
            let Some(&byte) = stream.get(at) else { return (frames, Ok(())) };
            if at == 9 && byte > 1 {
                return (frames, Err(FrameError::Malformed));
            }
            length |= u128::from(byte & 0x7f) << (7 * at);
            if length > limits::FRAME_BYTES as u128 {
                return (frames, Err(FrameError::TooLarge));
            }
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some(rest) = stream.get(at + length as usize..) else { return (frames, Ok(())) };
        stream = rest;
        frames += 1;
    }
}
