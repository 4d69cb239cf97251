//! The header `WWW-Authenticate`: how a registry wants to be told who asks.
//!
//! Source: RFC 9110, section 11.6.1, and the Docker registry's token authentication.

use std::collections::BTreeMap;

/// One challenge: a scheme in lower case, and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) params: BTreeMap<String, String>,
}

/// Reads every challenge of a header's value; what cannot be read ends it.
pub(crate) fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word_end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        if word.is_empty() {
            return challenges;
        }
        let word = word.to_ascii_lowercase();
        match (after.strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                let Some((value, after)) = value(after) else { return challenges };
                challenge.params.entry(word).or_insert(value);
                rest = after;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                challenges.push(Challenge { scheme: word, params: BTreeMap::new() });
                rest = after;
            }
        }
    }
}

/// A token or a quoted text, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return Some((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Vec<(String, String)>)> {
        let parts = |challenge: Challenge| {
            (challenge.scheme, challenge.params.into_iter().collect::<Vec<_>>())
        };
        parse(text).into_iter().map(parts).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn challenges_of_known_registries_are_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = pairs(&[
            ("realm", "https://auth.docker.io/token"),
            ("scope", "repository:a/b:pull,push"),
            ("service", "registry.docker.io"),
        ]);
        assert_eq!(read(hub), [("bearer".to_owned(), expected)]);
        let basic = pairs(&[("realm", "a \"b\", c")]);
        assert_eq!(read(r#"BASIC realm="a \"b\", c""#), [("basic".to_owned(), basic)]);
        let two = read(r#"Negotiate, Bearer realm=x , Basic realm="y""#);
        assert_eq!(
            two.iter().map(|(scheme, _)| scheme.as_str()).collect::<Vec<_>>(),
            ["negotiate", "bearer", "basic"]
        );
    }

    #[test]
    fn nonsense_ends_it_without_harm() {
        for text in ["", ",,,", "=", "realm=x", "\u{e4}", "Bearer realm=\"", "Bearer realm=\"a\\"] {
            assert!(read(text).iter().all(|(_, params)| params.is_empty()), "{text}");
        }
    }
}
