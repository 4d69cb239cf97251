//! What a policy is told when an instance starts.
//!
//! JSON is read by `serde-json-core`: authors derive serde's `Deserialize`, which they know, and
//! nothing builds a tree of values or allocates but for what the settings hold. A setting that is
//! a number with a fraction brings the standard library's reader of such numbers, 30 KB.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What a policy is told when an instance starts: the class it serves, the ways to act, and what
/// the operator wrote for it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Config<Settings> {
    /// The class of the agents that this instance serves.
    pub class: Class,
    /// The configured executors, in their order.
    pub executors: Vec<Executor>,
    /// The operator's settings for this policy.
    pub settings: Settings,
}

/// What the operator promises for a class of agents. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Class {
    /// Name, such as `normal`.
    pub name: String,
    /// Interval when nothing else is said.
    pub interval_ms: u32,
    /// Silence is noticed within this time.
    pub detect_within_ms: u32,
    /// Slack past the due time before an agent is suspect.
    pub suspect_grace_ms: u32,
    /// Slack past the due time before an agent has failed.
    pub fail_grace_ms: u32,
    /// Longest interval that keeps the promise.
    pub cap_ms: u32,
}

/// One configured way to act.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Executor {
    /// What rungs name.
    pub id: String,
    /// Time that it is given, in milliseconds.
    pub wait_ms: u32,
}

/// The settings of a policy that has none: any are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl Default for Class {
    /// The class `normal` as a gateway has it by default; for tests.
    fn default() -> Self {
        Self {
            name: "normal".to_string(),
            interval_ms: 30_000,
            detect_within_ms: 90_000,
            suspect_grace_ms: 20_000,
            fail_grace_ms: 61_000,
            cap_ms: 70_000,
        }
    }
}

impl<Settings: DeserializeOwned> Config<Settings> {
    /// Reads what the gateway hands to `configure`.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn read(json: &str) -> Result<Self, String> {
        // Unescaped text is never longer than the text it came from.
        let mut scratch = vec![0; json.len()];
        match serde_json_core::from_str_escaped(json, &mut scratch) {
            Ok((config, _)) => Ok(config),
            Err(error) => Err(format!("settings: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        limit: f64,
        word: String,
    }

    fn json(settings: &str) -> String {
        format!(
            r#"{{"class":{{"cap_ms":70000,"detect_within_ms":90000,"fail_grace_ms":61000,
            "interval_ms":30000,"name":"normal","suspect_grace_ms":20000}},
            "executors":[{{"id":"restart","wait_ms":5}}],"settings":{settings}}}"#
        )
    }

    #[test]
    fn what_the_gateway_sends_is_read_back() {
        let config = Config::<Settings>::read(&json(r#"{"limit":2.5,"word":"a\"b\u00e9\n"}"#));
        let config = config.expect("it is what the gateway sends");
        assert_eq!(config.class, Class::default());
        assert_eq!(config.executors, [Executor { id: "restart".into(), wait_ms: 5 }]);
        assert_eq!(config.settings, Settings { limit: 2.5, word: "a\"b\u{e9}\n".into() });
    }

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let config = Config::<Settings>::read(&json("{}")).expect("every setting has a default");
        assert_eq!(config.settings, Settings::default());
    }

    #[test]
    fn a_setting_that_is_not_known_is_refused() {
        assert!(Config::<Settings>::read(&json(r#"{"limits":1}"#)).is_err());
        assert!(Config::<NoSettings>::read(&json(r#"{"limit":1}"#)).is_err());
        assert!(Config::<NoSettings>::read(&json("{}")).is_ok());
    }
}
