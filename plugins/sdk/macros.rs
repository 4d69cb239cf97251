//! The one line that makes plain functions a policy.

/// Makes a policy of plain functions: exports each in both forms, and describes it to the host.
///
/// In this order, all but `name`, `reasons` and one of the last three optional:
///
/// ```
/// # use pulsegate_sdk::*;
/// # #[derive(Default, serde::Deserialize)] struct Settings {}
/// # fn rules(_: &Config<Settings>) -> Vec<EarlyRule> { vec![] }
/// # fn judge(_: &Observation) -> Judgement { Judgement::new(Health::Healthy, 100.0, 0) }
/// # fn suggest(_: &Observation, _: &mut Context) -> Hint { Hint::new(30_000.0, 0) }
/// # fn propose(_: &Incident) -> Plan { Plan { rungs: vec![], reason: 0 } }
/// policy! {
///     name: "example",            // what it calls itself: [a-z0-9-]
///     revision: "1.0.0",          // default: the version of your crate
///     reasons: ["fine"],          // texts that answers point into
///     settings: Settings,         // a type that serde can read; default: no settings
///     metrics: ["tokens_left"],   // custom metrics that it reads; at most 16
///     memory_columns: 2,          // numbers it keeps with each agent; at most 8
///     early_rules: rules,         // fn(&Config<Settings>) -> Vec<EarlyRule>; at most 8
///     health: judge,
///     cadence: suggest,
///     recovery: propose,          // fn(&Incident) -> Plan, with &Config<Settings> before or not
/// }
/// # fn main() {}
/// ```
///
/// The functions stay plain functions. On other targets than Wasm nothing is exported, so that
/// any number of policies fits into one test binary; with the feature `testing`, one in each
/// module, where its name is `POLICY`.
#[macro_export]
macro_rules! policy {
    (
        name: $name:expr,
        $(revision: $revision:expr,)?
        reasons: $reasons:expr,
        $(settings: $settings:ty,)?
        $(metrics: $metrics:expr,)?
        $(memory_columns: $columns:expr,)?
        $(early_rules: $rules:expr,)?
        $(health: $health:expr,)?
        $(cadence: $cadence:expr,)?
        $(recovery: $recovery:expr,)?
    ) => {
        const _: () = {
            use $crate::rt;

            struct Exported;
            // Used on every target, so that no author is told that the policy is dead code.
            const _: fn() = || {
                use rt::bindings::manifest_part::exports::pulsegate::policy::manifest::Guest;
                let _ = (Exported, Exported::describe, Exported::configure);
            };
            type Told = $crate::__or!([$($settings)?] $crate::NoSettings);
            static STATE: rt::State<Told> = rt::State::new();
            const METRICS: &[&str] = $crate::__or!([$(&$metrics)?] &[]);
            const COLUMNS: usize = $crate::__or!([$($columns)?] 0);

            impl rt::bindings::manifest_part::exports::pulsegate::policy::manifest::Guest
                for Exported
            {
                fn describe()
                -> rt::bindings::manifest_part::exports::pulsegate::policy::manifest::Description
                {
                    $crate::__describe!(
                        STATE.config(), $name, [$($revision)?], $reasons, METRICS, COLUMNS,
                        [$($rules)?]
                    )
                }

                fn configure(json: rt::String) -> Result<(), rt::String> {
                    STATE.configure(&json)
                }
            }
            #[cfg(target_arch = "wasm32")]
            rt::bindings::manifest_part::export!(
                Exported with_types_in rt::bindings::manifest_part
            );

            $($crate::__export_rule!(
                Exported, $health, health_part, health, judge, judge_rows, Judgement
            );)?
            $($crate::__export_rule!(
                Exported, $cadence, cadence_part, cadence, suggest, suggest_rows, Hint
            );)?
            $($crate::__export_recovery!(Exported, $recovery);)?
        };

        $crate::__native! {
            $name,
            [$($revision)?],
            $reasons,
            [$($settings)?],
            [$(&$metrics)?],
            [$($columns)?],
            [$($rules)?],
            [$($health)?],
            [$($cadence)?],
            [$($recovery)?]
        }
    };
}

/// Makes what native tests ask; nothing without the feature `testing`.
#[cfg(not(all(feature = "testing", not(target_arch = "wasm32"))))]
#[doc(hidden)]
#[macro_export]
macro_rules! __native {
    ($($any:tt)*) => {};
}

