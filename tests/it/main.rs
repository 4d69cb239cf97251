//! Integration: real sockets on loopback, port 0, each test its own gateway.

mod api;
mod cli;
mod client;
mod config;
mod connections;
mod demo;
mod heartbeats;
mod inputs;
mod metrics;
mod process;
mod recovery;
mod support;
