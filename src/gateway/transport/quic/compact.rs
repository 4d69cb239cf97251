//! The compact protocol: one connection, its streams and its datagrams.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use pulsegate_core::TenantId;
use pulsegate_wire::{
    AgentId, ClientFrame, Code, FromClient, Heartbeat, Hello, Outcome, Welcome, limits,
};
use quinn::{RecvStream, SendDatagramError, SendStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::endpoint::Stay;
use super::held::{Held, Line};
use super::push::{Agents, Pushes};
use super::stream::{self, Writer};
use super::{Handshake, NO_ERROR, close_code, draining};
use crate::admission::{self, Format, Identity, Rejection};
use crate::shard::{Item, Origin, Refused, Reply, protobuf as pb};
use crate::telemetry::{BeatOutcome, Transport};
use crate::transport::heartbeats::outcome;
use crate::transport::letters::Sent;
use crate::transport::respond::internal;
use crate::transport::{Phase, Shared};

/// Looks at whether a connection is idle, in one idle time. Source: chosen, as over TCP.
const LOOKS: u32 = 4;

/// One connection.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: quinn::Connection,
    pub(super) pushes: Arc<Pushes>,
    /// The agents that pushes find here.
    pub(super) agents: Mutex<Agents>,
    /// Datagrams that wait for the disk.
    pub(super) held: Line,
    handshake: Arc<Handshake>,
    identity: Identity,
    /// A frame has come since the last look.
    active: AtomicBool,
}

/// How frames cross a connection.
#[derive(Clone)]
pub(super) enum Way {
    /// On this stream, each behind its length.
    Stream(Arc<Writer>),
    /// In datagrams.
    Datagram,
}

/// Heartbeats that came together, in order. Handled together they cost less than half: their
/// agents are found at once, and policies see them as rows (bench `transports`).
#[derive(Default)]
pub(super) struct Burst(Vec<(Heartbeat, Bytes)>);

impl Burst {
    /// Whether another one fits.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < limits::STREAM_HEARTBEATS
    }

    /// Takes a heartbeat, with the frame that it came in.
    fn push(&mut self, heartbeat: Heartbeat, frame: Bytes) {
        self.0.push((heartbeat, frame));
    }

    fn take(&mut self) -> Vec<(Heartbeat, Bytes)> {
        std::mem::take(&mut self.0)
    }
}

/// What finds a heartbeat again: it goes back as it came.
#[derive(Clone)]
pub(super) struct Stamp {
    agent_id: String,
    incarnation: u64,
    sequence: u64,
    /// The frame that it came in.
    frame: Bytes,
}

