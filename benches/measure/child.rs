//! Servers as child processes, each ended with its handle.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bare::{self, Answer, Layout};
use crate::load::{Beats, Requests};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The gateway, as it is shipped.
    Gateway,
    /// Bare hyper with the gateway's layout of threads.
    Bare,
    /// Bare hyper on one multi-threaded runtime.
    BareMulti,
    /// Bare hyper with HTTP/2.
    BareHttp2,
    /// Bare quinn and h3.
    BareQuic,
}

impl Kind {
    /// Serves, where this process was started as a child that does; `None` otherwise.
    pub(super) fn serve(args: &[String]) -> Option<io::Result<()>> {
        let behind = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1);
        let name = behind("--serve")?;
        let answer: Answer =
            behind("--answer").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Some(match name.as_str() {
            "bare-multi" => bare::serve(Layout::Multi, answer),
            "bare-http2" => bare::serve(Layout::PerCoreHttp2, answer),
            "bare-quic" => bare::quic::serve(answer),
            _ => bare::serve(Layout::PerCore, answer),
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Bare => "bare",
            Self::BareMulti => "bare-multi",
            Self::BareHttp2 => "bare-http2",
            Self::BareQuic => "bare-quic",
        }
    }
}

/// A server that runs.
pub(super) struct Child {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    process: std::process::Child,
    config: Option<PathBuf>,
}

/// The fleet of this bench beats far more often than a second: its quota must not be what is
/// measured. The policies are the default ones.
const CONFIG: &str = "\
[limits]
agent_rate_per_second = 1000.0
agent_burst = 10000
unknown_rate_per_second = 1000000.0
unknown_burst = 1000000

[log]
level = \"error\"
";

impl Child {
    /// Starts the gateway and waits until it is ready.
    pub(super) fn gateway() -> io::Result<Self> {
        Self::gateway_with("")
    }

    /// The same, with these tables beside.
    pub(super) fn gateway_with(tables: &str) -> io::Result<Self> {
        let address = free_address()?;
        Self::configured(address, address, &format!("{CONFIG}\n{tables}"))
    }

    /// The same with a certificate: over TLS and QUIC.
    pub(super) fn secure_gateway() -> io::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let config = format!("admin_listen = \"{admin}\"\n\n{CONFIG}\n[tls]\ndevelopment = true\n");
        Self::configured(address, admin, &config)
    }

    fn configured(address: SocketAddr, admin: SocketAddr, text: &str) -> io::Result<Self> {
        let config = std::env::temp_dir().join(format!("pulsegate-bench-{}.toml", address.port()));
        std::fs::write(&config, text)?;
        let process = Command::new(env!("CARGO_BIN_EXE_pulsegate"))
            .args(["serve", "--ephemeral", "--listen", &address.to_string(), "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut child = Self { kind: Kind::Gateway, address, process, config: Some(config) };
        child.wait_until_ready(admin)?;
        Ok(child)
    }

    /// Starts this program again as a bare server.
    pub(super) fn bare(kind: Kind, answer: &Answer) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--serve", kind.name(), "--answer"])
            .arg(serde_json::to_string(answer)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { kind, address, process, config: None })
    }

    /// Processor time so far, of all threads, user and system.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            fields.split(' ').skip(12).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(10 * ticks))
    }

    /// Resident memory, in KiB.
    pub(super) fn resident_kib(&self) -> io::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)
    }

    /// An answer to a heartbeat, for the bare servers to repeat: the second one, since the first
    /// of an agent may differ.
    pub(super) fn answer(&self) -> io::Result<Answer> {
        let mut beats = Beats::new(1, 1_000_000_000);
        let mut last = (Vec::new(), String::new());
        for _ in 0..2 {
            let mut request = Vec::new();
            beats.next(&mut request);
            last = exchange(self.address, &request)?;
        }
        let (headers, body) = last;
        let directive = serde_json::from_str(&body)
            .map_err(|error| io::Error::other(format!("no directive ({error}): {body}")))?;
        Ok(Answer { headers, directive })
    }

    fn wait_until_ready(&mut self, admin: SocketAddr) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        let request = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        while Instant::now() < end {
            if exchange(admin, request).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(io::Error::other(format!("the gateway ended with {status}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("the gateway is not ready after a minute"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(config) = &self.config {
            let _ = std::fs::remove_file(config);
        }
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Headers, but for those that hyper sets itself, and the body of an answer with status 200.
fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<(Vec<(String, String)>, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut text = String::new();
    let mut buffer = [0_u8; 4_096];
    loop {
        let len = stream.read(&mut buffer)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..len]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let headers: Vec<(String, String)> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        if body.len() < length {
            continue;
        }
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(text));
        }
        let own = |(name, _): &(String, String)| name != "content-length" && name != "date";
        return Ok((headers.iter().filter(|h| own(h)).cloned().collect(), body.to_owned()));
    }
}
