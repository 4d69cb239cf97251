//! A wall in front of h3: no frame but `DATA` may be large.
//!
//! h3 0.0.8 keeps every other frame until it is whole, also those of kinds that it then ignores
//! (`frame.rs`, `FrameDecoder::decode`), and a peer names the length: without a limit one stream
//! could hold gigabytes. Here the frame headers of every request and control stream are read
//! along (RFC 9114 §7.1), and a stream whose next frame is too large ends before it is kept.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h3::error::Code;
use h3::quic::{
    self, ConnectionErrorIncoming, SendStream as _, StreamErrorIncoming, StreamId, WriteBuf,
};

/// Largest frame of HTTP/3 but for `DATA`, in bytes. Larger: a peer can make a stream hold more;
/// smaller: a head that is too large ends its stream instead of being answered with 431. Source:
/// chosen, four times the largest head.
const FRAME_BYTES: u64 = 64 * 1024;

/// Kind of the only frame that h3 hands on piece by piece (RFC 9114 §7.2.1).
const DATA: u64 = 0x0;
/// Kind of the unidirectional stream that carries frames (RFC 9114 §6.2.1).
const CONTROL: u64 = 0x0;

/// Where in a stream the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Watch {
    /// In the kind of a unidirectional stream.
    StreamKind(Varint),
    /// In the kind of a frame.
    Kind(Varint),
    /// In the length of a frame of this kind.
    Length(u64, Varint),
    /// In a frame with this much to come.
    Within(u64),
    /// In a stream that carries no frames: nothing is kept of it.
    Free,
    /// In a frame that is too large.
    TooLarge,
}

/// A variable-length integer as it comes (RFC 9000 §16).
#[derive(Clone, Copy, Debug, Default)]
struct Varint {
    value: u64,
    begun: bool,
    missing: u8,
}

impl Varint {
    /// Takes a byte; the number once it is whole.
    fn take(&mut self, byte: u8) -> Option<u64> {
        if self.begun {
            self.value = self.value << 8 | u64::from(byte);
            self.missing -= 1;
        } else {
            let length = 1_u8 << (byte >> 6);
            *self = Self { value: u64::from(byte & 0x3f), begun: true, missing: length - 1 };
        }
        (self.missing == 0).then_some(self.value)
    }
}

impl Watch {
    const FRAMES: Self = Self::Kind(Varint { value: 0, begun: false, missing: 0 });
    const STREAM: Self = Self::StreamKind(Varint { value: 0, begun: false, missing: 0 });

    /// Goes over what came; `false` when a frame is too large.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self {
                Self::Free => return true,
                Self::TooLarge => return false,
                Self::Within(left) => {
                    let here = (*left).min(bytes.len() as u64);
                    *left -= here;
                    if *left == 0 {
                        *self = Self::FRAMES;
                    }
                    bytes = &bytes[here as usize..];
                    continue;
                }
                Self::StreamKind(number) => match number.take(byte) {
                    Some(CONTROL) => *self = Self::FRAMES,
                    Some(_) => *self = Self::Free,
                    None => {}
                },
                Self::Kind(number) => {
                    if let Some(kind) = number.take(byte) {
                        *self = Self::Length(kind, Varint::default());
                    }
                }
                Self::Length(kind, number) => match number.take(byte) {
                    Some(length) if *kind != DATA && length > FRAME_BYTES => {
                        *self = Self::TooLarge;
                    }
                    Some(0) => *self = Self::FRAMES,
                    Some(length) => *self = Self::Within(length),
                    None => {}
                },
            }
            bytes = rest;
        }
        !matches!(self, Self::TooLarge)
    }
}

/// Whether a stream of HTTP/3 that comes in these pieces holds no frame that is too large: a
/// request stream, or one in one direction. For `tests/fuzz`.
#[doc(hidden)]
pub fn http3_stream_passes<'a>(
    is_request: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> bool {
    let mut watch = if is_request { Watch::FRAMES } else { Watch::STREAM };
    pieces.into_iter().all(|piece| watch.pass(piece))
}

/// The receiving side of a stream, watched.
pub(super) struct Receiving {
    inner: h3_quinn::RecvStream,
    watch: Watch,
    is_reading: bool,
}

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.is_reading = true;
        let data = ready!(self.inner.poll_data(cx));
        self.is_reading = false;
        watched(data, &mut self.watch, |code| self.inner.stop_sending(code))
    }

    fn stop_sending(&mut self, code: u64) {
        // h3-quinn 0.0.10 panics where a read is under way; the stream is stopped when dropped.
        if !self.is_reading {
            self.inner.stop_sending(code);
        }
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}

fn watched(
    data: Result<Option<Bytes>, StreamErrorIncoming>,
    watch: &mut Watch,
    stop: impl FnOnce(u64),
) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
    let data = data?;
    if data.as_ref().is_some_and(|data| !watch.pass(data)) {
        let error_code = Code::H3_EXCESSIVE_LOAD.value();
        stop(error_code);
        return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
    }
    Poll::Ready(Ok(data))
}

