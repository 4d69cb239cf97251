//! The compact protocol: one connection, its streams and its datagrams.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use pulsegate_wire::{AgentId, ClientFrame, Code, FromClient, Heartbeat, Hello, Welcome, limits};
use quinn::{RecvStream, SendDatagramError, SendStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::endpoint::Stay;
use super::push::{Agents, Pushes};
use super::stream::{self, Writer};
use super::{Handshake, NO_ERROR, close_code, draining};
use crate::admission::{Identity, Rejection};
use crate::shard::{Origin, Reply, protobuf as pb};
use crate::telemetry::{BeatOutcome, Transport};
use crate::transport::heartbeats::outcome;
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

/// What finds a heartbeat again: it goes back as it came.
struct Stamp {
    agent_id: String,
    incarnation: u64,
    sequence: u64,
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

    /// Handles a frame, and appends what is to be sent on a stream; what came in a datagram is
    /// answered by one.
    ///
    /// # Errors
    /// The code that the connection is to be closed with.
    pub(super) fn handle(
        self: &Arc<Self>,
        way: &Way,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Code> {
        self.active.store(true, Relaxed);
        match ClientFrame::decode(frame).map_err(|_| Code::Malformed)?.frame {
            // A kind that came with a later version.
            None => Ok(()),
            Some(FromClient::Hello(hello)) => self.hello(way, &hello, out),
            Some(FromClient::Heartbeat(heartbeat)) => {
                self.heartbeat(way, *heartbeat, out);
                Ok(())
            }
        }
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

    fn heartbeat(self: &Arc<Self>, way: &Way, heartbeat: Heartbeat, out: &mut Vec<u8>) {
        let began = Instant::now();
        let stamp = Stamp::of(&heartbeat);
        let before = out.len();
        // A bug in one heartbeat must not cost the others of this connection.
        let handled = catch_unwind(AssertUnwindSafe(|| self.answer(way, &stamp, heartbeat, out)));
        let refused = match handled {
            Ok(Ok(())) => None,
            Ok(Err(rejection)) => Some(rejection),
            Err(_) => {
                let peer = self.connection.remote_address();
                tracing::error!(%peer, "a heartbeat could not be handled: a bug");
                self.shared.telemetry.heartbeat(way.transport(), BeatOutcome::Rejected);
                out.truncate(before);
                Some(internal())
            }
        };
        if let Some(rejection) = refused {
            self.shared.telemetry.rejected(rejection.code());
            let problem = rejection.problem.encode_to_vec();
            // A problem fits into any datagram.
            let _ = self.send(way, out, |out| {
                stamp.write(out, |out| pb::bytes(out, 5, &problem));
            });
        }
        self.shared.telemetry.handled(began.elapsed());
    }

    /// Handles a heartbeat and answers it with its directive.
    fn answer(
        self: &Arc<Self>,
        way: &Way,
        stamp: &Stamp,
        heartbeat: Heartbeat,
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let telemetry = &self.shared.telemetry;
        let reject = |rejection| {
            telemetry.heartbeat(way.transport(), BeatOutcome::Rejected);
            rejection
        };
        let tenant = {
            let config = self.shared.shards.config_guard();
            self.identity.tenant(&config).map_err(reject)?
        };
        heartbeat.validate().map_err(Rejection::of).map_err(reject)?;
        let peer = self.connection.remote_address().ip();
        let gate = self.shared.gate(peer);
        let early = !self.handshake.is_complete();
        let origin = Origin { tenant, peer, gate: &gate, early };
        let answered = self.shared.shards.handle_heartbeat(origin, heartbeat, |reply| {
            telemetry.heartbeat(way.transport(), reply.outcome().into());
            self.directive(way, stamp, reply, out);
        });
        answered.map_err(|refused| {
            telemetry.heartbeat(way.transport(), outcome(&refused));
            self.shared.refusal(refused)
        })?;
        // What was recorded and repeated must not draw pushes to itself.
        if !early {
            self.pushes.meet(self, tenant, &stamp.agent_id, way);
        }
        Ok(())
    }

    /// Sends a directive, in a datagram with as much of it as fits.
    fn directive(&self, way: &Way, stamp: &Stamp, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let less = [
            *reply,
            reply.without_explain(),
            reply.without_explain().without_commands(),
            reply.without_explain().without_commands().without_early_rules(),
        ];
        for (left_away, reply) in less.iter().enumerate() {
            let sent = self.send(way, out, |out| {
                stamp.write(out, |out| {
                    pb::message(out, 4, |out| reply.write_protobuf(out));
                    pb::uint(out, 6, u64::from(left_away > 0));
                });
            });
            if !matches!(sent, Err(SendDatagramError::TooLarge)) {
                return;
            }
        }
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
        let mut buffer = Vec::new();
        while let Ok(datagram) = self.connection.read_datagram().await {
            match self.handle(&Way::Datagram, &datagram, &mut buffer) {
                Ok(()) => {}
                Err(code @ Code::Unauthenticated) => self.refuse(&Way::Datagram, code),
                // It stands alone: the next one can be read all the same.
                Err(code) => self.count(&Way::Datagram, code),
            }
        }
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
    fn of(heartbeat: &Heartbeat) -> Self {
        let is_name = AgentId::check(&heartbeat.agent_id).is_ok();
        Self {
            agent_id: if is_name { heartbeat.agent_id.clone() } else { String::new() },
            incarnation: heartbeat.incarnation,
            sequence: heartbeat.sequence,
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
        Stamp::of(&heartbeat).write(&mut out, |out| {
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
        assert_eq!(Stamp::of(&heartbeat).agent_id, "");
    }
}
