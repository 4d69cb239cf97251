//! What can go wrong between a registry and a policy.

use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Digest;

/// Most of a text of somebody else that an error shows, in characters.
const SHOWN: usize = 200;

/// Why something was not pulled, pushed, kept or believed. Nothing is loaded or kept of what an
/// error speaks of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reference cannot be one.
    #[error("{reference:?} is no reference to a policy: {why}")]
    Reference {
        /// What was given.
        reference: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A gateway was to load whatever a tag names.
    #[error(
        "{reference} has no digest, and a tag can be moved to other bytes after they were tested; \
         `pulsegate policy pull {reference}` prints the digest to pin"
    )]
    NotPinned {
        /// The reference.
        reference: String,
    },
    /// A digest cannot be one.
    #[error("{digest:?} is no digest: {why}")]
    BadDigest {
        /// What was given.
        digest: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Options of a client contradict each other or cannot be used.
    #[error("{option} cannot be used: {why}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there, or TLS was not agreed on.
    #[error("no connection to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A connection broke off before the answer was whole, or what came is no HTTP.
    #[error("the exchange with {host} broke off")]
    Broke {
        /// Host and port.
        host: String,
        /// What the connection says.
        #[source]
        source: hyper::Error,
    },
    /// It took too long.
    #[error("{host} was not done within {} s", after.as_secs_f64())]
    TimedOut {
        /// Host and port.
        host: String,
        /// The limit.
        after: Duration,
    },
    /// A registry sends elsewhere, and there nobody goes.
    #[error("{host} redirects, and it is not followed: {why}")]
    Redirect {
        /// Host and port.
        host: String,
        /// Why not.
        why: String,
    },
    /// A registry does not have it.
    #[error("{host} does not have {what}")]
    NotFound {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// A registry wants to know who asks, or does not let them.
    #[error("{host} refuses {what}: {why}")]
    Unauthorized {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What could be done.
        why: String,
    },
    /// A registry's credentials were to be sent to a host that is not the registry's own.
    #[error(
        "{host} asks to send its credentials to {realm}, which is neither that host nor one of \
         its own domain; they were not sent"
    )]
    ForeignRealm {
        /// Host and port of the registry.
        host: String,
        /// Where they should have gone.
        realm: String,
    },
    /// A registry asks for a kind of authentication that is not known here.
    #[error("{host} asks for credentials in a way that is not understood: {why}")]
    Challenge {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// A registry answers with an error.
    #[error("{host} answers {status} to {what}{detail}")]
    Status {
        /// Host and port.
        host: String,
        /// The status of HTTP.
        status: u16,
        /// What was asked for.
        what: String,
        /// What the registry says about it: empty, or a colon and a text.
        detail: String,
    },
    /// Something has another media type than it must have.
    #[error("{what} is of media type {found:?}; taken are {expected}")]
    MediaType {
        /// What it is.
        what: &'static str,
        /// Its media type.
        found: String,
        /// Those that are taken.
        expected: String,
    },
    /// Something is larger than is taken.
    #[error("{what} has more than {limit} bytes, and no more are taken")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Content has another length than its descriptor says.
    #[error("{what} has {found} bytes and not {expected}, as its manifest says")]
    Size {
        /// What it is.
        what: String,
        /// What its descriptor says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Content is not what its digest names.
    #[error("{what} is not {expected}: what came has the digest {found}")]
    Digest {
        /// What it is.
        what: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A manifest is not one of a policy.
    #[error("the manifest {digest} is not one of a policy: {why}")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// What is to be pushed is no component.
    #[error("not pushed: {why}")]
    NotComponent {
        /// What it is.
        why: String,
    },
    /// A registry took something, and calls it by another digest.
    #[error("{host} calls what was pushed {found:?}, but it is {expected}")]
    PushedOther {
        /// Host and port.
        host: String,
        /// Its digest.
        expected: Digest,
        /// What the registry says.
        found: String,
    },
    /// A public key cannot be used.
    #[error("the public key in {file} cannot be used: {why}")]
    Key {
        /// Where it came from.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no signature.
    #[error("{what} has no signature, and a public key asks for one")]
    Unsigned {
        /// What should have one.
        what: String,
    },
    /// There are signatures, and none was made with one of the keys.
    #[error(
        "{what} has no signature of a known key: it was signed with another one, or what was \
         signed was changed afterwards"
    )]
    ForeignSignature {
        /// What was signed.
        what: String,
    },
    /// A signature is good, and speaks of something else.
    #[error("the signature of {what} is good, but it is one of {signed}")]
    SignatureOfOther {
        /// What should have been signed.
        what: String,
        /// What was signed.
        signed: String,
    },
    /// A signature is none.
    #[error("the signature of {what} is damaged: {why}")]
    DamagedSignature {
        /// What was signed.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store cannot be used.
    #[error("the store of policies cannot be used: {}", path.display())]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The store has no room for it.
    #[error("the store of policies has no room: {why}")]
    StoreFull {
        /// The limit that stands in the way.
        why: String,
    },
}

impl Error {
    /// Whether the same may succeed later without a change: nobody answered, or it took too long.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broke { .. } | Self::TimedOut { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// The error with everything that caused it, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }
}

/// A text of somebody else as it may be shown: short, on one line, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_shown_on_one_short_line() {
        let long = format!("a\u{1b}[31m\r\n{}", "x".repeat(10_000));
        let text = shown(&long);
        assert!(text.starts_with("a\u{fffd}[31m\u{fffd}\u{fffd}xx"));
        assert_eq!(text.chars().count(), SHOWN + 1);
        assert_eq!(shown("as it is"), "as it is");
    }
}
