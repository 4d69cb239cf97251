//! Integration: real sockets on loopback, port 0, each test its own gateway.

mod connections;
mod heartbeats;
mod inputs;
mod support;
