//! What tests share: the explorer of state spaces, and the settings of property tests.

pub(crate) mod explorer;

use alloc::boxed::Box;

use proptest::test_runner::{Config, FileFailurePersistence};

/// So many cases (or `PROPTEST_CASES`); a failing seed is printed, and kept beside the test in
/// `*.seeds`.
pub(crate) fn seeds(cases: u32) -> Config {
    let asked = option_env!("PROPTEST_CASES").and_then(|cases| cases.parse().ok());
    Config {
        cases: asked.unwrap_or(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("seeds"))),
        ..Config::default()
    }
}
