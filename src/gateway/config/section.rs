//! One definition per option: field, default, unit, range, whether it changes live, and why the
//! default is what it is. Reading, the template, range checks and reloads follow from it.

use super::table::Table;

/// What is known of an option beside its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    /// Name of the option within its section.
    pub(super) key: &'static str,
    /// What it does, as in the documentation of the field.
    pub(super) doc: &'static [&'static str],
    /// Unit and range.
    pub(super) bounds: Bounds,
    /// Whether a reload changes it without a restart.
    pub(super) live: bool,
    /// Why the default is what it is.
    pub(super) why: &'static str,
}

/// Unit and range of an option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Unit for people, such as `ms`.
    pub(super) unit: &'static str,
    /// Smallest and largest value of a number.
    pub(super) range: Option<(f64, f64)>,
    /// A value to show where there is no default.
    pub(super) example: &'static str,
}

impl Bounds {
    /// Milliseconds from `min` to `max`.
    pub(super) const fn ms(min: u32, max: u32) -> Self {
        Self { unit: "ms", range: Some((min as f64, max as f64)), example: "" }
    }

    /// A number of something, from `min` to `max`.
    pub(super) const fn count(unit: &'static str, min: u32, max: u32) -> Self {
        Self { unit, range: Some((min as f64, max as f64)), example: "" }
    }

    /// A rate or a share, from `min` to `max`.
    pub(super) const fn rate(unit: &'static str, min: f64, max: f64) -> Self {
        Self { unit, range: Some((min, max)), example: "" }
    }

    /// A word or a text of this form.
    pub(super) const fn text(unit: &'static str) -> Self {
        Self { unit, range: None, example: "" }
    }

    /// The same, with an example of a value.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The range for people: `1 to 9 ms`.
    pub(super) fn describe(&self) -> String {
        match self.range {
            Some((min, max)) => format!("{min} to {max} {}", self.unit),
            None => self.unit.to_owned(),
        }
    }
}

/// A group of options.
pub(super) trait Section: Sized + Clone {
    /// Its options in the order of their definition.
    const OPTIONS: &'static [Opt];
    /// Reads the options of a table; what is absent stays as in `base`.
    fn read(table: &mut Table<'_, '_>, base: Self) -> Self;
    /// Every value as TOML, in the order of [`Self::OPTIONS`]; `None` where none is set.
    fn values(&self) -> Vec<Option<String>>;
    /// Takes what changes live from `new`, and returns the keys that differ but need a restart.
    fn reload(&mut self, new: &Self) -> Vec<&'static str>;
}

/// Defines a [`Section`]: `name: type = default => bounds, live|restart, "why";`
macro_rules! section {
    (@live live) => { true };
    (@live restart) => { false };
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident: $type:ty = $default:expr => $bounds:expr, $live:ident, $why:literal;
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $name {
            const OPTIONS: &'static [$crate::config::section::Opt] = &[$(
                $crate::config::section::Opt {
                    key: stringify!($field),
                    doc: &[$($field_doc,)+],
                    bounds: $bounds,
                    live: section!(@live $live),
                    why: $why,
                },
            )+];

            fn read(
                table: &mut $crate::config::table::Table<'_, '_>,
                base: Self,
            ) -> Self {
                let mut options = Self::OPTIONS.iter();
                Self { $($field: table.option(options.next(), base.$field),)+ }
            }

            fn values(&self) -> Vec<Option<String>> {
                vec![$($crate::config::setting::Setting::to_toml(&self.$field),)+]
            }

            fn reload(&mut self, new: &Self) -> Vec<&'static str> {
                let mut kept = Vec::new();
                $(
                    if self.$field != new.$field {
                        if section!(@live $live) {
                            self.$field = new.$field.clone();
                        } else {
                            kept.push(stringify!($field));
                        }
                    }
                )+
                kept
            }
        }
    };
}
pub(super) use section;
