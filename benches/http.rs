//! The HTTP path: the gateway with its policies on against bare hyper servers that parse the same
//! JSON with the same types and answer the same bytes.
//!
//! `cargo xtask bench http` measures; `cargo test --benches` runs the same code with a few hundred
//! requests. Servers are child processes, so that their processor time is theirs alone. Rounds
//! alternate between the servers; the figures are medians with their ranges. Client and servers
//! share the machine.
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(missing_docs, reason = "a program, not a library")]

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    measure::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: this bench reads processor times as Linux tells them");
}
