//! Counting, and the scrape against the catalogue.
