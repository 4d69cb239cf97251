//! What went wrong, as the client may know it: RFC 9457, one table for every transport.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::limits;

macro_rules! codes {
    ($(
        $(#[$doc:meta])*
        $variant:ident, $number:literal, $word:literal, $status:literal, $title:literal;
    )+) => {
        /// Every error that a client can meet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands in `code` and, after `urn:pulsegate:problem:`, in `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The status of HTTP.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The application error code of QUIC: 0x5000 and the code's number.
            #[must_use]
            pub const fn quic(self) -> u32 {
                0x5000 + match self { $(Self::$variant => $number,)+ }
            }

            /// The code of this application error code of QUIC.
            #[must_use]
            pub fn from_quic(number: u64) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| u64::from(code.quic()) == number)
            }

            /// What the code means, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// The code of this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == word)
            }
        }
    };
}

codes! {
    /// The body could not be parsed.
    Malformed, 1, "malformed", 400, "the body could not be parsed";
    /// The heartbeat speaks a schema that this gateway does not know.
    SchemaUnsupported, 2, "schema_unsupported", 422, "the schema is not known here";
    /// A field has a value that it must not have.
    FieldInvalid, 3, "field_invalid", 422, "a field has a value that it must not have";
    /// The body or the batch is over its limit.
    TooLarge, 4, "too_large", 413, "the request is over its limit";
    /// The content type is neither JSON nor protobuf.
    MediaType, 5, "media_type", 415, "the content type is not accepted";
    /// The request carries no credential that is known.
    Unauthenticated, 6, "unauthenticated", 401, "a credential is needed";
    /// The credential does not allow this.
    Forbidden, 7, "forbidden", 403, "the credential does not allow this";
    /// No agent of this name.
    AgentUnknown, 8, "agent_unknown", 404, "no agent of this name";
    /// A newer incarnation of the agent has beaten already.
    IncarnationStale, 9, "incarnation_stale", 409, "a newer incarnation is known";
    /// This incarnation has left; a newer one may come.
    AgentStopped, 10, "agent_stopped", 409, "this incarnation has left";
    /// Another holder has the lease.
    LeaseHeld, 11, "lease_held", 409, "another holder has the lease";
    /// Another gateway owns this agent.
    Misdirected, 12, "misdirected", 421, "another gateway owns this agent";
    /// Not before the handshake is complete.
    TooEarly, 13, "too_early", 425, "not before the handshake is complete";
    /// More requests than the quota allows.
    RateLimited, 14, "rate_limited", 429, "more requests than the quota allows";
    /// The gateway sheds load.
    Overloaded, 15, "overloaded", 503, "the gateway sheds load";
    /// What must be durable cannot be made durable now.
    JournalUnavailable, 16, "journal_unavailable", 503, "nothing can be made durable now";
    /// No route of this path.
    NotFound, 17, "not_found", 404, "no route of this path";
    /// The route knows other methods only.
    MethodNotAllowed, 18, "method_not_allowed", 405, "the route does not know this method";
    /// The request took too long to arrive.
    RequestTimeout, 19, "request_timeout", 408, "the request took too long to arrive";
    /// The gateway itself failed; the cause stands in its log.
    Internal, 20, "internal", 500, "the gateway failed";
    /// Nobody holds a lease of this name.
    LeaseUnknown, 21, "lease_unknown", 404, "nobody holds a lease of this name";
    /// The lease is held with another token.
    TokenStale, 22, "token_stale", 409, "the lease is held with another token";
    /// What was asked for was there, and is no longer kept.
    Gone, 23, "gone", 410, "it is no longer kept";
    /// A component that did not pass admission.
    PolicyRefused, 24, "policy_refused", 422, "the policy did not pass admission";
    /// What was asked for does not fit to what the policy is now.
    PolicyConflict, 25, "policy_conflict", 409, "the policy is not in a state for this";
}

/// A problem document.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// `urn:pulsegate:problem:` and the code.
    #[prost(string, tag = "1")]
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    #[prost(string, tag = "2")]
    pub title: String,
    /// The status of HTTP.
    #[prost(uint32, tag = "3")]
    pub status: u32,
    /// The word of a [`Code`].
    #[prost(string, tag = "4")]
    pub code: String,
    /// What is wrong here, for people.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Path of the field that is wrong, such as `metrics.cpu_percent`.
    #[prost(string, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The limit that was passed, in the field's own unit.
    #[prost(double, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// When to try again, in milliseconds; spread per agent.
    #[prost(uint64, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Who holds the lease that is held.
    #[prost(string, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

impl Problem {
    /// A problem of this code. What it says may quote the request: it is cut, and control
    /// characters, which could forge log lines, become spaces.
    #[must_use]
    pub fn new(code: Code, detail: &str) -> Self {
        Self {
            kind: format!("urn:pulsegate:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: u32::from(code.status()),
            code: code.as_str().to_owned(),
            detail: plain(detail),
            ..Self::default()
        }
    }

    /// A field with a value that it must not have. Its name may be the sender's, and is cut like
    /// the detail.
    #[must_use]
    pub fn on_field(field: &str, detail: &str) -> Self {
        Self { field: Some(plain(field)), ..Self::new(Code::FieldInvalid, detail) }
    }

    /// The same, with the limit that was passed.
    #[must_use]
    pub fn with_limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The same, with the time to try again.
    #[must_use]
    pub fn with_retry_after_ms(self, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..self }
    }

    /// The same, with the holder of the lease.
    #[must_use]
    pub fn with_holder(self, holder: &str) -> Self {
        Self { holder: Some(holder.to_owned()), ..self }
    }

    /// The code, if this build knows it.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        Code::from_word(&self.code)
    }
}

/// A text as a problem carries it: at most [`limits::PROBLEM_TEXT_BYTES`] of it, on one line.
fn plain(text: &str) -> String {
    let end = text.floor_char_boundary(limits::PROBLEM_TEXT_BYTES);
    let plain = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.chain((end < text.len()).then_some('…')).collect()
}