impl Link {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: quinn::Connection,
        handshake: Arc<Handshake>,
        pushes: Arc<Pushes>,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            connection,
            pushes,
            agents: Mutex::default(),
            held: Line::default(),
            handshake,
            identity: Identity::default(),
            active: AtomicBool::new(false),
        })
    }

    /// Counts what could not be read, or not be taken.
    fn count(&self, way: &Way, code: Code) {
        self.shared.telemetry.rejected(code);
        if code != Code::Unauthenticated {
            self.shared.telemetry.heartbeat(way.transport(), BeatOutcome::Rejected);
        }
    }

    /// Ends the connection: what came this way cannot be read, or not be taken.
    pub(super) fn refuse(&self, way: &Way, code: Code) {
        self.count(way, code);
        self.close(code);
    }

    fn close(&self, code: Code) {
        tracing::debug!(
            peer = %self.connection.remote_address(), code = code.as_str(),
            "a connection is closed",
        );
        self.connection.close(close_code(code), code.title().as_bytes());
    }

    /// Takes a frame: heartbeats wait in the burst for those that came with them, until it is
    /// settled. What is to be sent on a stream is appended; what came in a datagram is answered by
    /// one.
    ///
    /// # Errors
    /// The code that the connection is to be closed with; the burst is settled all the same.
    pub(super) fn handle(
        self: &Arc<Self>,
        way: &Way,
        frame: &Bytes,
        burst: &mut Burst,
        out: &mut Vec<u8>,
    ) -> Result<(), Code> {
        self.active.store(true, Relaxed);
        let outcome = match ClientFrame::decode(&frame[..]).map(|frame| frame.frame) {
            // A kind that came with a later version.
            Ok(None) => return Ok(()),
            Ok(Some(FromClient::Heartbeat(heartbeat))) => {
                burst.push(*heartbeat, frame.clone());
                return Ok(());
            }
            Ok(Some(FromClient::Hello(hello))) => Ok(hello),
            Err(_) => Err(Code::Malformed),
        };
        self.settle(way, burst, out);
        self.hello(way, &outcome?, out)
    }

    fn hello(&self, way: &Way, hello: &Hello, out: &mut Vec<u8>) -> Result<(), Code> {
        let config = self.shared.shards.config_guard();
        self.identity
            .introduce(&config, hello.token.as_bytes())
            .map_err(|_| Code::Unauthenticated)?;
        let welcome = Welcome {
            frame_bytes: limits::FRAME_BYTES as u32,
            in_flight: limits::STREAM_HEARTBEATS as u32,
        };
        // It fits into any datagram.
        let _ = self.send(way, out, |out| pb::bytes(out, 1, &welcome.encode_to_vec()));
        Ok(())
    }

    /// Handles what came together, and answers it.
    pub(super) fn settle(self: &Arc<Self>, way: &Way, burst: &mut Burst, out: &mut Vec<u8>) {
        let came = burst.take();
        if came.is_empty() {
            return;
        }
        let began = Instant::now();
        let (heartbeats, stamps): (Vec<Heartbeat>, Vec<Stamp>) = came
            .into_iter()
            .map(|(heartbeat, frame)| {
                let stamp = Stamp::of(&heartbeat, frame);
                (heartbeat, stamp)
            })
            .unzip();
        let before = out.len();
        // A bug in one of them must not cost the others of this connection.
        let handled = catch_unwind(AssertUnwindSafe(|| self.answer(way, &stamps, heartbeats, out)));
        if handled.is_err() {
            let peer = self.connection.remote_address();
            tracing::error!(%peer, "a heartbeat could not be handled: a bug");
            out.truncate(before);
            stamps.iter().for_each(|stamp| self.reject(way, stamp, &internal(), out));
        }
        let took = began.elapsed();
        stamps.iter().for_each(|_| self.shared.telemetry.handled(took));
    }

    /// Answers a heartbeat that was not handled.
    fn reject(&self, way: &Way, stamp: &Stamp, rejection: &Rejection, out: &mut Vec<u8>) {
        self.shared.telemetry.heartbeat(way.transport(), BeatOutcome::Rejected);
        self.problem(way, stamp, rejection, out);
    }

    fn problem(&self, way: &Way, stamp: &Stamp, rejection: &Rejection, out: &mut Vec<u8>) {
        self.shared.telemetry.rejected(rejection.code());
        let problem = rejection.problem.encode_to_vec();
        // A problem fits into any datagram.
        let _ = self.send(way, out, |out| stamp.write(out, |out| pb::bytes(out, 5, &problem)));
    }

    /// The frame of a problem, as it crosses the connection.
    pub(super) fn framed_problem(&self, way: &Way, stamp: &Stamp, rejection: &Rejection) -> Bytes {
        let problem = rejection.problem.encode_to_vec();
        way.framed(|out| stamp.write(out, |out| pb::bytes(out, 5, &problem)))
    }

    /// Handles heartbeats and answers each. One that is not valid is answered in its place, so
    /// that answers of one agent keep their order.
    fn answer(
        self: &Arc<Self>,
        way: &Way,
        stamps: &[Stamp],
        heartbeats: Vec<Heartbeat>,
        out: &mut Vec<u8>,
    ) {
        let tenant = {
            let config = self.shared.shards.config_guard();
            self.identity.tenant(&config)
        };
        let tenant = match tenant {
            Ok(tenant) => tenant,
            Err(refused) => {
                return stamps.iter().for_each(|stamp| self.reject(way, stamp, &refused, out));
            }
        };
        let mut items = Vec::with_capacity(heartbeats.len());
        for (place, heartbeat) in heartbeats.into_iter().enumerate() {
            match heartbeat.validate() {
                Ok(()) => items.push(Item { place, heartbeat }),
                Err(problem) => {
                    self.decide(way, tenant, stamps, std::mem::take(&mut items), out);
                    let frame = admission::framed(&stamps[place].frame);
                    self.shared.refused(self.sent(way, tenant), frame, &problem);
                    self.reject(way, &stamps[place], &Rejection::of(problem), out);
                }
            }
        }
        self.decide(way, tenant, stamps, items, out);
    }

    /// Has the agents' shards decide: one by one, or many under one lock and in one call of their
    /// policy.
    fn decide(
        self: &Arc<Self>,
        way: &Way,
        tenant: TenantId,
        stamps: &[Stamp],
        mut items: Vec<Item>,
        out: &mut Vec<u8>,
    ) {
        let telemetry = &self.shared.telemetry;
        let peer = self.connection.remote_address().ip();
        let gate = self.shared.gate(peer);
        let early = !self.handshake.is_complete();
        let origin = Origin { tenant, peer, gate: &gate, early };
        let mut overtaken = Vec::new();
        let mut answer = |stamp: &Stamp, result: Result<&Reply<'_>, Refused>| match result {
            Ok(reply) => {
                telemetry.heartbeat(way.transport(), reply.outcome().into());
                if reply.outcome() == Outcome::Stale {
                    overtaken.push(stamp.frame.clone());
                }
                self.directive(way, stamp, reply, out);
                // What was recorded and repeated must not draw pushes to itself.
                if !early {
                    self.pushes.meet(self, tenant, &stamp.agent_id, way);
                }
            }
            Err(refused) => {
                telemetry.heartbeat(way.transport(), outcome(&refused));
                self.problem(way, stamp, &self.shared.refusal(refused), out);
            }
        };
        if items.len() > 1 {
            let place = |place: usize, _: &str, result: Result<&Reply<'_>, Refused>| {
                answer(&stamps[place], result);
            };
            self.shared.shards.handle_batch(origin, items, place);
        } else if let Some(Item { place, heartbeat }) = items.pop() {
            let stamp = &stamps[place];
            let shards = &self.shared.shards;
            let handled =
                shards.handle_heartbeat(origin, heartbeat, |reply| answer(stamp, Ok(reply)));
            if let Err(refused) = handled {
                answer(stamp, Err(refused));
            }
        }
        for frame in overtaken {
            self.shared.overtaken(self.sent(way, tenant), admission::framed(&frame));
        }
    }

    fn sent(&self, way: &Way, tenant: TenantId) -> Sent {
        let (transport, format) = (way.transport(), Format::Protobuf);
        Sent { tenant, transport, format, is_early: !self.handshake.is_complete() }
    }

    /// Sends a directive, in a datagram with as much of it as fits; at once, or when what it says
    /// is durable.
    fn directive(self: &Arc<Self>, way: &Way, stamp: &Stamp, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let less = [
            *reply,
            reply.without_explain(),
            reply.without_explain().without_commands(),
            reply.without_explain().without_commands().without_early_rules(),
            reply.without_explain().without_commands().without_early_rules().without_leases(),
        ];
        for (left_away, less) in less.iter().enumerate() {
            let write = |out: &mut Vec<u8>| {
                stamp.write(out, |out| {
                    pb::message(out, 4, |out| less.write_protobuf(out));
                    pb::uint(out, 6, u64::from(left_away > 0));
                });
            };
            if let Some(until) = reply.until() {
                let frame = way.framed(write);
                if self.fits(way, &frame) {
                    // What it came in is not kept until then.
                    let stamp = Stamp { frame: Bytes::new(), ..stamp.clone() };
                    return self.hold(way, Held { until, stamp, frame });
                }
            } else if !matches!(self.send(way, out, write), Err(SendDatagramError::TooLarge)) {
                return;
            }
        }
    }

    fn fits(&self, way: &Way, frame: &Bytes) -> bool {
        let most = self.connection.max_datagram_size().unwrap_or_default();
        matches!(way, Way::Stream(_)) || frame.len() <= most
    }

    /// Sends a frame that `write` writes: onto the stream's answers, or in a datagram at once.
    pub(super) fn send(
        &self,
        way: &Way,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendDatagramError> {
        match way {
            Way::Stream(_) => {
                pb::delimited(out, write);
                Ok(())
            }
            Way::Datagram => {
                out.clear();
                write(out);
                self.connection.send_datagram(Bytes::copy_from_slice(out))
            }
        }
    }

    async fn streams(self: &Arc<Self>, streams: &mut JoinSet<()>, phase: &watch::Receiver<Phase>) {
        loop {
            tokio::select! {
                opened = self.connection.accept_bi() => {
                    let Ok((sending, reading)) = opened else { return };
                    streams.spawn(self.clone().stream(sending, reading, phase.clone()));
                }
                Some(ended) = streams.join_next(), if !streams.is_empty() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        tracing::error!("a stream could not be served: a bug");
                        self.close(Code::Internal);
                    }
                }
                opened = self.connection.accept_uni() => {
                    let Ok(mut reading) = opened else { return };
                    // It may be stopped already, which is just as well.
                    let _ = reading.stop(close_code(Code::Malformed));
                }
            }
        }
    }

    fn stream(
        self: Arc<Self>,
        sending: SendStream,
        reading: RecvStream,
        phase: watch::Receiver<Phase>,
    ) -> impl Future<Output = ()> + Send {
        stream::serve(self, Writer::new(sending), reading, phase)
    }

    async fn datagrams(self: &Arc<Self>) {
        let way = Way::Datagram;
        let (mut burst, mut buffer) = (Burst::default(), Vec::new());
        while let Ok(first) = self.connection.read_datagram().await {
            let mut next = Some(first);
            while let Some(datagram) = next.take() {
                match self.handle(&way, &datagram, &mut burst, &mut buffer) {
                    Ok(()) => {}
                    Err(code @ Code::Unauthenticated) => self.refuse(&way, code),
                    // It stands alone: the next one can be read all the same.
                    Err(code) => self.count(&way, code),
                }
                if burst.has_room() {
                    next = self.waiting_datagram().await;
                }
            }
            self.settle(&way, &mut burst, &mut buffer);
        }
    }

    /// A datagram that has come already.
    async fn waiting_datagram(&self) -> Option<Bytes> {
        let mut reading = pin!(self.connection.read_datagram());
        poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(Ok(datagram)) => Poll::Ready(Some(datagram)),
            // The end is met again by whoever waits for the next.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Waits until the connection has been idle for too long.
    async fn idle(&self) {
        let mut looks = tokio::time::interval(self.shared.limits.idle / LOOKS);
        let mut quiet = 0;
        while quiet <= LOOKS {
            looks.tick().await;
            quiet = if self.active.swap(false, Relaxed) { 0 } else { quiet + 1 };
        }
    }
}

