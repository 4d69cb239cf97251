//! The loopback socket over which `exec` asks the demo to replace an agent's process, as
//! `systemctl restart agent@id` would ask a service manager.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::cli::{Exit, Failure, Outcome, block_on};

/// Longest line that is read, in bytes: an agent id and the word before it.
const LINE_BYTES: u64 = 256;
/// Longest time that one conversation takes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of the hidden `pulsegate demo-restart`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RestartArgs {
    #[arg(long)]
    control: SocketAddr,
    #[arg(long, env = "PULSEGATE_AGENT_ID")]
    agent: String,
}

/// A wish that an agent's process be replaced.
#[derive(Debug)]
pub(super) struct Restart {
    pub(super) agent: String,
    /// Whether it was done.
    pub(super) done: oneshot::Sender<bool>,
}

/// Asks the demo; the exit code says whether it was done.
pub(in crate::cli) fn run(args: &RestartArgs) -> Outcome {
    block_on(async {
        let asked = tokio::time::timeout(TIMEOUT, ask(args)).await;
        match asked {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Failure::new(Exit::Refused, "the demo has no such agent")),
            Ok(Err(error)) => Err(Failure::new(Exit::Unavailable, error)),
            Err(_) => Err(Failure::new(Exit::Unavailable, "the demo does not answer")),
        }
    })
}

async fn ask(args: &RestartArgs) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(args.control).await?;
    stream.write_all(format!("restart {}\n", args.agent).as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LINE_BYTES).read_to_string(&mut answer).await?;
    Ok(answer == "ok\n")
}

/// Takes wishes and hands them on, until nobody wants them.
pub(super) async fn serve(listener: TcpListener, wishes: mpsc::Sender<Restart>) {
    while let Ok((stream, _)) = listener.accept().await {
        let wishes = wishes.clone();
        tokio::spawn(async move {
            // A conversation that breaks off is the other side's loss.
            let _ended = tokio::time::timeout(TIMEOUT, converse(stream, wishes)).await;
        });
    }
}

async fn converse(mut stream: TcpStream, wishes: mpsc::Sender<Restart>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_BYTES)).read_line(&mut line).await?;
    let done = match line.trim_end().split_once(' ') {
        Some(("restart", agent)) => {
            let (done, outcome) = oneshot::channel();
            let wish = Restart { agent: agent.to_owned(), done };
            wishes.send(wish).await.is_ok() && outcome.await.unwrap_or(false)
        }
        _ => false,
    };
    writer.write_all(if done { b"ok\n" } else { b"no\n" }).await
}