/// Makes what native tests ask; nothing without the feature `testing`.
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __native {
    (
        $name:expr,
        [$($revision:expr)?],
        $reasons:expr,
        [$($settings:ty)?],
        [$($metrics:expr)?],
        [$($columns:expr)?],
        [$($rules:expr)?],
        [$($health:expr)?],
        [$($cadence:expr)?],
        [$($recovery:expr)?]
    ) => {
        /// This policy, for native tests: see `pulsegate_sdk::testing`.
        #[allow(dead_code, reason = "only tests ask it")]
        pub static POLICY: $crate::testing::Policy = {
            use $crate::{rt, testing};

            type Told = $crate::__or!([$($settings)?] $crate::NoSettings);
            const METRICS: &[&str] = $crate::__or!([$($metrics)?] &[]);
            const COLUMNS: usize = $crate::__or!([$($columns)?] 0);

            testing::Policy::new(|configuration| {
                testing::start::<Told>(configuration, testing::Functions {
                    describe: |config| $crate::__describe!(
                        config, $name, [$($revision)?], $reasons, METRICS, COLUMNS, [$($rules)?]
                    ),
                    health: $crate::__or!([$($crate::__forms!($health, $crate::Judgement))?] None),
                    cadence: $crate::__or!([$($crate::__forms!($cadence, $crate::Hint))?] None),
                    recovery: $crate::__or!(
                        [$(Some(|config, incident| {
                            $crate::RecoveryRule::plan(&$recovery, config, incident)
                        }))?]
                        None
                    ),
                })
            })
        };
    };
}

/// A rule in both forms, for native tests.
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __forms {
    ($rule:expr, $Answer:ty) => {
        Some(testing::Forms {
            flat: |config, seen| rt::answer_flat(&$rule, config, COLUMNS, seen),
            rows: |config, rows| {
                rt::answer_rows::<Told, $Answer, _>(&$rule, config, METRICS, COLUMNS, rows)
            },
        })
    };
}

/// What a policy says about itself.
#[doc(hidden)]
#[macro_export]
macro_rules! __describe {
    (
        $config:expr, $name:expr, [$($revision:expr)?], $reasons:expr, $metrics:expr,
        $columns:expr, [$($rules:expr)?]
    ) => {
        rt::bindings::manifest_part::exports::pulsegate::policy::manifest::Description {
            name: rt::ToString::to_string($name),
            revision: rt::ToString::to_string(
                $crate::__or!([$($revision)?] env!("CARGO_PKG_VERSION")),
            ),
            metrics: rt::owned($metrics),
            memory_columns: $columns as u32,
            early_rules: $crate::__or!(
                [$({
                    let rules: fn(&$crate::Config<Told>) -> rt::Vec<$crate::EarlyRule> = $rules;
                    rules($config)
                })?]
                rt::Vec::new()
            ),
            reasons: rt::owned(&$reasons),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __or {
    ([] $($default:tt)*) => { $($default)* };
    ([$($given:tt)+] $($default:tt)*) => { $($given)+ };
}

/// Exports a rule about one heartbeat in both forms.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_rule {
    (
        $exported:ident, $rule:expr,
        $part:ident, $room:ident, $flat:ident, $rows:ident, $Answer:ident
    ) => {
        const _: fn() = || {
            use rt::bindings::$part::exports::pulsegate::policy::$room::Guest;
            let _ = ($exported::$flat, $exported::$rows);
        };
        impl rt::bindings::$part::exports::pulsegate::policy::$room::Guest for $exported {
            fn $flat(seen: $crate::Observation) -> $crate::$Answer {
                rt::answer_flat(&$rule, STATE.config(), COLUMNS, &seen)
            }

            fn $rows(rows: rt::Vec<f64>) -> rt::Vec<f64> {
                rt::answer_rows::<Told, $crate::$Answer, _>(
                    &$rule,
                    STATE.config(),
                    METRICS,
                    COLUMNS,
                    rows,
                )
            }
        }
        #[cfg(target_arch = "wasm32")]
        rt::bindings::$part::export!($exported with_types_in rt::bindings::$part);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_recovery {
    ($exported:ident, $rule:expr) => {
        const _: fn() = || {
            use rt::bindings::recovery_part::exports::pulsegate::policy::recovery::Guest;
            let _ = ($exported::propose,);
        };
        impl rt::bindings::recovery_part::exports::pulsegate::policy::recovery::Guest
            for $exported
        {
            fn propose(incident: $crate::Incident) -> $crate::Plan {
                $crate::RecoveryRule::plan(&$rule, STATE.config(), &incident)
            }
        }
        #[cfg(target_arch = "wasm32")]
        rt::bindings::recovery_part::export!($exported with_types_in rt::bindings::recovery_part);
    };
}
