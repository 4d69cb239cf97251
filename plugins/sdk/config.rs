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
use serde_json_core::de::Error;

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
    /// A text for the operator, which names the setting where that can be found out.
    pub fn read(json: &str) -> Result<Self, String> {
        Self::parse(json).map_err(|error| Self::blame(json, error))
    }

    fn parse(json: &str) -> Result<Self, Error> {
        // Unescaped text is never longer than the text it came from.
        let mut scratch = vec![0; json.len()];
        serde_json_core::from_str_escaped(json, &mut scratch).map(|(config, _)| config)
    }

    /// Which setting does not fit: the reader does not tell, so each is read by itself.
    fn blame(json: &str, error: Error) -> String {
        let all = members(json);
        let settings = all.iter().find(|(key, _)| *key == "settings").map_or("{}", |(_, own)| own);
        let with = |settings: &str| {
            let rest = all.iter().filter(|(key, _)| *key != "settings");
            let mut text: String = rest.map(|(key, value)| format!("\"{key}\":{value},")).collect();
            text = format!("{{{text}\"settings\":{{{settings}}}}}");
            Self::parse(&text).is_ok()
        };
        if !with("") {
            return match error {
                Error::CustomError => {
                    "settings: one that has no default is missing, or does not fit".into()
                }
                other => format!("settings: {other}"),
            };
        }
        let culprit =
            members(settings).into_iter().find(|(key, value)| !with(&format!("\"{key}\":{value}")));
        match culprit {
            Some((key, value)) => {
                format!("settings: {key} = {value}: not a setting, or not a value for it")
            }
            None => "settings: they do not fit together".into(),
        }
    }
}

/// Keys and values of a JSON object as they stand there, keys without their quotes.
fn members(object: &str) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    let (mut depth, mut is_text, mut is_escaped) = (0_u32, false, false);
    let (mut begin, mut colon) = (0, None);
    for (at, byte) in object.bytes().enumerate() {
        if is_text {
            (is_text, is_escaped) = match byte {
                _ if is_escaped => (true, false),
                b'\\' => (true, true),
                b'"' => (false, false),
                _ => (true, false),
            };
            continue;
        }
        match byte {
            b'"' => is_text = true,
            b':' if depth == 1 && colon.is_none() => colon = Some(at),
            b'{' | b'[' => {
                depth += 1;
                begin = if depth == 1 { at + 1 } else { begin };
            }
            b',' | b'}' | b']' => {
                if depth == 1
                    && let Some(colon) = colon.take()
                {
                    let key = object[begin..colon].trim().trim_matches('"');
                    all.push((key, object[colon + 1..at].trim()));
                    begin = at + 1;
                }
                depth = if byte == b',' { depth } else { depth.saturating_sub(1) };
            }
            _ => {}
        }
    }
    all
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
    fn the_setting_that_does_not_fit_is_named() {
        let said = |settings: &str| Config::<Settings>::read(&json(settings)).expect_err("refused");
        assert_eq!(
            said(r#"{"word":"a,}\"b","limits":[1,{"a":2}],"limit":2}"#),
            r#"settings: limits = [1,{"a":2}]: not a setting, or not a value for it"#
        );
        assert_eq!(
            said(r#"{"limit":true}"#),
            "settings: limit = true: not a setting, or not a value for it"
        );
        #[derive(Debug, Deserialize)]
        struct Strict {
            _needed: u32,
        }
        let error = Config::<Strict>::read(&json("{}")).expect_err("refused");
        assert_eq!(error, "settings: one that has no default is missing, or does not fit");
        let error = Config::<Settings>::read("{").expect_err("no JSON");
        assert_eq!(error, "settings: EOF while parsing an object.");
    }

    #[test]
    fn members_are_split_where_they_end() {
        assert_eq!(members("{}"), []);
        assert_eq!(members("nonsense}}]"), []);
        let split = members(r#" { "a" : "x:,}" , "b":{"c":[1,2]}, "d":-1.5 }"#);
        assert_eq!(split, [("a", r#""x:,}""#), ("b", r#"{"c":[1,2]}"#), ("d", "-1.5")]);
    }

    #[test]
    fn a_setting_that_is_not_known_is_refused() {
        assert!(Config::<Settings>::read(&json(r#"{"limits":1}"#)).is_err());
        assert!(Config::<NoSettings>::read(&json(r#"{"limit":1}"#)).is_err());
        assert!(Config::<NoSettings>::read(&json("{}")).is_ok());
    }
}
