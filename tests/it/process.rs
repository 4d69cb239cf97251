//! The command as a process: started, asked, signalled, and never left behind.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::Client;

/// Longest wait for something that must happen; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command to its end.
pub(crate) fn pulsegate(args: &[&str]) -> Output {
    command(args).output().expect("the command runs")
}

/// Runs the command to its end in a directory, with this on standard input.
pub(crate) fn pulsegate_in(directory: &Path, args: &[&str], input: &str) -> Output {
    let mut command = command(args);
    command.current_dir(directory).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("it was asked for");
    // One that reads nothing may be gone already.
    let _written = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// The command, started directly.
fn command(args: &[&str]) -> Command {
    ours(env!("CARGO_BIN_EXE_pulsegate"), args)
}

/// A program, without settings from the environment of whoever runs the tests.
fn ours(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    let settings = std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("PULSEGATE_")));
    for (name, _) in settings {
        command.env_remove(name);
    }
    command.args(args);
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A gateway in a process of its own; killed when dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
}

impl Serving {
    /// Starts one on this address; port 0 takes any.
    pub(crate) fn start(listen: &str) -> Self {
        Self::start_with(&["--listen", listen])
    }

    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::spawn(command(&[&["serve", "--ephemeral"], flags].concat()), Stdio::null())
    }

    /// Starts one with a journal in this directory, on any port where the flags name none.
    pub(crate) fn start_durable(data: &Path, flags: &[&str]) -> Self {
        let data = data.to_str().expect("a name in UTF-8");
        let own = ["serve", "--data", data];
        let anywhere: &[&str] =
            if flags.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        Self::spawn(command(&[&own, anywhere, flags].concat()), Stdio::null())
    }

    /// Starts one with a journal in this directory, after a shell has set limits.
    pub(crate) fn start_limited(limits: &str, data: &Path) -> Self {
        let limited = format!("{limits} && exec \"$0\" \"$@\"");
        let data = data.to_str().expect("a name in UTF-8");
        let program = env!("CARGO_BIN_EXE_pulsegate");
        let own = ["-c", &limited, program, "serve", "--data", data, "--listen", "127.0.0.1:0"];
        Self::spawn(ours("/bin/sh", &own), Stdio::null())
    }

    /// Lifts the limit of the size of its files.
    pub(crate) fn allow_files(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let none = rustix::process::Rlimit { current: None, maximum: None };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, none)
            .expect("the limit is ours to lift");
    }

    /// Starts one whose log goes to a file.
    pub(crate) fn start_logging(flags: &[&str], log: std::fs::File) -> Self {
        Self::spawn(command(&[&["serve", "--ephemeral"], flags].concat()), log.into())
    }

    /// Starts one that may have so many file descriptors open.
    pub(crate) fn start_within(descriptors: u32, flags: &[&str]) -> Self {
        let limited = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let program = env!("CARGO_BIN_EXE_pulsegate");
        let shell =
            ours("/bin/sh", &[&["-c", &limited, program, "serve", "--ephemeral"], flags].concat());
        Self::spawn(shell, Stdio::null())
    }

    /// Starts one with a journal in this directory, on a disk that takes files of so many KiB.
    pub(crate) fn start_on_small_disk(data: &Path, kibibytes: u32) -> Self {
        let blocks = kibibytes * 2;
        let limited = format!("trap '' XFSZ && ulimit -f {blocks} && exec \"$0\" \"$@\"");
        let data = data.to_str().expect("a name in UTF-8");
        let program = env!("CARGO_BIN_EXE_pulsegate");
        let serve = ["serve", "--data", data, "--listen", "127.0.0.1:0"];
        let shell = ours("/bin/sh", &[&["-c", &limited, program][..], &serve].concat());
        Self::spawn(shell, Stdio::null())
    }

    fn spawn(mut command: Command, log: Stdio) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(log).spawn().expect("the gateway starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let agents = lines
            .map_while(Result::ok)
            .find(|line| line.trim_start().starts_with("agents"))
            .expect("it prints its addresses");
        let url = agents.split_whitespace().last().expect("an address");
        let url = url.trim_end_matches("/v1/heartbeats").to_owned();
        Self { child, url }
    }

    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address().parse().expect("an address"))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for its end and returns the exit code.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        eventually("the gateway ends", || self.child.try_wait().expect("waits")).code()
    }

    /// Asks for JSON with one of the commands.
    pub(crate) fn ask(&self, args: &[&str]) -> serde_json::Value {
        let output = pulsegate(&[args, &["--json", "--url", &self.url]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    /// The listed agent of this name.
    pub(crate) fn agent(&self, id: &str) -> Option<serde_json::Value> {
        let listed = self.ask(&["agents"]);
        listed["agents"].as_array()?.iter().find(|agent| agent["agent_id"] == id).cloned()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// `pulsegate watch --json` in a process of its own; killed when dropped.
pub(crate) struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = command(&[&["watch", "--json"], flags].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// Reads on until an event of this kind.
    pub(crate) fn until(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let line = self.lines.next().expect("it goes on").expect("a line");
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            if event["kind"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A directory of one test, empty at first; removed when it is over.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(test: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(format!("pulsegate-it-{process}-{count}-{test}"));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `look` finds what must come.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it must come to this: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
