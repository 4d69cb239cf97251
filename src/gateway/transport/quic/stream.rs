//! Frames on one stream of the compact protocol: read, handled and answered in turn.
//!
//! Heartbeats are read as they come, at most [`limits::STREAM_HEARTBEATS`] of them before their
//! answers are handed to QUIC. Where the peer does not take its answers, nothing more is read of
//! this stream, and other streams do not notice.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use pulsegate_wire::{Code, FrameError, frame_length, limits};
use quinn::{RecvStream, SendStream, StreamId};
use tokio::sync::{Mutex, watch};

use super::compact::{Burst, Link, Way};
use super::draining;
use super::held::Line;
use crate::transport::Phase;

/// Pushes of one stream that may wait until it can be written. Source: chosen, as many as commands
/// wait for one agent.
const PUSHES: u32 = limits::COMMANDS as u32;
/// Time at the end for the last answers to arrive. Source: chosen; three round trips to the other
/// side of the world.
const DELIVERY: Duration = Duration::from_secs(1);

/// The writing side of a stream: of its reader, and of pushes.
pub(super) struct Writer {
    pub(super) id: StreamId,
    stream: Mutex<SendStream>,
    /// Answers that wait for the disk.
    pub(super) held: Line,
    /// Pushes that wait to be written.
    waiting: AtomicU32,
    /// Nothing more is written.
    ended: AtomicBool,
}

impl Writer {
    pub(super) fn new(stream: SendStream) -> Arc<Self> {
        let id = stream.id();
        let (waiting, ended) = (AtomicU32::new(0), AtomicBool::new(false));
        let held = Line::default();
        Arc::new(Self { id, stream: Mutex::new(stream), held, waiting, ended })
    }

    /// Writes whole frames; an error means that nobody reads them any more.
    pub(super) async fn write(&self, frames: Bytes) -> Result<(), quinn::WriteError> {
        self.stream.lock().await.write_chunk(frames).await
    }

    /// Writes a frame as soon as the stream can take it; `false` when it has ended, or too many
    /// wait already.
    pub(super) fn push(self: &Arc<Self>, frame: Bytes) -> bool {
        if self.ended.load(Relaxed) {
            return false;
        }
        if self.waiting.fetch_add(1, Relaxed) >= PUSHES {
            self.waiting.fetch_sub(1, Relaxed);
            return false;
        }
        let this = self.clone();
        tokio::spawn(async move {
            // A connection that is gone takes its streams with it.
            let _ = this.write(frame).await;
            this.waiting.fetch_sub(1, Relaxed);
        });
        true
    }

    /// Says that nothing more comes; waits until all has arrived where that is wanted.
    async fn finish(&self, is_farewell: bool) {
        self.ended.store(true, Relaxed);
        let mut stream = self.stream.lock().await;
        if stream.finish().is_ok() && is_farewell {
            let _ = tokio::time::timeout(DELIVERY, stream.stopped()).await;
        }
    }
}

