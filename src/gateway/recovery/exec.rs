//! Runs one configured program and says how it ended.
//!
//! No shell and no placeholders: the program and its arguments are what the configuration says,
//! because an agent id may begin with `-`. Facts go into the environment, which holds nothing else
//! but `PATH` and what is configured. Standard input is empty. Output and errors share one pipe;
//! its first bytes are kept, the rest is read and dropped, so that no program waits for us.
//!
//! The program leads a process group of its own. After its timeout the whole group is told to end
//! (SIGTERM) and, [`KILL_AFTER`] later, killed. What a program leaves running when it ends in time
//! is left alone: starting something that lasts is what a restart is for. It should get an output
//! of its own, since ours is closed then.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use pulsegate_core::ActionOutcome;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::config::Program;

/// Time for a program to end by itself after SIGTERM.
///
/// Source: chosen; closing files takes less, and a hung one should not hold its place long.
pub const KILL_AFTER: Duration = Duration::from_secs(2);

/// Where programs are looked for when the gateway itself has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program is told, each as a variable of its environment.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `PULSEGATE_AGENT_ID`
    pub agent_id: &'a str,
    /// `PULSEGATE_TENANT`
    pub tenant: &'a str,
    /// `PULSEGATE_CLASS`
    pub class: &'a str,
    /// `PULSEGATE_ACTION_ID`
    pub action_id: &'a str,
    /// `PULSEGATE_INCIDENT`: `silence` or `health`.
    pub incident: &'a str,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// What that means for the action.
    pub outcome: ActionOutcome,
    /// For people: the exit status, the signal, or why it never ran.
    pub exit: String,
    /// What it wrote.
    pub output: Output,
}

/// The first bytes that a program wrote.
#[derive(Debug, Default)]
pub struct Output {
    kept: Vec<u8>,
    most: usize,
    dropped: u64,
}

/// Runs a program to its end; `stop` turning true ends it as its timeout would.
pub async fn run(program: &Program, facts: &Facts<'_>, mut stop: watch::Receiver<bool>) -> Ended {
    let mut output = Output { most: program.output_bytes, ..Output::default() };
    let (mut child, mut pipe) = match spawn(program, facts) {
        Ok(started) => started,
        Err(error) => {
            let exit = format!("{} cannot be started: {error}", program.argv[0]);
            return Ended { outcome: ActionOutcome::Failed, exit, output };
        }
    };
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let in_time = tokio::select! {
        ended = attend(&mut child, &mut pipe, &mut output) => Some(ended),
        () = tokio::time::sleep(program.timeout) => None,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let (outcome, exit) = match in_time {
        Some(Ok(status)) if status.success() => (ActionOutcome::Done, status.to_string()),
        Some(Ok(status)) => (ActionOutcome::Failed, status.to_string()),
        Some(Err(error)) => (ActionOutcome::Failed, error.to_string()),
        None => {
            end(group, &mut child, &mut pipe, &mut output).await;
            (ActionOutcome::TimedOut, format!("ended after {:?}", program.timeout))
        }
    };
    output.drain(&pipe);
    Ended { outcome, exit, output }
}

fn spawn(program: &Program, facts: &Facts<'_>) -> io::Result<(Child, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let child = Command::new(&program.argv[0])
        .args(&program.argv[1..])
        .env_clear()
        .env("PATH", path)
        .envs(&program.env)
        .env("PULSEGATE_AGENT_ID", facts.agent_id)
        .env("PULSEGATE_TENANT", facts.tenant)
        .env("PULSEGATE_CLASS", facts.class)
        .env("PULSEGATE_ACTION_ID", facts.action_id)
        .env("PULSEGATE_INCIDENT", facts.incident)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Reads what the program writes until it ends.
async fn attend(
    child: &mut Child,
    pipe: &mut Receiver,
    output: &mut Output,
) -> io::Result<ExitStatus> {
    let mut buffer = [0; 4_096];
    loop {
        tokio::select! {
            status = child.wait() => return status,
            read = pipe.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return child.wait().await,
                Ok(count) => output.take(&buffer[..count]),
            },
        }
    }
}

/// Ends a whole group: asks first, then insists.
async fn end(group: Option<Pid>, child: &mut Child, pipe: &mut Receiver, output: &mut Output) {
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = tokio::time::timeout(KILL_AFTER, attend(child, pipe, output)).await;
    // Even when its leader is gone, members may have ignored the request. A group that is wholly
    // gone gives an error here, which is what we want.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        let room = self.most - self.kept.len();
        let (keep, drop) = bytes.split_at(room.min(bytes.len()));
        self.kept.extend_from_slice(keep);
        self.dropped += drop.len() as u64;
    }

    /// Takes what the pipe holds now, without waiting for others who may hold its other end.
    fn drain(&mut self, pipe: &Receiver) {
        let mut buffer = [0; 4_096];
        // A pipe holds 64 KiB by default; whoever keeps writing is not waited for.
        for _ in 0..256 {
            match pipe.try_read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.take(&buffer[..count]),
            }
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(String::from_utf8_lossy(&self.kept).trim_end())?;
        match self.dropped {
            0 => Ok(()),
            dropped => write!(f, " … and {dropped} bytes more"),
        }
    }
}
