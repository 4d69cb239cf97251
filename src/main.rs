//! The `pulsegate` command: see [`pulsegate::cli`].

use std::process::ExitCode;

/// Heartbeats are many small allocations on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pulsegate::cli::run()
}
