//! The cases, by what they are about.

mod bytes;
mod credentials;
mod fields;
mod order;
mod quota;
mod registration;

use super::differences::Differs;
use super::world::{Setting, World};

/// One story.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub setting: Setting,
    /// Transports with this difference cannot tell it.
    pub without: Option<Differs>,
    pub run: Run,
}

type Run = fn(&mut World<'_>);

/// Cases that have the same needs.
struct Group {
    setting: Setting,
    without: Option<Differs>,
    cases: &'static [(&'static str, Run)],
}

/// Every case of a file.
macro_rules! cases {
    ($($setting:ident $(without $differs:ident)?: $($name:ident),+;)+) => {
        pub(super) const CASES: &[super::Group] = &[$(super::Group {
            setting: $crate::conformance::world::Setting::$setting,
            without: $crate::conformance::cases::cases!(@without $($differs)?),
            cases: &[$((stringify!($name), $name),)+],
        },)+];
    };
    (@without $differs:ident) => { Some($crate::conformance::differences::Differs::$differs) };
    (@without) => { None };
}
use cases;

/// Every case.
pub fn all() -> impl Iterator<Item = Case> {
    let files = [
        order::CASES,
        fields::CASES,
        bytes::CASES,
        quota::CASES,
        credentials::CASES,
        registration::CASES,
    ];
    files.into_iter().flatten().flat_map(|group| {
        let Group { setting, without, cases } = group;
        let case = |(name, run): &(&'static str, Run)| Case {
            name,
            setting: *setting,
            without: *without,
            run: *run,
        };
        cases.iter().map(case)
    })
}
