//! The types that an option may have, and their forms in TOML, environment and flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

/// A type of option.
pub(super) trait Setting: Sized + Clone + PartialEq {
    /// Takes it from a file.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String>;
    /// Takes it from a flag or from the environment.
    fn from_text(text: &str) -> Result<Self, String>;
    /// Shows it as TOML; `None` where nothing is set.
    fn to_toml(&self) -> Option<String>;
    /// The numbers in it, for the check of the range.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }
}

/// An integer of a file, however it was written.
pub(super) fn integer(value: &DeValue<'_>) -> Result<u64, String> {
    let DeValue::Integer(integer) = value else {
        return Err(expected("a whole number", value));
    };
    u64::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| "must be a whole number, not negative and not above 2^64".to_owned())
}

/// A text of a file.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        other => Err(expected("a text in quotes", other)),
    }
}

/// What was expected, and what stood there.
pub(super) fn expected(what: &str, value: &DeValue<'_>) -> String {
    format!("must be {what}, not {}", kind(value))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text as TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

macro_rules! integers {
    ($($type:ty)+) => {$(
        impl Setting for $type {
            fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
                let number = integer(value)?;
                Self::try_from(number).map_err(|_| format!("must be at most {}", Self::MAX))
            }
            fn from_text(text: &str) -> Result<Self, String> {
                text.trim().replace('_', "").parse().map_err(|_| {
                    format!("must be a whole number from 0 to {}", Self::MAX)
                })
            }
            fn to_toml(&self) -> Option<String> {
                Some(self.to_string())
            }
            fn numbers(&self) -> Vec<f64> {
                vec![*self as f64]
            }
        }
    )+};
}

integers! { u8 u32 u64 }

impl Setting for f64 {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Float(float) => Self::from_text(float.as_str()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map(|number| number as Self)
                .map_err(|_| "must be a number of at most 2^63".to_owned()),
            other => Err(expected("a number", other)),
        }
    }
    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim().replace('_', "").parse::<Self>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("must be a number".to_owned()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }
}

impl Setting for bool {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(expected("true or false", other)),
        }
    }
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "must be true or false".to_owned())
    }
    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for String {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        text(value)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Setting for PathBuf {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        Self::from_text(&text(value)?)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must be a path, and not empty".to_owned());
        }
        Ok(Self::from(text))
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

impl Setting for SocketAddr {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        Self::from_text(&text(value)?)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim()
            .parse()
            .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8420".to_owned())
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Array(items) => {
                items.iter().map(|item| T::from_toml(item.get_ref())).collect()
            }
            other => Err(expected("a list", other)),
        }
    }
    fn from_text(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(T::from_text).collect()
    }
    fn to_toml(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Setting::to_toml).collect();
        Some(format!("[{}]", items.join(", ")))
    }
    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(Setting::numbers).collect()
    }
}

impl<T: Setting> Setting for Option<T> {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        T::from_toml(value).map(Some)
    }
    fn from_text(text: &str) -> Result<Self, String> {
        T::from_text(text).map(Some)
    }
    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(Setting::to_toml)
    }
    fn numbers(&self) -> Vec<f64> {
        self.as_ref().map(Setting::numbers).unwrap_or_default()
    }
}

/// Defines an option that is one word of a closed set.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant,)+ }

        impl $name {
            /// The word of configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn from_toml(value: &toml::de::DeValue<'_>) -> Result<Self, String> {
                Self::from_text(&$crate::config::setting::text(value)?)
            }
            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
            fn to_toml(&self) -> Option<String> {
                Some($crate::config::setting::quoted(self.as_str()))
            }
        }
    };
}
pub(super) use words;
