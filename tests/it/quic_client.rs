//! A client of QUIC for tests, and a network between it and the gateway that can be told to fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use pulsegate_gateway::server::Gateway;
use pulsegate_gateway::telemetry::Figures;
use pulsegate_wire::{
    ALPN, Answer, Answered, ClientFrame, Directive, FromClient, FromServer, Heartbeat, Hello,
    Problem, Push, ServerFrame, frame_length,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tokio::net::UdpSocket;

use crate::trusting;

/// Patience of a test: not a timing assertion, a way out.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What a gateway with QUIC needs beside its defaults.
pub const TLS: &str = "[tls]\ndevelopment = true\n";

/// Runs a test on a runtime of its own, for at most as long as anybody would wait.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, test).await.expect("in time") })
}

/// Waits until something is true.
pub async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a client wants of TLS: any certificate, early data and this protocol.
pub fn tls(alpn: &[u8]) -> rustls::ClientConfig {
    let mut tls = trusting::client(alpn, &[&rustls::version::TLS13]);
    tls.enable_early_data = true;
    tls
}

pub fn client_config(tls: rustls::ClientConfig) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    // Whatever ends a connection is the gateway's doing.
    transport.max_idle_timeout(None);
    config.transport_config(Arc::new(transport));
    config
}

/// An endpoint that speaks one protocol.
pub fn endpoint(alpn: &[u8]) -> Endpoint {
    let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    endpoint.set_default_client_config(client_config(tls(alpn)));
    endpoint
}

pub fn address(gateway: &Gateway) -> SocketAddr {
    gateway.addresses().quic.expect("QUIC is served")
}

pub async fn connect(gateway: &Gateway) -> (Endpoint, Connection) {
    let endpoint = endpoint(ALPN.as_bytes());
    let connection = endpoint.connect(address(gateway), "localhost").unwrap().await.unwrap();
    (endpoint, connection)
}

/// A heartbeat with a count.
pub fn beat(agent: &str, sequence: u64) -> Heartbeat {
    Heartbeat { agent_id: agent.into(), incarnation: 1, sequence, ..Heartbeat::default() }
}

pub fn heartbeat_frame(heartbeat: Heartbeat) -> ClientFrame {
    ClientFrame { frame: Some(FromClient::Heartbeat(heartbeat.into())) }
}

pub fn hello_frame(token: &str) -> ClientFrame {
    ClientFrame { frame: Some(FromClient::Hello(Hello { token: token.into() })) }
}

/// A stream of the compact protocol.
pub struct Stream {
    pub sending: SendStream,
    pub reading: RecvStream,
}

impl Stream {
    pub async fn open(connection: &Connection) -> Self {
        let (sending, reading) = connection.open_bi().await.unwrap();
        Self { sending, reading }
    }

    pub async fn send(&mut self, frame: &ClientFrame) {
        self.sending.write_all(&frame.encode_length_delimited_to_vec()).await.unwrap();
    }

    /// The next frame; an error when there is none.
    pub async fn frame(&mut self) -> Result<FromServer, quinn::ReadExactError> {
        let mut bytes = Vec::new();
        loop {
            if let Some((begin, length)) = frame_length(&bytes).unwrap() {
                let mut frame = vec![0; length];
                assert_eq!(begin, bytes.len());
                self.reading.read_exact(&mut frame).await?;
                return Ok(ServerFrame::decode(&frame[..]).unwrap().frame.expect("a known kind"));
            }
            let mut byte = [0];
            self.reading.read_exact(&mut byte).await?;
            bytes.push(byte[0]);
        }
    }

    pub async fn answer(&mut self) -> Answer {
        match self.frame().await.unwrap() {
            FromServer::Answer(answer) => *answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    pub async fn push(&mut self) -> Push {
        match self.frame().await.unwrap() {
            FromServer::Push(push) => push,
            other => panic!("no push: {other:?}"),
        }
    }

    /// Sends a heartbeat and waits for its answer.
    pub async fn beat(&mut self, heartbeat: Heartbeat) -> Answer {
        self.send(&heartbeat_frame(heartbeat)).await;
        self.answer().await
    }
}

/// The frame of a datagram.
pub async fn datagram(connection: &Connection) -> FromServer {
    let bytes = connection.read_datagram().await.unwrap();
    ServerFrame::decode(bytes).unwrap().frame.expect("a known kind")
}

pub fn directive(answer: Answer) -> Directive {
    match answer.result {
        Some(Answered::Directive(directive)) => directive,
        other => panic!("no directive: {other:?}"),
    }
}

pub fn problem(answer: Answer) -> Problem {
    match answer.result {
        Some(Answered::Problem(problem)) => problem,
        other => panic!("no problem: {other:?}"),
    }
}

/// The application code that the gateway closed a connection with.
pub async fn close_code(connection: &Connection) -> u64 {
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("not closed by the gateway: {other:?}"),
    }
}

/// Value of a counter with these labels.
pub fn counter(gateway: &Gateway, sample: &str) -> u64 {
    let scrape = gateway.telemetry().scrape(&Figures::default());
    let line = scrape.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample}")).parse().expect("a number")
}

/// Sequence of the newest heartbeat of an agent; `None` when it is not known.
pub fn sequence(gateway: &Gateway, agent: &str) -> Option<u64> {
    let tenant = pulsegate_core::TenantId(0);
    gateway.shards().find(tenant, agent, |found| found.info.sequence)
}

/// A network between clients and a gateway, which loses all packets to clients while it is mute,
/// and keeps what clients sent meanwhile.
pub struct Network {
    pub address: SocketAddr,
    mute: Arc<AtomicBool>,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Network {
    pub async fn before(gateway: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = front.local_addr().unwrap();
        let mute = Arc::new(AtomicBool::new(false));
        let is_mute = mute.clone();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        tokio::spawn(async move {
            let mut clients: Vec<(SocketAddr, Arc<UdpSocket>)> = Vec::new();
            let mut buffer = [0; 2_048];
            while let Ok((length, client)) = front.recv_from(&mut buffer).await {
                let known = clients.iter().find(|(known, _)| *known == client);
                let back = match known {
                    Some((_, back)) => back.clone(),
                    None => {
                        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                        back.connect(gateway).await.unwrap();
                        clients.push((client, back.clone()));
                        tokio::spawn(answers(front.clone(), client, back.clone(), is_mute.clone()));
                        back
                    }
                };
                if is_mute.load(SeqCst) {
                    keep.lock().unwrap().push(buffer[..length].to_vec());
                }
                // Nobody may listen there for a while.
                let _ = back.send(&buffer[..length]).await;
            }
        });
        Self { address, mute, kept }
    }

    /// What clients sent while it was mute.
    pub fn kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().clone()
    }

    pub fn set_mute(&self, mute: bool) {
        self.mute.store(mute, SeqCst);
    }
}

async fn answers(
    front: Arc<UdpSocket>,
    client: SocketAddr,
    back: Arc<UdpSocket>,
    is_mute: Arc<AtomicBool>,
) {
    let mut buffer = [0; 2_048];
    loop {
        match back.recv(&mut buffer).await {
            Ok(length) if !is_mute.load(SeqCst) => {
                let _ = front.send_to(&buffer[..length], client).await;
            }
            // Lost, or nobody listens there.
            Ok(_) | Err(_) => {}
        }
    }
}