thread_local! {
    /// Answers are put together here before they get bytes of their own, of the right size.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Serves a stream to its end.
pub(super) async fn serve(
    link: Arc<Link>,
    writer: Arc<Writer>,
    mut reading: RecvStream,
    mut phase: watch::Receiver<Phase>,
) {
    let way = Way::Stream(writer.clone());
    let mut inbox = Inbox::default();
    let mut is_farewell = false;
    let mut draining = pin!(draining(&mut phase));
    loop {
        let chunk = tokio::select! {
            biased;
            () = &mut draining => {
                is_farewell = true;
                break;
            }
            chunk = reading.read_chunk(usize::MAX, true) => chunk,
        };
        // A reset, like the end of the connection, leaves nobody to be told.
        let Ok(Some(chunk)) = chunk else { break };
        inbox.take(chunk.bytes);
        match answer_all(&link, &way, &writer, &mut inbox).await {
            Ok(()) => {}
            Err(Ended::Stopped) => return writer.ended.store(true, Relaxed),
            Err(Ended::Wrong(code)) => return link.refuse(&way, code),
        }
    }
    writer.held.emptied().await;
    writer.finish(is_farewell).await;
}

/// Why a stream is not read any further.
enum Ended {
    /// Nobody takes the answers.
    Stopped,
    /// What came is no frame.
    Wrong(Code),
}

async fn answer_all(
    link: &Arc<Link>,
    way: &Way,
    writer: &Writer,
    inbox: &mut Inbox,
) -> Result<(), Ended> {
    loop {
        let (answers, is_done) = BUFFER
            .with_borrow_mut(|out| {
                out.clear();
                let is_done = answer_some(link, way, inbox, out);
                is_done.map(|is_done| (Bytes::copy_from_slice(out), is_done))
            })
            .map_err(Ended::Wrong)?;
        if !answers.is_empty() {
            writer.write(answers).await.map_err(|_| Ended::Stopped)?;
        }
        if is_done {
            return Ok(());
        }
    }
}

/// Answers as many heartbeats as may be unanswered; says whether no whole frame is left.
fn answer_some(
    link: &Arc<Link>,
    way: &Way,
    inbox: &mut Inbox,
    out: &mut Vec<u8>,
) -> Result<bool, Code> {
    let mut burst = Burst::default();
    let taken = take_some(link, way, inbox, &mut burst, out);
    // What came before a frame that is none counts all the same.
    link.settle(way, &mut burst, out);
    taken
}

fn take_some(
    link: &Arc<Link>,
    way: &Way,
    inbox: &mut Inbox,
    burst: &mut Burst,
    out: &mut Vec<u8>,
) -> Result<bool, Code> {
    for _ in 0..limits::STREAM_HEARTBEATS {
        let Some(frame) = inbox.next().map_err(FrameError::code)? else { return Ok(true) };
        link.handle(way, &frame, burst, out)?;
    }
    Ok(false)
}

/// What came of a stream and was not handled yet.
///
/// Usually frames come whole, and nothing is copied; of one that is cut, its beginning is kept
/// here, never more than one frame.
#[derive(Default)]
struct Inbox {
    /// The beginning of a frame; empty while `whole` is not.
    begun: BytesMut,
    whole: Bytes,
}

impl Inbox {
    fn take(&mut self, chunk: Bytes) {
        if self.begun.is_empty() {
            self.whole = chunk;
        } else {
            self.begun.extend_from_slice(&chunk);
        }
    }

    /// The next frame that came whole.
    fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if !self.begun.is_empty() {
            if !is_whole(&self.begun)? {
                return Ok(None);
            }
            self.whole = std::mem::take(&mut self.begun).freeze();
        }
        match frame_length(&self.whole)? {
            Some((begin, length)) if self.whole.len() - begin >= length => {
                self.whole.advance(begin);
                Ok(Some(self.whole.split_to(length)))
            }
            _ => {
                self.begun = BytesMut::from(&std::mem::take(&mut self.whole)[..]);
                Ok(None)
            }
        }
    }
}

/// The frames of a stream that comes in these pieces, as far as they came whole, and what ended it
/// before its end: the way from a peer's bytes to frames, for `tests/fuzz`.
#[doc(hidden)]
pub fn compact_frames<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Bytes>, Result<(), FrameError>) {
    let mut inbox = Inbox::default();
    let mut frames = Vec::new();
    for piece in pieces {
        inbox.take(Bytes::copy_from_slice(piece));
        loop {
            match inbox.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(()))
}

fn is_whole(bytes: &[u8]) -> Result<bool, FrameError> {
    let found = frame_length(bytes)?;
    Ok(found.is_some_and(|(begin, length)| bytes.len() - begin >= length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(stream: &[u8], piece: usize) -> Result<Vec<Bytes>, FrameError> {
        let mut inbox = Inbox::default();
        let mut found = Vec::new();
        for chunk in stream.chunks(piece) {
            inbox.take(Bytes::copy_from_slice(chunk));
            while let Some(frame) = inbox.next()? {
                found.push(frame);
            }
            assert!(inbox.whole.is_empty());
            assert!(inbox.begun.len() <= limits::FRAME_BYTES + 3);
        }
        Ok(found)
    }

    fn delimited(frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        crate::shard::protobuf::delimited(&mut bytes, |out| out.extend_from_slice(frame));
        bytes
    }

    #[test]
    fn frames_are_the_same_however_packets_cut_them() {
        let sent: Vec<Vec<u8>> =
            [0, 1, 127, 128, 1_200, limits::FRAME_BYTES, 3].map(|len| vec![len as u8; len]).into();
        let stream: Vec<u8> = sent.iter().flat_map(|frame| delimited(frame)).collect();
        for piece in [1, 2, 100, 1_200, stream.len()] {
            assert_eq!(frames(&stream, piece).unwrap(), sent, "{piece}");
        }
    }

    #[test]
    fn a_length_that_is_too_large_is_refused_before_anything_is_kept() {
        let large = delimited(&vec![0; limits::FRAME_BYTES + 1]);
        assert_eq!(frames(&large, 3), Err(FrameError::TooLarge));
        let stream = [&delimited(b"good")[..], &[0xff; 12]].concat();
        assert_eq!(frames(&stream, 1), Err(FrameError::TooLarge));
        assert_eq!(frames(&[0x80; 12], 5), Err(FrameError::Malformed));
    }
}
