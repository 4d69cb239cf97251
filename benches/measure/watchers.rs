//! Watchers beside heartbeats: how much slower these are for it.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Time between two events, each of which every watcher is sent.
const EVENT_EVERY: Duration = Duration::from_millis(100);
/// Patience with a gateway that does not serve watchers.
const PATIENCE: Duration = Duration::from_secs(60);
/// File descriptors that are left to everything else.
const SPARE: u64 = 1_000;

/// Streams that are open, and an operator who causes something to be seen; both end with this.
pub(super) struct Watchers {
    pub(super) count: usize,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    greeted: AtomicU64,
    caused: AtomicU64,
    seen: AtomicU64,
}

/// Lets this process and its children have as many files open as it may.
pub(super) fn raise_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

impl Watchers {
    /// Opens so many streams, or as many as this process may; whether something is to be seen.
    pub(super) fn open(address: SocketAddr, wanted: usize, is_told: bool) -> io::Result<Self> {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(SPARE);
        let count = wanted.min(usize::try_from(most).unwrap_or(usize::MAX));
        let streams = (0..count).map(|_| watch(address)).collect::<io::Result<Vec<TcpStream>>>()?;
        let shared = Arc::new(Shared::default());
        let reading = shared.clone();
        let causing = shared.clone();
        let mut threads = vec![std::thread::spawn(move || read_all(&streams, &reading))];
        if is_told {
            threads.push(std::thread::spawn(move || cause(address, &causing)));
        }
        let watchers = Self { count, shared, threads };
        watchers.greeted()?;
        Ok(watchers)
    }

    /// Waits until all of them watch: connecting is not what is measured.
    fn greeted(&self) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.shared.greeted.load(Relaxed) < self.count as u64 {
            if Instant::now() > end {
                return Err(io::Error::other("the watchers are not served"));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends them; returns the events that were caused, and about how often one was seen.
    pub(super) fn close(mut self) -> io::Result<(u64, u64)> {
        self.shared.is_over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("a thread of the watchers panicked"))??;
        }
        Ok((self.shared.caused.load(Relaxed), self.shared.seen.load(Relaxed)))
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
    }
}

fn watch(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(
        b"GET /v1/watch?kind=paused HTTP/1.1\r\nhost: localhost\r\n\
          accept: text/event-stream\r\n\r\n",
    )?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Reads whatever comes until it is over.
fn read_all(streams: &[TcpStream], shared: &Shared) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, stream, data, epoll::EventFlags::IN)?;
    }
    let mut events = [MaybeUninit::<epoll::Event>::uninit(); 256];
    let mut buffer = vec![0; 64 << 10];
    while !shared.is_over.load(Relaxed) {
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let (ready, _) = epoll::wait(&epoll, &mut events, Some(&wait))?;
        for event in ready {
            let index = event.data.u64() as usize;
            let length = match (&streams[index]).read(&mut buffer) {
                Ok(0) => return Err(io::Error::other("a watcher was cut off")),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let count = |kind: &[u8]| {
                let texts = buffer[..length].windows(kind.len());
                texts.filter(|text| *text == kind).count() as u64
            };
            shared.greeted.fetch_add(count(b"event: ready"), Relaxed);
            shared.seen.fetch_add(count(b"event: paused"), Relaxed);
        }
    }
    Ok(())
}

/// Pauses an agent and lets it go again, over and over.
fn cause(address: SocketAddr, shared: &Shared) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut answer = [0; 8 << 10];
    for verb in ["pause", "resume"].iter().cycle() {
        if shared.is_over.load(Relaxed) {
            return Ok(());
        }
        let request = format!(
            "POST /v1/agents/agent-000000/{verb} HTTP/1.1\r\nhost: localhost\r\n\
             content-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        // A small answer, which comes as a whole or nearly so: its status comes first.
        let length = stream.read(&mut answer)?;
        if !answer[..length].starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other("an agent could not be paused"));
        }
        shared.caused.fetch_add(1, Relaxed);
        std::thread::park_timeout(EVENT_EVERY);
    }
    Ok(())
}
