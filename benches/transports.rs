//! Every transport beside a bare server on the same library, which reads the same heartbeat with
//! the same types and answers the same bytes.
//!
//! `cargo xtask bench transports` measures rate, latency and processor time, with one connection
//! that is kept full, 64 and 1,000 connections; with `--connections` the memory of idle connections
//! and what 100,000 connections one after another leave behind. `cargo test --benches` runs the
//! same code with a few heartbeats. Servers are child processes, so that their processor time is
//! theirs alone; rounds alternate between them. Client and servers share the machine.
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(missing_docs, reason = "a program, not a library")]

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "shared with the bench `http`, which needs more of it")]
mod bare;
#[cfg(target_os = "linux")]
#[path = "measure/child.rs"]
#[allow(dead_code, reason = "shared with the bench `http`, which needs more of it")]
mod child;
#[cfg(target_os = "linux")]
mod fleet;
#[cfg(target_os = "linux")]
#[allow(dead_code, unused_imports, reason = "shared with the bench `http`, which needs more")]
mod load;
#[cfg(target_os = "linux")]
#[path = "fleet/report.rs"]
mod report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    report::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: this bench reads processor times as Linux tells them");
}
