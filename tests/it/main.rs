//! Integration: real sockets on loopback, port 0, each test its own gateway.

mod api;
mod config;
mod connections;
mod heartbeats;
mod inputs;
mod metrics;
mod recovery;
mod support;
