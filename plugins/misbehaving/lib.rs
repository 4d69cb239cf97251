//! Policies with one bad habit each, for tests: the examples of this package.
//!
//! They behave until an agent reports a queue, so that they pass admission and do their harm
//! where it counts; with the setting `always` they misbehave at once, so that admission meets it.

use pulsegate_sdk::{Config, Hint, Observation};
use serde::Deserialize;

/// Whether to misbehave from the first call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Misbehave at every call; false.
    pub always: bool,
}

/// Whether it is time to misbehave.
#[must_use]
pub fn misbehaves(config: &Config<Settings>, seen: &Observation) -> bool {
    config.settings.always || seen.queue_depth > 0.0
}

/// The depth of a queue at which those misbehave that pass every check.
pub const RARE: f64 = 1_234_567.0;

/// What they propose while they behave.
#[must_use]
pub fn ordinary() -> Hint {
    Hint::new(30_000.0, 0)
}

/// Makes a policy whose rows form is written by hand: the SDK would not let it misbehave. It has
/// one memory column, so that the host must use that form.
#[macro_export]
macro_rules! hand_made {
    (name: $name:expr, suggest_rows: $rows:expr,) => {
        const _: () = {
            use pulsegate_sdk::rt::{self, bindings::cadence_part, bindings::manifest_part};

            struct Exported;
            const _: fn() = || {
                use cadence_part::exports::pulsegate::policy::cadence::Guest as Cadence;
                use manifest_part::exports::pulsegate::policy::manifest::Guest as Manifest;
                let _ = (Exported, <Exported as Manifest>::describe);
                let _ = (<Exported as Manifest>::configure, <Exported as Cadence>::suggest);
                let _ = <Exported as Cadence>::suggest_rows;
            };
            static STATE: rt::State<$crate::Settings> = rt::State::new();

            impl manifest_part::exports::pulsegate::policy::manifest::Guest for Exported {
                fn describe() -> manifest_part::exports::pulsegate::policy::manifest::Description {
                    manifest_part::exports::pulsegate::policy::manifest::Description {
                        name: $name.into(),
                        revision: env!("CARGO_PKG_VERSION").into(),
                        metrics: Vec::new(),
                        memory_columns: 1,
                        early_rules: Vec::new(),
                        reasons: vec!["a habit".into()],
                    }
                }

                fn configure(json: String) -> Result<(), String> {
                    STATE.configure(&json)
                }
            }

            impl cadence_part::exports::pulsegate::policy::cadence::Guest for Exported {
                fn suggest(_: pulsegate_sdk::Observation) -> pulsegate_sdk::Hint {
                    $crate::ordinary()
                }

                fn suggest_rows(rows: Vec<f64>) -> Vec<f64> {
                    $rows(STATE.config(), rows)
                }
            }

            #[cfg(target_arch = "wasm32")]
    manifest_part::export!(Exported with_types_in manifest_part);
            #[cfg(target_arch = "wasm32")]
    cadence_part::export!(Exported with_types_in cadence_part);
        };
    };
}
