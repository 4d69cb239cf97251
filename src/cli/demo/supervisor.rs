//! The processes of the fleet: started, told, stopped and killed here, as a service manager would.

use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::agent::{Order, Report};
use super::fleet::Member;

/// What the processes tell.
#[derive(Debug)]
pub(super) enum News {
    /// A directive came to this process.
    Report(Place, Report),
    /// This process has ended, or is about to.
    Gone(Place),
}

/// A process: the agent's index, and how many processes it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) generation: u32,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
}

/// The processes.
pub(super) struct Supervisor {
    program: PathBuf,
    url: String,
    speed: f64,
    seed: u64,
    news: mpsc::Sender<News>,
    processes: Vec<Option<Process>>,
    generations: Vec<u32>,
}

impl Supervisor {
    pub(super) fn new(
        program: PathBuf,
        agents: usize,
        (speed, seed): (f64, u64),
        news: mpsc::Sender<News>,
    ) -> Self {
        let processes = std::iter::repeat_with(|| None).take(agents).collect();
        let generations = vec![0; agents];
        Self { program, url: String::new(), speed, seed, news, processes, generations }
    }

    /// Sets the gateway that processes started from now on beat to.
    pub(super) fn beat_to(&mut self, url: String) {
        self.url = url;
    }

    /// The process that an agent has now, or had last.
    pub(super) fn place(&self, index: usize) -> Place {
        Place { index, generation: self.generations[index] }
    }

    /// Whether this is the process that the agent has now.
    pub(super) fn is_current(&self, place: Place) -> bool {
        self.place(place.index) == place
    }

    /// Starts a process for an agent; one that it still has is killed first.
    pub(super) async fn start(&mut self, index: usize, member: &Member) -> std::io::Result<()> {
        self.kill(index).await;
        self.generations[index] += 1;
        let place = self.place(index);
        let seed = self.seed ^ ((index as u64) << 20) ^ u64::from(place.generation);
        let mut command = Command::new(&self.program);
        command
            .arg("demo-agent")
            .args(["--url", &self.url, "--id", &member.id, "--class", member.class])
            .args(["--speed", &self.speed.to_string(), "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for the demo alone, and the kernel wakes a stopped orphan of its own group.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("a process without its pipes"));
        };
        tokio::spawn(listen(place, stdout, self.news.clone()));
        self.processes[index] = Some(Process { child, stdin });
        Ok(())
    }

    /// Kills the process of an agent, if it has one, and waits for its end.
    pub(super) async fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            // Both fail only for a process that has ended already.
            let _killed = process.child.start_kill();
            let _ended = process.child.wait().await;
        }
    }

    /// Takes leave of a process that has ended by itself.
    pub(super) async fn reap(&mut self, index: usize) {
        self.kill(index).await;
    }

    /// Stops the process of an agent in its tracks.
    pub(super) fn pause(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    /// Tells an agent something; one that has ended does not hear it.
    pub(super) async fn tell(&mut self, index: usize, order: Order) {
        if let Some(process) = &mut self.processes[index] {
            let _heard = process.stdin.write_all(order.line().as_bytes()).await;
        }
    }

    /// Kills every process.
    pub(super) async fn end(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            let _killed = process.child.start_kill();
        }
        for index in 0..self.processes.len() {
            self.kill(index).await;
        }
    }

    fn signal(&self, index: usize, signal: Signal) {
        let process = self.processes[index].as_ref();
        // The id stays ours until the process is waited for, which only this type does.
        let id = process.and_then(|process| process.child.id());
        if let Some(pid) = id.and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _sent = rustix::process::kill_process(pid, signal);
        }
    }
}

async fn listen(place: Place, stdout: ChildStdout, news: mpsc::Sender<News>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(report) = serde_json::from_str(&line) else { continue };
        if news.send(News::Report(place, report)).await.is_err() {
            return;
        }
    }
    // Nobody is left to tell when the demo ends.
    let _told = news.send(News::Gone(place)).await;
}
