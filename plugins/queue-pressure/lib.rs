//! queue-pressure
