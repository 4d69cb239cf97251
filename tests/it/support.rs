//! A gateway for one test, and a client that sends exactly the bytes it is told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_gateway::server::Gateway;
use serde_json::Value;

/// Patience of a test with a gateway that does not answer: not a timing assertion, a way out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tokens of two tenants.
pub const RED: &str = "token-of-the-red-tenant";
pub const BLUE: &str = "token-of-the-blue-tenant";

/// Digests of [`RED`] and [`BLUE`].
pub const CREDENTIALS: &str = r#"
[[credentials]]
tenant = "red"
token_sha256 = "429d447dc447f8b8a2363b30a02d0fb72af0284a5723460b086eb4c7d515e48f"
[[credentials]]
tenant = "blue"
token_sha256 = "de6ce3e6b7c6ff0b1ee744183a2b132be055dd580da2b28ae9caba1e52fdb7ce"
"#;

/// Starts a gateway on a free port of loopback; `toml` comes on top of the defaults.
pub fn start(toml: &str) -> Gateway {
    Gateway::start(Arc::new(config(toml))).expect("a gateway")
}

/// The configuration that [`start`] uses. Top-level keys must come first in `toml`.
pub fn config(toml: &str) -> Config {
    let overrides = Overrides::default().flag("--listen", "listen", "127.0.0.1:0").flag(
        "--ephemeral",
        "journal.ephemeral",
        "true",
    );
    Config::parse("test", toml, Path::new("."), &overrides).expect("a configuration")
}

/// A connection of HTTP/1.1.
pub struct Client {
    pub stream: TcpStream,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream }
    }

    pub fn to(gateway: &Gateway) -> Self {
        Self::connect(gateway.addresses().agents)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("bytes are taken");
    }

    /// Sends a request and reads its answer.
    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\
             content-length: {length}\r\n{headers}\r\n"
        );
        self.send(&[head.as_bytes(), body].concat());
        self.answer()
    }

    /// Posts a heartbeat in JSON.
    pub fn beat(&mut self, body: &str) -> Answer {
        self.request("POST", "/v1/heartbeats", "", body.as_bytes())
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "", b"")
    }

    /// Reads one answer with a content length.
    pub fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("headers are text").to_lowercase();
        let status = head[9..12].parse().expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).expect("a body");
        answer
    }

    /// Whether the gateway ends the connection without a further byte.
    pub fn is_closed(&mut self) -> bool {
        // A reset is an end as well: it says that something sent was never read.
        !matches!(self.stream.read(&mut [0]), Ok(1..))
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        Some(line[name.len() + 1..].trim())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.body));
        })
    }

    /// Asserts that this is a whole problem document, and returns its code.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().expect("a code").to_owned();
        assert_eq!(problem["type"], format!("urn:pulsegate:problem:{code}"));
        assert_eq!(problem["status"], self.status);
        assert!(!problem["title"].as_str().expect("a title").is_empty());
        code
    }
}

/// Number of agents that a gateway knows.
pub fn agents_known(gateway: &Gateway) -> u32 {
    gateway.shards().census().counts.iter().flatten().flatten().sum()
}
