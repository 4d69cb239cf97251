//! HTTP/1.1 and HTTP/2, in cleartext (HTTP/2 by prior knowledge) and over TLS (chosen by ALPN).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulsegate_gateway::server::Gateway;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http::Voice;
use super::wait;
use crate::conformance::client::{Client, Form, Reply};
use crate::trusting;

pub fn http1(gateway: &Gateway, form: Form, is_tls: bool, token: Option<&str>) -> Box<dyn Client> {
    client(gateway, Version::HTTP_11, form, is_tls, token)
}

pub fn http2(gateway: &Gateway, form: Form, is_tls: bool, token: Option<&str>) -> Box<dyn Client> {
    client(gateway, Version::HTTP_2, form, is_tls, token)
}

fn client(
    gateway: &Gateway,
    version: Version,
    form: Form,
    is_tls: bool,
    token: Option<&str>,
) -> Box<dyn Client> {
    let address = gateway.addresses().agents;
    assert_eq!(gateway.addresses().tls, is_tls);
    let voice = Voice::new(form, token);
    Box::new(Tcp { address, version, is_tls, voice, sender: None })
}

struct Tcp {
    address: SocketAddr,
    version: Version,
    is_tls: bool,
    voice: Voice,
    /// `None` until the first request, and after the gateway has ended the connection.
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A stream of bytes.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Tcp {
    async fn connect(&self) -> Sender {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let wire: Box<dyn Wire> = if self.is_tls {
            let alpn: &[u8] = if self.version == Version::HTTP_2 { b"h2" } else { b"http/1.1" };
            let tls = TlsConnector::from(Arc::new(trusting::client(alpn, rustls::ALL_VERSIONS)));
            let name = "localhost".try_into().expect("a name");
            let stream = tls.connect(name, stream).await.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
            Box::new(stream)
        } else {
            Box::new(stream)
        };
        let io = TokioIo::new(wire);
        if self.version == Version::HTTP_2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            Sender::Http1(sender)
        }
    }

    async fn exchange(&mut self, content_type: &str, body: &[u8]) -> Response<Bytes> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.connect().await,
        };
        let scheme = if self.is_tls { "https" } else { "http" };
        let body = Full::new(Bytes::copy_from_slice(body));
        let mut request = self.voice.request(scheme, content_type).map(|()| body);
        *request.version_mut() = self.version;
        let answer = sender.send(request).await;
        assert_eq!(answer.version(), self.version);
        let (parts, body) = answer.into_parts();
        let is_last = parts.headers.get("connection").is_some_and(|value| value == "close");
        let bytes = body.collect().await.expect("a body").to_bytes();
        if !is_last {
            self.sender = Some(sender);
        }
        Response::from_parts(parts, bytes)
    }
}

impl Sender {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("the connection is open");
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.expect("the connection is open");
                sender.send_request(request).await
            }
        };
        answer.expect("an answer")
    }
}

impl Client for Tcp {
    fn send(&mut self, body: &[u8]) -> Reply {
        self.send_as(self.voice.form.content_type(), body)
    }

    fn send_as(&mut self, content_type: &str, body: &[u8]) -> Reply {
        let answer = wait(self.exchange(content_type, body));
        self.voice.reply(&answer)
    }
}
