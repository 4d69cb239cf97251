//! What a peer of QUIC may take, how connections end, and the certificate that all of it rests on.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use prost::Message as _;
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::{ALPN, Code, FromServer, limits};
use quinn::VarInt;
use rustls::pki_types::CertificateDer;

use crate::quic_client::{
    Network, PATIENCE, Stream, TLS, address, beat, client_config, close_code, connect, counter,
    datagram, directive, endpoint, heartbeat_frame, run, until,
};
use crate::support::{config, start};

#[test]
fn a_frame_that_is_none_closes_its_connection_and_no_other() {
    let gateway = start(TLS);
    run(async {
        let (_one, bystander) = connect(&gateway).await;
        let mut other = Stream::open(&bystander).await;
        directive(other.beat(beat("other", 1)).await);
        let too_large = (limits::FRAME_BYTES + 1) as u32;
        let mut length = Vec::new();
        prost::encoding::encode_varint(too_large.into(), &mut length);
        for (bytes, code) in [
            (vec![2, 0x0a, 0x7f], Code::Malformed),
            (vec![0x80; 10], Code::Malformed),
            (length, Code::TooLarge),
        ] {
            let (_endpoint, connection) = connect(&gateway).await;
            let mut stream = Stream::open(&connection).await;
            // What stands before it is answered all the same, unless the close overtakes it.
            stream.send(&heartbeat_frame(beat("a", 1))).await;
            stream.sending.write_all(&bytes).await.unwrap();
            assert_eq!(close_code(&connection).await, u64::from(code.quic()), "{bytes:x?}");
        }
        directive(other.beat(beat("other", 2)).await);
        assert_eq!(counter(&gateway, "pulsegate_problems_total{code=\"too_large\"}"), 1);
    });
}

#[test]
fn the_largest_heartbeat_is_taken() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        let mut bytes = beat("a", 1).encode_to_vec();
        // A field that nobody knows fills it up.
        let filler = limits::HEARTBEAT_BYTES - bytes.len() - 4;
        prost::encoding::encode_key(900, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(filler as u64, &mut bytes);
        bytes.resize(limits::HEARTBEAT_BYTES, 0);
        let mut frame = vec![0x12];
        prost::encoding::encode_varint(bytes.len() as u64, &mut frame);
        frame.extend_from_slice(&bytes);
        assert_eq!(frame.len(), limits::FRAME_BYTES);
        let mut delimited = Vec::new();
        prost::encoding::encode_varint(frame.len() as u64, &mut delimited);
        delimited.extend_from_slice(&frame);
        stream.sending.write_all(&delimited).await.unwrap();
        assert_eq!(directive(stream.answer().await).number, 1);
    });
}

#[test]
fn a_datagram_that_is_no_frame_is_counted_and_dropped() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        connection.send_datagram(vec![0x0a, 0x7f].into()).unwrap();
        connection.send_datagram(heartbeat_frame(beat("a", 1)).encode_to_vec().into()).unwrap();
        let FromServer::Answer(answer) = datagram(&connection).await else { panic!() };
        directive(*answer);
        assert_eq!(counter(&gateway, "pulsegate_problems_total{code=\"malformed\"}"), 1);
    });
}

#[test]
fn sixteen_streams_are_open_at_once_and_the_next_one_waits() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut streams = Vec::new();
        for number in 0..16 {
            let mut stream = Stream::open(&connection).await;
            directive(stream.beat(beat(&format!("a{number}"), 1)).await);
            streams.push(stream);
        }
        let mut next = pin!(connection.open_bi());
        let waits = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "a seventeenth stream");
        // Room is announced for a few at once, so that it costs few packets.
        for mut done in streams.drain(..4) {
            done.sending.finish().unwrap();
            assert!(done.frame().await.is_err());
        }
        next.await.unwrap();
    });
}

#[test]
fn a_unidirectional_stream_has_no_use() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let stopped = stream.stopped().await.unwrap();
        assert_eq!(stopped, Some(VarInt::from_u32(Code::Malformed.quic())));
        directive(Stream::open(&connection).await.beat(beat("a", 1)).await);
    });
}

#[test]
fn nothing_in_common_ends_the_handshake() {
    let gateway = start(TLS);
    run(async {
        let endpoint = endpoint(b"pulsegate/9");
        let connecting = endpoint.connect(address(&gateway), "localhost").unwrap();
        match connecting.await.unwrap_err() {
            quinn::ConnectionError::ConnectionClosed(close) => {
                // The alert no_application_protocol, 120 (RFC 7301 §3.2), as QUIC carries it.
                assert_eq!(u64::from(close.error_code), 0x100 + 120);
            }
            other => panic!("{other:?}"),
        }
        let failed = || counter(&gateway, "pulsegate_quic_handshakes_total{result=\"failed\"}");
        until("counted", || failed() == 1).await;
    });
}

