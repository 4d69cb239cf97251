//! What may come in.
