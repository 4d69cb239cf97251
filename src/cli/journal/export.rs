//! `pulsegate journal export`.

use std::io::{self, BufWriter, Write};

use super::{Data, Exit, Failure, Outcome};

/// Arguments of `pulsegate journal export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate journal export | jq 'select(.kind == \"failed\")'")]
pub(super) struct Args {
    #[command(flatten)]
    data: Data,
    /// Print the recorded heartbeats instead, with what the policies saw and proposed
    #[arg(long)]
    heartbeats: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let journal = args.data.open()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut result = Ok(());
    let read = if args.heartbeats {
        journal.heartbeats(|_, beat| {
            result = line(&mut out, &beat);
            result.is_ok()
        })
    } else {
        let lost = |loss: String| eprintln!("pulsegate: {loss}");
        let visit = |event| {
            if result.is_ok() {
                result = line(&mut out, &event);
            }
        };
        journal.events(visit, lost)
    };
    read.map_err(|error| Failure::new(Exit::Refused, error))?;
    match result.and_then(|()| out.flush()) {
        // A reader that has gone away, as `head` does, has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Refused, format!("the export cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

fn line(out: &mut impl Write, record: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}
