//! What a component must pass before any agent depends on it: the one place where that is said.

use pulsegate_policy::{Engine, Error, Revision, Source};

use crate::config::Config;

/// Admits an upload: exports, types, imports, limits, settings for every class, and all questions
/// of `pulsegate policy check`, each asked in several ways. At the lowest priority that is of use,
/// on one core: agents beat meanwhile.
pub(super) fn vet(engine: &Engine, source: Source, config: &Config) -> Result<Revision, Error> {
    Revision::vet_gently(engine, source, &config.classes, &config.executor_waits())
}