#[test]
fn a_client_that_offers_more_gets_the_compact_protocol() {
    let gateway = start(TLS);
    run(async {
        let mut tls = crate::quic_client::tls(b"pulsegate/2");
        tls.alpn_protocols.extend([b"h3".to_vec(), ALPN.into()]);
        let endpoint = endpoint(b"");
        let config = client_config(tls);
        let connecting = endpoint.connect_with(config, address(&gateway), "localhost").unwrap();
        directive(Stream::open(&connecting.await.unwrap()).await.beat(beat("a", 1)).await);
    });
}

#[test]
fn a_connection_too_many_is_refused_and_time_stands_still() {
    let gateway = start(&format!("{TLS}[limits]\nconnections = 2\n"));
    run(async {
        let (_one, first) = connect(&gateway).await;
        let (_two, second) = connect(&gateway).await;
        assert_eq!(counter(&gateway, "pulsegate_connections"), 2);
        let endpoint = endpoint(ALPN.as_bytes());
        let refused = endpoint.connect(address(&gateway), "localhost").unwrap().await.unwrap_err();
        let quinn::ConnectionError::ConnectionClosed(close) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(u64::from(close.error_code), 0x2, "CONNECTION_REFUSED");
        assert_eq!(counter(&gateway, "pulsegate_shed_total{reason=\"connections\"}"), 1);
        assert_eq!(counter(&gateway, "pulsegate_quic_handshakes_total{result=\"refused\"}"), 1);
        // The places that there are, go on being served, and one that is left is given again.
        directive(Stream::open(&first).await.beat(beat("a", 1)).await);
        second.close(0u32.into(), b"");
        until("a place is free", || counter(&gateway, "pulsegate_connections") == 1).await;
        connect(&gateway).await;
    });
}

#[test]
fn a_flood_of_handshakes_makes_clients_prove_their_address() {
    // Handshakes under way stay under way for as long as the test needs.
    let gateway = start(&format!("{TLS}[limits]\nheader_timeout_ms = 60000\n"));
    let count = |result: &str| {
        counter(&gateway, &format!("pulsegate_quic_handshakes_total{{result=\"{result}\"}}"))
    };
    run(async {
        let network = Network::before(address(&gateway)).await;
        network.set_mute(true);
        let flood = endpoint(ALPN.as_bytes());
        let _begun: Vec<_> =
            (0..80).map(|_| flood.connect(network.address, "localhost").unwrap()).collect();
        until("asked for a proof", || count("retried") > 0).await;
        assert_eq!(count("completed"), 0);
        // Whoever can be reached, proves it and is served.
        let (_endpoint, connection) = connect(&gateway).await;
        directive(Stream::open(&connection).await.beat(beat("a", 1)).await);
        assert_eq!(count("completed"), 1);
        assert_eq!(count("refused"), 0);
    });
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let gateway = start(&format!("{TLS}[limits]\nheader_timeout_ms = 200\n"));
    run(async {
        let network = Network::before(address(&gateway)).await;
        network.set_mute(true);
        let endpoint = endpoint(ALPN.as_bytes());
        let _begun = endpoint.connect(network.address, "localhost").unwrap();
        let failed = || counter(&gateway, "pulsegate_quic_handshakes_total{result=\"failed\"}");
        until("given up", || failed() == 1).await;
        until("its place is free", || counter(&gateway, "pulsegate_connections") == 0).await;
    });
}

#[test]
fn a_silent_connection_ends_and_an_idle_one_that_is_kept_alive_as_well() {
    let gateway = start(&format!("{TLS}[limits]\nidle_timeout_ms = 1000\n"));
    run(async {
        let (_silent, silent) = connect(&gateway).await;
        directive(Stream::open(&silent).await.beat(beat("a", 1)).await);
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(None).keep_alive_interval(Some(Duration::from_millis(100)));
        let mut config = client_config(crate::quic_client::tls(ALPN.as_bytes()));
        config.transport_config(Arc::new(transport));
        let endpoint = endpoint(ALPN.as_bytes());
        let connecting = endpoint.connect_with(config, address(&gateway), "localhost").unwrap();
        let pinging = connecting.await.unwrap();
        directive(Stream::open(&pinging).await.beat(beat("b", 1)).await);
        assert_eq!(close_code(&pinging).await, 0);
        // The idle timeout was agreed on in the handshake: no packet says that it is over.
        assert_eq!(silent.closed().await, quinn::ConnectionError::TimedOut);
    });
}

