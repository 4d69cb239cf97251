//! The compact protocol: heartbeats on a stream, and in datagrams.

use std::net::SocketAddr;

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::{ALPN, Answer, Answered, Code, FromServer, Heartbeat, Push, limits};
use quinn::{Connection, Endpoint, SendDatagramError};

use super::wait;
use crate::conformance::client::{Client, Reply};
use crate::quic_client::{Stream, address, close_code, datagram as next, endpoint, hello_frame};

pub fn stream(gateway: &Gateway, token: Option<&str>) -> Box<dyn Client> {
    Box::new(OnStream { link: Link::new(gateway, token), stream: None })
}

pub fn datagram(gateway: &Gateway, token: Option<&str>) -> Box<dyn Client> {
    Box::new(InDatagrams { link: Link::new(gateway, token) })
}

/// A connection, opened when it is needed.
struct Link {
    gateway: SocketAddr,
    token: Option<String>,
    open: Option<(Endpoint, Connection)>,
    pushes: Vec<Push>,
}

struct OnStream {
    link: Link,
    stream: Option<Stream>,
}

struct InDatagrams {
    link: Link,
}

impl Link {
    fn new(gateway: &Gateway, token: Option<&str>) -> Self {
        let (gateway, token) = (address(gateway), token.map(str::to_owned));
        Self { gateway, token, open: None, pushes: Vec::new() }
    }

    /// The connection. A new one says hello first, and waits for the welcome.
    ///
    /// # Errors
    /// What the gateway closed it with instead.
    async fn connection(&mut self) -> Result<Connection, Code> {
        if let Some((_, connection)) = &self.open {
            return Ok(connection.clone());
        }
        let endpoint = endpoint(ALPN.as_bytes());
        let connecting = endpoint.connect(self.gateway, "localhost").expect("an address");
        let connection = connecting.await.expect("a connection");
        if let Some(token) = &self.token {
            let mut stream = Stream::open(&connection).await;
            stream.send(&hello_frame(token)).await;
            match stream.frame().await {
                Ok(FromServer::Welcome(welcome)) => {
                    assert_eq!(welcome.frame_bytes as usize, limits::FRAME_BYTES);
                }
                Ok(other) => panic!("no welcome: {other:?}"),
                Err(_) => return Err(closed_with(&connection).await),
            }
        }
        self.open = Some((endpoint, connection.clone()));
        Ok(connection)
    }

    /// What an answer says, if it is that of this heartbeat.
    fn reply(answer: Answer, body: &[u8]) -> Reply {
        let sent = Heartbeat::decode(body).expect("what is answered is a heartbeat");
        let is_name = pulsegate_wire::AgentId::check(&sent.agent_id).is_ok();
        let stamp = (answer.agent_id.as_str(), answer.incarnation, answer.sequence);
        let name = if is_name { sent.agent_id.as_str() } else { "" };
        assert_eq!(stamp, (name, sent.incarnation, sent.sequence));
        assert!(!answer.more, "all of these directives fit");
        match answer.result.expect("a directive or a problem") {
            Answered::Directive(directive) => Reply::Directive(Box::new(directive)),
            Answered::Problem(problem) => Reply::Problem(Box::new(problem)),
        }
    }
}

async fn closed_with(connection: &Connection) -> Code {
    Code::from_quic(close_code(connection).await).expect("a code that is known")
}

/// The frame of these bytes as a heartbeat.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 4);
    encode_key(2, WireType::LengthDelimited, &mut frame);
    encode_varint(body.len() as u64, &mut frame);
    frame.extend_from_slice(body);
    frame
}

impl OnStream {
    async fn exchange(&mut self, body: &[u8]) -> Reply {
        let connection = match self.link.connection().await {
            Ok(connection) => connection,
            Err(code) => return Reply::Closed(code),
        };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::open(&connection).await,
        };
        let frame = frame(body);
        let mut delimited = Vec::new();
        encode_varint(frame.len() as u64, &mut delimited);
        delimited.extend_from_slice(&frame);
        // The gateway may have ended the connection before all of it is sent.
        let _ = stream.sending.write_all(&delimited).await;
        loop {
            match stream.frame().await {
                Ok(FromServer::Answer(answer)) => {
                    self.stream = Some(stream);
                    return Link::reply(*answer, body);
                }
                Ok(FromServer::Push(push)) => self.link.pushes.push(push),
                Ok(other) => panic!("no answer: {other:?}"),
                Err(_) => {
                    self.link.open = None;
                    return Reply::Closed(closed_with(&connection).await);
                }
            }
        }
    }
}

impl InDatagrams {
    async fn exchange(&mut self, body: &[u8]) -> Reply {
        let connection = match self.link.connection().await {
            Ok(connection) => connection,
            Err(code) => return Reply::Closed(code),
        };
        match connection.send_datagram(frame(body).into()) {
            Ok(()) => {}
            Err(SendDatagramError::TooLarge) => return Reply::Unsent,
            Err(error) => panic!("{error}"),
        }
        // Datagrams of one connection are handled in turn: what comes before the welcome is the
        // answer, and if nothing does, nothing will.
        let is_heartbeat = Heartbeat::decode(body).is_ok();
        if !is_heartbeat {
            let hello = hello_frame(self.link.token.as_deref().unwrap_or_default());
            connection.send_datagram(hello.encode_to_vec().into()).expect("it fits");
        }
        loop {
            match next(&connection).await {
                FromServer::Answer(answer) => return Link::reply(*answer, body),
                FromServer::Push(push) => self.link.pushes.push(push),
                FromServer::Welcome(_) => return Reply::Nothing,
            }
        }
    }
}

impl Client for OnStream {
    fn send(&mut self, body: &[u8]) -> Reply {
        wait(self.exchange(body))
    }

    fn pushes(&mut self, is_awaited: bool) -> Vec<Push> {
        let stream = self.stream.as_mut().filter(|_| is_awaited && self.link.pushes.is_empty());
        if let Some(stream) = stream {
            self.link.pushes.push(wait(stream.push()));
        }
        std::mem::take(&mut self.link.pushes)
    }
}

impl Client for InDatagrams {
    fn send(&mut self, body: &[u8]) -> Reply {
        wait(self.exchange(body))
    }

    fn pushes(&mut self, is_awaited: bool) -> Vec<Push> {
        let open = self.link.open.as_ref().filter(|_| is_awaited && self.link.pushes.is_empty());
        if let Some((_, connection)) = open {
            match wait(next(connection)) {
                FromServer::Push(push) => self.link.pushes.push(push),
                other => panic!("no push: {other:?}"),
            }
        }
        std::mem::take(&mut self.link.pushes)
    }
}
