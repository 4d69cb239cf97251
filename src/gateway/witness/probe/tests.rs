//! One question over real sockets: what is sent, what counts, and what is not read.

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// A way out of a test that would hang; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A limit that has to pass for the test to go on.
const SHORT: Duration = Duration::from_millis(100);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn tcp(port: u16) -> Probe {
    Probe { kind: ProbeKind::Tcp as i32, port: port.into(), path: String::new() }
}

fn http(port: u16, path: &str) -> Probe {
    Probe { kind: ProbeKind::Http as i32, port: port.into(), path: path.to_owned() }
}

async fn listener(address: IpAddr) -> (TcpListener, u16) {
    let listener = TcpListener::bind((address, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Takes one connection, reads the head of its request and writes these bytes; returns the head.
fn answering(listener: TcpListener, bytes: impl Into<Vec<u8>>) -> JoinHandle<String> {
    let bytes = bytes.into();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        stream.write_all(&bytes).await.expect("it listens");
        String::from_utf8(head).expect("text")
    })
}

async fn asked(bytes: &str) -> Found {
    let (listener, port) = listener(LOCAL).await;
    let _server = answering(listener, bytes);
    ask(&http(port, "/"), LOCAL, PATIENCE).await
}

fn is_gone(found: &Found) -> bool {
    matches!(found, Found::Gone(_))
}

#[tokio::test]
async fn an_accepted_connection_is_a_sign_of_life_and_a_refused_one_is_none() {
    let (listener, port) = listener(LOCAL).await;
    assert_eq!(ask(&tcp(port), LOCAL, PATIENCE).await, Found::Alive);
    drop(listener);
    let found = ask(&tcp(port), LOCAL, PATIENCE).await;
    assert!(is_gone(&found), "{found:?}");
}

#[tokio::test]
async fn any_answer_below_500_is_a_sign_of_life() {
    for status in [200, 204, 302, 401, 404, 429, 499] {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(asked(&answer).await, Found::Alive, "{status}");
    }
    for status in [500, 503, 599] {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        let found = asked(&answer).await;
        assert!(is_gone(&found), "{status}: {found:?}");
    }
}

#[tokio::test]
async fn what_is_asked_names_the_address_and_who_asks_and_nothing_of_the_agents() {
    let (listener, port) = listener(LOCAL).await;
    let server = answering(listener, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(ask(&http(port, "/alive?deep=1"), LOCAL, PATIENCE).await, Found::Alive);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        server.await.expect("a head"),
        format!(
            "GET /alive?deep=1 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\
             user-agent: pulsegate/{version}\r\nconnection: close\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn an_address_of_ipv6_is_asked_with_brackets_around_it() {
    let local = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let Ok(listener) = TcpListener::bind((local, 0)).await else { return };
    let port = listener.local_addr().expect("an address").port();
    let server = answering(listener, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(ask(&http(port, "/"), local, PATIENCE).await, Found::Alive);
    let head = server.await.expect("a head");
    assert!(head.contains(&format!("host: [::1]:{port}\r\n")), "{head}");
}

#[tokio::test]
async fn what_is_no_answer_of_http_is_no_sign_of_life() {
    for answer in ["", "SSH-2.0-OpenSSH_9.9\r\n", "HTTP/1.1 2", "HTTP/1.1 abc\r\n\r\n"] {
        let found = asked(answer).await;
        assert!(is_gone(&found), "{answer:?}: {found:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let (listener, port) = listener(LOCAL).await;
    // The kernel accepts, and nobody reads.
    let found = ask(&http(port, "/"), LOCAL, SHORT).await;
    assert!(is_gone(&found), "{found:?}");
    // Interim answers for ever are no answer.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    });
    let found = ask(&http(port, "/"), LOCAL, SHORT).await;
    assert!(is_gone(&found), "{found:?}");
}

#[tokio::test]
async fn a_head_without_end_ends_the_question_long_before_its_time() {
    let (listener, port) = listener(LOCAL).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'x'; 1_024]).await.is_ok() {}
    });
    let found = ask(&http(port, "/"), LOCAL, PATIENCE).await;
    assert!(is_gone(&found), "{found:?}");
}

#[tokio::test]
async fn a_body_without_end_is_hung_up_on() {
    let (listener, port) = listener(LOCAL).await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
        stream.write_all(head).await.expect("it listens");
        let mut written = 0_usize;
        while stream.write_all(&[b'x'; 1_024]).await.is_ok() {
            written += 1_024;
        }
        written
    });
    assert_eq!(ask(&http(port, "/"), LOCAL, PATIENCE).await, Found::Alive);
    // What the buffers of two kernels hold, and not a gigabyte.
    let written = server.await.expect("it ends");
    assert!(written < 100_000_000, "{written} bytes were taken");
}

#[tokio::test]
async fn what_cannot_be_asked_says_nothing_about_the_agent() {
    let (_listener, port) = listener(LOCAL).await;
    for probe in [http(port, "/<"), Probe { port: 65_536, ..tcp(0) }] {
        let found = ask(&probe, LOCAL, PATIENCE).await;
        assert!(matches!(found, Found::Unsure(_)), "{probe:?}: {found:?}");
    }
}

#[test]
fn our_own_troubles_are_told_from_the_agents() {
    let of = |code| judge(&io::Error::from_raw_os_error(code));
    let theirs = [libc::ECONNREFUSED, libc::ECONNRESET, libc::ETIMEDOUT, libc::EHOSTUNREACH];
    for code in theirs {
        assert!(is_gone(&of(code)), "{:?}", of(code));
    }
    let ours = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENETUNREACH,
        libc::ENETDOWN,
        libc::EADDRNOTAVAIL,
        libc::EACCES,
        libc::EPERM,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EINVAL,
    ];
    for code in ours {
        assert!(matches!(of(code), Found::Unsure(_)), "{:?}", of(code));
    }
}
