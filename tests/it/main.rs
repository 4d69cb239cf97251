//! Integration: real sockets on loopback, port 0, each test its own gateway.
#![allow(clippy::unwrap_used, reason = "what helpers expect is part of the test")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]
#![allow(unreachable_pub, reason = "one binary whose modules share what is pub")]

mod api;
mod backups;
mod cases;
mod cli;
mod client;
mod config;
mod conformance;
mod connections;
mod dead_letters;
mod demo;
mod distribution;
mod heartbeats;
mod http3;
mod inputs;
mod interop;
mod journal;
mod leases;
mod logs;
mod loss;
mod lossy;
mod metrics;
mod misbehaving;
mod policies;
mod policy;
mod process;
mod quic;
mod quic_client;
mod quic_limits;
mod recovery;
mod replay;
mod restart;
mod rude;
mod sim;
mod support;
mod templates;
mod trusting;
mod watch;
mod witness;
