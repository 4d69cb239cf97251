//! The public load generator wrk, which makes heartbeats with `heartbeats.lua`.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::Tally;

/// A closed loop from wrk; `None` where wrk is not installed.
pub(crate) fn wrk(
    address: SocketAddr,
    connections: usize,
    length: Duration,
    agents: u64,
    sequence: u64,
) -> io::Result<Option<Tally>> {
    let threads = 2;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/heartbeats.lua");
    let output = Command::new("wrk")
        .args(["--threads", &threads.to_string(), "--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", length.as_secs()), "--script", script])
        .arg(format!("http://{address}/v1/heartbeats"))
        .args(["--", &agents.to_string(), &threads.to_string(), &sequence.to_string()])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("tally ")).unwrap_or_default();
    let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [requests, bad, micros] = numbers[..] else {
        return Err(io::Error::other(format!("wrk said: {text}")));
    };
    Ok(Some(Tally {
        good: requests - bad,
        bad,
        took: Duration::from_micros(micros),
        ..Tally::default()
    }))
}
