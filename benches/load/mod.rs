//! Load over loopback, from one thread that never blocks on anything but epoll.
//!
//! Closed loop: each connection sends its next request when the last one is answered; this finds
//! the largest rate. Open loop: requests are due at fixed instants whether or not earlier ones
//! are answered, and latency counts from the instant at which a request was *due*; a server that
//! stops for a second is seen to do so by every request of that second.

mod requests;
mod wrk;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

pub(crate) use requests::{Batches, Beats, Requests};
pub(crate) use wrk::wrk;

/// What a run of load came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests answered with 200.
    pub(crate) good: u64,
    /// Requests answered with anything else.
    pub(crate) bad: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Time from due to answered, for an open loop.
    pub(crate) latencies: Vec<Duration>,
}

impl Tally {
    /// Requests answered well, a second.
    pub(crate) fn rate(&self) -> f64 {
        self.good as f64 / self.took.as_secs_f64()
    }

    /// The latency that this share of the requests stayed below.
    pub(crate) fn percentile(&mut self, share: f64) -> Duration {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as answers come, for this long.
    Closed(Duration),
    /// As fast as answers come, this many.
    Count(u64),
    /// At this many a second, this many.
    Open(f64, u64),
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    due: Instant,
}

/// Runs load against an address.
pub(crate) fn run(
    address: SocketAddr,
    connections: usize,
    pace: Pace,
    requests: &mut dyn Requests,
) -> io::Result<Tally> {
    Run::new(address, connections, pace)?.drive(requests)
}

struct Run {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    pace: Pace,
    start: Instant,
    sent: u64,
    tally: Tally,
}

impl Run {
    fn new(address: SocketAddr, connections: usize, pace: Pace) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut open = Vec::with_capacity(connections);
        for index in 0..connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            let (out, input) = (Vec::new(), Vec::new());
            open.push(Connection { stream, out, input, due: Instant::now() });
        }
        Ok(Self {
            epoll,
            connections: open,
            free: (0..connections).collect(),
            pace,
            start: Instant::now(),
            sent: 0,
            tally: Tally::default(),
        })
    }

    fn drive(mut self, requests: &mut dyn Requests) -> io::Result<Tally> {
        self.start = Instant::now();
        loop {
            let wait = self.send_due(requests)?;
            let busy = self.connections.len() - self.free.len();
            if wait.is_none() && busy == 0 {
                self.tally.took = self.start.elapsed();
                return Ok(self.tally);
            }
            self.receive(wait)?;
        }
    }

    /// Sends everything that is due on connections that are free; says how long until the next,
    /// `None` when nothing more will be sent.
    fn send_due(&mut self, requests: &mut dyn Requests) -> io::Result<Option<Duration>> {
        loop {
            let now = Instant::now();
            let due = match self.pace {
                Pace::Closed(length) if now >= self.start + length => return Ok(None),
                Pace::Count(count) | Pace::Open(_, count) if self.sent >= count => {
                    return Ok(None);
                }
                Pace::Closed(_) | Pace::Count(_) => now,
                Pace::Open(rate, _) => {
                    self.start + Duration::from_secs_f64(self.sent as f64 / rate)
                }
            };
            if due > now {
                return Ok(Some(due - now));
            }
            let Some(index) = self.free.pop_front() else {
                return Ok(Some(Duration::from_secs(10)));
            };
            let connection = &mut self.connections[index];
            connection.due = due;
            connection.out.clear();
            requests.next(&mut connection.out);
            connection.send()?;
            self.sent += 1;
        }
    }

    fn receive(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let wait = wait.unwrap_or(Duration::from_secs(10));
        let timeout = Timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let (events, _) = epoll::wait(&self.epoll, &mut events, Some(&timeout))?;
        for event in events {
            let index = event.data.u64() as usize;
            let connection = &mut self.connections[index];
            let Some(status) = connection.receive()? else { continue };
            if status == 200 {
                self.tally.good += 1;
            } else {
                self.tally.bad += 1;
            }
            if matches!(self.pace, Pace::Open(..)) {
                self.tally.latencies.push(connection.due.elapsed());
            }
            self.free.push_back(index);
        }
        Ok(())
    }
}

impl Connection {
    /// A request is smaller than the socket's buffer but for batches, for which this waits.
    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The status of the answer, once all of it is there.
    fn receive(&mut self) -> io::Result<Option<u16>> {
        let mut buffer = [0_u8; 64 * 1024];
        let len = self.stream.read(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&buffer[..len]);
        let Some(head) = find(&self.input, b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&self.input[..head]);
        let length = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if self.input.len() < head + 4 + length {
            return Ok(None);
        }
        let status = text.get(9..12).and_then(|word| word.parse().ok()).unwrap_or(0);
        self.input.clear();
        Ok(Some(status))
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
