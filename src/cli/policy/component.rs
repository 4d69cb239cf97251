//! `pulsegate policy component`: the last step of a build, for whoever wants its result as a file.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::super::text::print;
use super::{Exit, Failure, Outcome};

/// Largest module that is read: the largest that a gateway takes.
const MODULE_BYTES: u64 = 64 << 20;

/// What all WebAssembly begins with. Source: core specification, section 5.5.16.
const MAGIC: &[u8] = b"\0asm";

/// Arguments of `pulsegate policy component`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A gateway, and every command of `pulsegate policy`, takes the module as it is: \
                  this is for other tools, and for registries.\n\
                  Example: pulsegate policy component queue_watch.wasm queue-watch.component.wasm"
)]
pub(super) struct Args {
    /// Module, as `cargo build` or `clang` made it; a component is copied as it is
    #[arg(value_name = "IN")]
    module: PathBuf,
    /// Where the component is written; an older one is replaced
    #[arg(value_name = "OUT")]
    component: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let module = read(&args.module)?;
    let named = |reason: String| {
        Failure::new(Exit::Refused, format!("{}: {reason}", args.module.display()))
    };
    if !module.starts_with(MAGIC) {
        return Err(named("is no WebAssembly".into()));
    }
    let component = pulsegate_policy::component(&module)
        .map_err(|reason| named(format!("no component can be made of it: {reason}")))?;
    write(&args.component, &component)?;
    print(&format!("{}: {} bytes\n", args.component.display(), component.len()));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |reason: String| Failure::new(Exit::Refused, format!("{}: {reason}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MODULE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MODULE_BYTES {
        return Err(failed(format!(
            "is larger than {MODULE_BYTES} bytes, and no gateway takes it"
        )));
    }
    Ok(bytes)
}

/// Writes beside the target and renames: what is cut short never stands in its place.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Refused, format!("{}: cannot be written: {error}", path.display()))
    };
    let no_name = || std::io::Error::from(ErrorKind::InvalidInput);
    let mut name = path.file_name().ok_or_else(no_name).map_err(failed)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = File::create(&part)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        let _gone = fs::remove_file(&part);
        failed(error)
    })
}