/// A request stream, watched.
pub(super) struct Both {
    inner: h3_quinn::BidiStream<Bytes>,
    id: StreamId,
    watch: Watch,
    is_reading: bool,
}

impl Both {
    fn new(inner: h3_quinn::BidiStream<Bytes>) -> Self {
        let id = inner.send_id();
        Self { inner, id, watch: Watch::FRAMES, is_reading: false }
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.is_reading = true;
        let data = ready!(self.inner.poll_data(cx));
        self.is_reading = false;
        watched(data, &mut self.watch, |code| self.inner.stop_sending(code))
    }

    fn stop_sending(&mut self, code: u64) {
        if !self.is_reading {
            self.inner.stop_sending(code);
        }
    }

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.inner.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}

impl quic::BidiStream<Bytes> for Both {
    type SendStream = h3_quinn::SendStream<Bytes>;
    type RecvStream = Receiving;

    fn split(self) -> (Self::SendStream, Receiving) {
        let (send, inner) = self.inner.split();
        (send, Receiving { inner, watch: self.watch, is_reading: self.is_reading })
    }
}

/// A connection whose streams are watched.
pub(super) struct Guarded(h3_quinn::Connection);

impl Guarded {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self(h3_quinn::Connection::new(connection))
    }
}

impl quic::Connection<Bytes> for Guarded {
    type RecvStream = Receiving;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Receiving, ConnectionErrorIncoming>> {
        let inner = ready!(quic::Connection::<Bytes>::poll_accept_recv(&mut self.0, cx))?;
        Poll::Ready(Ok(Receiving { inner, watch: Watch::STREAM, is_reading: false }))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        let inner = ready!(quic::Connection::<Bytes>::poll_accept_bidi(&mut self.0, cx))?;
        Poll::Ready(Ok(Both::new(inner)))
    }

    fn opener(&self) -> Opener {
        Opener(quic::Connection::<Bytes>::opener(&self.0))
    }
}

/// Opens streams of ours, whose answers are watched as well.
#[derive(Clone)]
pub(super) struct Opener(h3_quinn::OpenStreams);

macro_rules! opens {
    ($($type:ty)+) => {$(
        impl quic::OpenStreams<Bytes> for $type {
            type BidiStream = Both;
            type SendStream = h3_quinn::SendStream<Bytes>;

            fn poll_open_bidi(
                &mut self,
                cx: &mut Context<'_>,
            ) -> Poll<Result<Both, StreamErrorIncoming>> {
                let inner = ready!(quic::OpenStreams::<Bytes>::poll_open_bidi(&mut self.0, cx))?;
                Poll::Ready(Ok(Both::new(inner)))
            }

            fn poll_open_send(
                &mut self,
                cx: &mut Context<'_>,
            ) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
                quic::OpenStreams::<Bytes>::poll_open_send(&mut self.0, cx)
            }

            fn close(&mut self, code: Code, reason: &[u8]) {
                quic::OpenStreams::<Bytes>::close(&mut self.0, code, reason);
            }
        }
    )+};
}

opens! { Guarded Opener }

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a stream passes, whatever pieces it comes in.
    fn passes(start: Watch, stream: &[u8]) -> bool {
        let results: Vec<bool> = [1, 2, 3, 7, stream.len()]
            .into_iter()
            .map(|size| {
                let mut watch = start;
                stream.chunks(size).all(|piece| watch.pass(piece))
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{stream:x?}: {results:?}");
        results[0]
    }

    /// A frame header: kind, and a length of four bytes.
    fn header(kind: u8, length: u32) -> Vec<u8> {
        [&[kind][..], &(length | 0x8000_0000).to_be_bytes()].concat()
    }

    #[test]
    fn data_may_be_as_long_as_it_likes_and_other_frames_not() {
        assert!(passes(Watch::FRAMES, &header(0x0, 1 << 29)));
        for kind in [0x1, 0x4, 0x21, 0x3f] {
            assert!(passes(Watch::FRAMES, &header(kind, 65_536)), "{kind}");
            assert!(!passes(Watch::FRAMES, &header(kind, 65_537)), "{kind}");
        }
    }

    #[test]
    fn every_frame_of_a_stream_is_looked_at() {
        let head = [&header(0x1, 5)[..], b"hello", &[0x0, 0x3], b"abc", &[0x21, 0x0]].concat();
        assert!(passes(Watch::FRAMES, &head));
        assert!(!passes(Watch::FRAMES, &[&head[..], &header(0x1, 1 << 20)].concat()));
        // A length in eight bytes.
        let long = [&head[..], &[0x21], &((1_u64 << 40) | (3 << 62)).to_be_bytes()].concat();
        assert!(!passes(Watch::FRAMES, &long));
    }

    #[test]
    fn of_unidirectional_streams_only_the_control_stream_has_frames() {
        let large = header(0x4, 1 << 20);
        assert!(!passes(Watch::STREAM, &[&[0x0][..], &large].concat()));
        assert!(passes(Watch::STREAM, &[&[0x2][..], &large].concat()));
        assert!(passes(Watch::STREAM, &[&[0x40, 0x54][..], &large].concat()));
    }
}
