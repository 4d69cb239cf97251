//! Is a component, and exports nothing at all.
