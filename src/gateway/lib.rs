//! The shell
