//! What quinn and h3 alone can do: one endpoint, as the gateway has it, that reads the same
//! heartbeats with the same types, answers the same bytes and decides nothing.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use h3::server::RequestResolver;
use hyper::{Response, StatusCode};
use prost::Message as _;
use pulsegate_wire::{
    ALPN, Answered, ClientFrame, FromClient, FromServer, Heartbeat, ServerFrame, frame_length,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig};

use super::{Answer, State};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Serves until standard input ends; the address is told in the first line of standard output.
pub(crate) fn serve(answer: Answer) -> std::io::Result<()> {
    let answer = Arc::new(answer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = runtime.block_on(async { endpoint() }).map_err(std::io::Error::other)?;
    println!("{}", endpoint.local_addr()?);
    std::io::stdout().flush()?;
    std::thread::spawn(move || runtime.block_on(accept(endpoint, answer)));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The windows are the gateway's: memory is compared as well.
fn endpoint() -> Result<Endpoint, Failed> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    tls.alpn_protocols = vec![ALPN.as_bytes().to_vec(), b"h3".to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(16_u32.into())
        .max_concurrent_uni_streams(4_u32.into())
        .stream_receive_window((64_u32 * 1024).into())
        .receive_window((1024_u32 * 1024).into())
        .send_window(256 * 1024)
        .datagram_receive_buffer_size(Some(64 * 1024))
        .datagram_send_buffer_size(64 * 1024)
        .mtu_discovery_config(None)
        .max_idle_timeout(None);
    config.transport_config(Arc::new(transport));
    Ok(Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?)
}

async fn accept(endpoint: Endpoint, answer: Arc<Answer>) {
    while let Some(incoming) = endpoint.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let data = connection.handshake_data();
            let data =
                data.and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
            // A connection ends with its client.
            let _ = if data.and_then(|data| data.protocol).as_deref() == Some(b"h3") {
                http3(connection, &answer).await
            } else {
                compact(connection, &answer).await
            };
        });
    }
}

async fn compact(connection: Connection, answer: &Arc<Answer>) -> Result<(), Failed> {
    let mut state = State::new(answer);
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let (sending, reading) = stream?;
                tokio::spawn(stream_of(sending, reading, answer.clone()));
            }
            datagram = connection.read_datagram() => {
                let mut out = Vec::new();
                state.frame(&datagram?)?.encode(&mut out)?;
                connection.send_datagram(out.into())?;
            }
        }
    }
}

async fn stream_of(
    mut sending: SendStream,
    mut reading: RecvStream,
    answer: Arc<Answer>,
) -> Result<(), Failed> {
    let mut state = State::new(&answer);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    while let Some(chunk) = reading.read_chunk(64 * 1024, true).await? {
        input.extend_from_slice(&chunk.bytes);
        let mut done = 0;
        while let Some((begin, length)) = frame_length(&input[done..])? {
            let Some(frame) = input.get(done + begin..done + begin + length) else { break };
            state.frame(frame)?.encode_length_delimited(&mut out)?;
            done += begin + length;
        }
        input.drain(..done);
        sending.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

impl State {
    /// The answer to a frame.
    fn frame(&mut self, frame: &[u8]) -> Result<ServerFrame, Failed> {
        let frame = ClientFrame::decode(frame)?.frame;
        let Some(FromClient::Heartbeat(heartbeat)) = frame else {
            return Err("no heartbeat".into());
        };
        let Heartbeat { agent_id, incarnation, sequence, .. } = *heartbeat;
        self.directive.number = sequence;
        let result = Some(Answered::Directive(self.directive.clone()));
        let answer =
            pulsegate_wire::Answer { agent_id, incarnation, sequence, result, more: false };
        Ok(ServerFrame { frame: Some(FromServer::Answer(answer.into())) })
    }
}

async fn http3(connection: Connection, answer: &Arc<Answer>) -> Result<(), Failed> {
    let quic = h3_quinn::Connection::new(connection);
    let mut h3 = h3::server::builder().send_grease(false).build(quic).await?;
    let state = Arc::new(Mutex::new(State::new(answer)));
    while let Some(resolver) = h3.accept().await? {
        tokio::spawn(request(resolver, state.clone()));
    }
    Ok(())
}

async fn request(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    state: Arc<Mutex<State>>,
) -> Result<(), Failed> {
    let (_, mut stream) = resolver.resolve_request().await?;
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await? {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    let Ok(heartbeat) = serde_json::from_slice::<Heartbeat>(&body) else {
        let response = Response::builder().status(StatusCode::BAD_REQUEST).body(())?;
        stream.send_response(response).await?;
        return Ok(stream.finish().await?);
    };
    let (bytes, mut response) = {
        let mut state = state.lock().unwrap_or_else(|broken| broken.into_inner());
        state.directive.number = heartbeat.sequence;
        let bytes = serde_json::to_vec(&state.directive)?;
        let mut response = Response::builder().header("content-length", bytes.len());
        for (name, value) in &state.headers {
            response = response.header(name, value);
        }
        (bytes, response)
    };
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    response = response.header("date", date);
    stream.send_response(response.body(())?).await?;
    stream.send_data(bytes.into()).await?;
    Ok(stream.finish().await?)
}