/// A certificate for localhost.
pub struct Identity {
    cert: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Identity {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { cert: made.cert, key: made.signing_key }
    }

    /// A client that trusts this certificate only.
    fn trusting(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::clone(self.cert.der())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.into()];
        tls
    }

    /// Whether a gateway shows this certificate, over QUIC.
    async fn is_shown(&self, gateway: &Gateway) -> bool {
        let config = client_config(self.trusting());
        let endpoint = endpoint(b"");
        let connecting = endpoint.connect_with(config, address(gateway), "localhost").unwrap();
        connecting.await.is_ok()
    }

    /// The same over TCP.
    async fn is_shown_over_tcp(&self, gateway: &Gateway) -> bool {
        let mut tls = self.trusting();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = tokio::net::TcpStream::connect(gateway.addresses().agents).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        connector.connect("localhost".try_into().unwrap(), stream).await.is_ok()
    }
}

/// The files of a certificate, gone with the test.
pub struct Files(PathBuf);

impl Files {
    pub fn new(test: &str) -> Self {
        let name = format!("pulsegate-it-{}-{test}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    pub fn write(&self, identity: &Identity) {
        std::fs::write(self.0.join("tls.crt"), identity.cert.pem()).unwrap();
        std::fs::write(self.0.join("tls.key"), identity.key.serialize_pem()).unwrap();
    }

    pub fn certificate(&self) -> PathBuf {
        self.0.join("tls.crt")
    }

    pub fn toml(&self) -> String {
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| self.0.join(name));
        format!("[tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_a_bad_one_never() {
    let files = Files::new("certificate");
    let [old, new] = [(); 2].map(|()| Identity::new());
    files.write(&old);
    let gateway = start(&files.toml());
    run(async {
        let (_endpoint, open) = connect(&gateway).await;
        let mut stream = Stream::open(&open).await;
        directive(stream.beat(beat("a", 1)).await);
        assert!(old.is_shown(&gateway).await && old.is_shown_over_tcp(&gateway).await);
        files.write(&new);
        assert_eq!(gateway.reload(&config(&files.toml())).unwrap(), Vec::<String>::new());
        assert!(new.is_shown(&gateway).await && new.is_shown_over_tcp(&gateway).await);
        assert!(!old.is_shown(&gateway).await);
        // A key that does not belong to the certificate.
        std::fs::write(files.0.join("tls.key"), old.key.serialize_pem()).unwrap();
        let refused = gateway.reload(&config(&files.toml())).unwrap_err();
        assert!(matches!(refused, pulsegate_gateway::server::Error::Tls(_)), "{refused:?}");
        assert!(new.is_shown(&gateway).await && new.is_shown_over_tcp(&gateway).await);
        // Connections that are open keep what they have.
        directive(stream.beat(beat("a", 2)).await);
    });
}

#[test]
fn files_of_a_certificate_that_are_written_are_read_again() {
    let files = Files::new("written");
    let [old, new] = [(); 2].map(|()| Identity::new());
    files.write(&old);
    let gateway = start(&files.toml());
    run(async {
        assert!(old.is_shown(&gateway).await);
        files.write(&new);
        let begun = tokio::time::Instant::now();
        while !new.is_shown(&gateway).await {
            assert!(begun.elapsed() < PATIENCE, "the new certificate is never shown");
        }
    });
}

#[test]
fn quic_can_be_turned_off_and_needs_a_certificate() {
    let gateway = start(&format!("quic = false\n{TLS}"));
    assert_eq!(gateway.addresses().quic, None);
    assert_eq!(start("").addresses().quic, None);
    let gateway = start(TLS);
    let addresses = gateway.addresses();
    assert_eq!(addresses.quic, Some(addresses.agents), "one number for both");
    let overrides = pulsegate_gateway::config::Overrides::default().flag(
        "--ephemeral",
        "journal.ephemeral",
        "true",
    );
    let parse = |toml: &str| {
        let directory = std::path::Path::new(".");
        pulsegate_gateway::config::Config::parse("test", toml, directory, &overrides)
    };
    let refused = parse("quic = true\n").unwrap_err().to_string();
    assert!(refused.contains("needs a certificate"), "{refused}");
    let open = format!("quic_listen = \"0.0.0.0:0\"\n{TLS}");
    let refused = parse(&open).unwrap_err().to_string();
    assert!(refused.contains("credentials"), "{refused}");
}