/// Serves a connection to its end; `_stay` is held until then.
pub(super) async fn serve(link: Arc<Link>, _stay: Stay, mut phase: watch::Receiver<Phase>) {
    let mut streams = JoinSet::new();
    let reading = phase.clone();
    tokio::select! {
        () = link.streams(&mut streams, &reading) => {}
        () = link.datagrams() => {}
        () = link.idle() => {}
        () = draining(&mut phase) => {
            while streams.join_next().await.is_some() {}
            link.connection.close(NO_ERROR, b"shutting down");
        }
    }
    link.connection.close(NO_ERROR, b"");
    link.pushes.leave(&link);
}

impl Way {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Stream(_) => Transport::QuicStream,
            Self::Datagram => Transport::QuicDatagram,
        }
    }

    /// A frame that `write` writes, as it crosses the connection this way.
    fn framed(&self, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Stream(_) => pb::delimited(&mut out, write),
            Self::Datagram => write(&mut out),
        }
        out.into()
    }

    /// Whether both are the same stream, or both datagrams.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stream(one), Self::Stream(other)) => one.id == other.id,
            (Self::Datagram, Self::Datagram) => true,
            _ => false,
        }
    }
}

impl Stamp {
    fn of(heartbeat: &Heartbeat, frame: Bytes) -> Self {
        let is_name = AgentId::check(&heartbeat.agent_id).is_ok();
        Self {
            agent_id: if is_name { heartbeat.agent_id.clone() } else { String::new() },
            incarnation: heartbeat.incarnation,
            sequence: heartbeat.sequence,
            frame,
        }
    }

