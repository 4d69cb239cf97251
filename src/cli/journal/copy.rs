//! `pulsegate journal backup` and `restore`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pulsegate_journal::offline::{self, Offline};

use super::super::block_on;
use super::super::operator::Gateway;
use super::super::text::print;
use super::{Exit, Failure, Outcome, refused};

/// Route of the gateway that streams a copy.
const ROUTE: &str = "/v1/journal/backup";

/// Arguments of `pulsegate journal backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate journal backup /backups/2026-11-23 --url \
                        http://127.0.0.1:8420\nThe copy is consistent in itself; look at it with \
                        `pulsegate journal verify --data /backups/2026-11-23`.")]
pub(super) struct BackupArgs {
    /// Directory for the copy; made if it does not exist, and refused if it holds one
    directory: PathBuf,
    #[command(flatten)]
    gateway: Gateway,
    /// Copy this data directory, which no gateway has open, instead of asking a gateway
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Arguments of `pulsegate journal restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The copy gets a name of its own, and its count of starts is advanced by \
                        1,024, so that fencing tokens to come lie above those given since the \
                        backup was made.\nExample: pulsegate journal restore /backups/2026-11-23 \
                        --data /var/lib/pulsegate")]
pub(super) struct RestoreArgs {
    /// Directory of the backup
    backup: PathBuf,
    /// Data directory to put it into, which must hold no journal
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn backup(args: &BackupArgs) -> Outcome {
    let io_failed = |error: std::io::Error| failed(&args.directory, &error.to_string());
    std::fs::create_dir_all(&args.directory).map_err(io_failed)?;
    let file = offline::backup_file(&args.directory);
    match &args.data {
        Some(data) => {
            let journal = Offline::open(data).map_err(|error| refused(&error))?;
            journal.backup(&file).map_err(|error| Failure::new(Exit::Refused, error))?;
        }
        None => download(args, &file)?,
    }
    let header = Offline::open(&args.directory).map_err(|error| refused(&error))?.header();
    print(&format!(
        "{}: events to {}, after {} starts\n",
        file.display(),
        header.newest_seq,
        header.epoch
    ));
    Ok(())
}

/// Takes the copy that a gateway streams. It gets its name when it is whole.
fn download(args: &BackupArgs, file: &Path) -> Outcome {
    if file.exists() {
        return Err(failed(file, "it exists already"));
    }
    let part = file.with_extension("part");
    let whole = write_part(args, &part).and_then(|()| {
        std::fs::rename(&part, file).map_err(|error| failed(file, &error.to_string()))
    });
    if whole.is_err() {
        // There is nothing to be done about a part that cannot be removed either.
        let _ = std::fs::remove_file(&part);
    }
    whole
}

fn write_part(args: &BackupArgs, part: &Path) -> Outcome {
    let io_failed = |error: std::io::Error| failed(part, &error.to_string());
    // It tells of the whole fleet: for its owner only, as the journal itself.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = options.open(part).map_err(io_failed)?;
    block_on(async {
        let mut gateway = args.gateway.connect()?;
        gateway.download(ROUTE, |bytes| out.write_all(bytes)).await
    })?;
    out.sync_all().map_err(io_failed)
}

fn failed(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Refused, format!("no backup was made in {}: {why}", path.display()))
}

pub(super) fn restore(args: &RestoreArgs) -> Outcome {
    let restored = offline::restore(&args.backup, &args.data).map_err(|error| refused(&error))?;
    print(&format!(
        "{}: events to {}; the next start is number {}\n",
        restored.file.display(),
        restored.newest_seq,
        restored.epoch + 1
    ));
    Ok(())
}
