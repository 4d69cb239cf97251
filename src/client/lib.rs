//! The library an agent links