    /// Appends a [`pulsegate_wire::Answer`] as a frame.
    fn write(&self, out: &mut Vec<u8>, result: impl FnOnce(&mut Vec<u8>)) {
        pb::message(out, 2, |out| {
            pb::text(out, 1, &self.agent_id);
            pb::uint(out, 2, self.incarnation);
            pb::uint(out, 3, self.sequence);
            result(out);
        });
    }
}

#[cfg(test)]
mod tests {
    use pulsegate_wire::{Answered, FromServer, Problem, ServerFrame};

    use super::*;

    #[test]
    fn an_answer_is_read_as_the_published_one() {
        let heartbeat = Heartbeat {
            agent_id: "a".into(),
            incarnation: 7,
            sequence: 300,
            ..Heartbeat::default()
        };
        let problem = Problem::new(Code::TooEarly, "later").with_retry_after_ms(1);
        let mut out = Vec::new();
        Stamp::of(&heartbeat, Bytes::new()).write(&mut out, |out| {
            pb::bytes(out, 5, &problem.encode_to_vec());
            pb::uint(out, 6, 1);
        });
        let frame = ServerFrame::decode(&out[..]).unwrap();
        let Some(FromServer::Answer(answer)) = frame.frame else { panic!("no answer") };
        assert_eq!((answer.agent_id.as_str(), answer.incarnation, answer.sequence), ("a", 7, 300));
        assert_eq!(answer.result, Some(Answered::Problem(problem)));
        assert!(answer.more);
    }

    #[test]
    fn what_is_no_name_is_not_given_back() {
        let heartbeat = Heartbeat { agent_id: "a\nb".into(), ..Heartbeat::default() };
        assert_eq!(Stamp::of(&heartbeat, Bytes::new()).agent_id, "");
    }
}
