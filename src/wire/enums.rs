//! The closed sets of the protocol: each a number in protobuf and a word in JSON.

use core::fmt;
use core::str::FromStr;

/// A word that names no member of a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The words that would have been understood.
    pub expected: &'static [&'static str],
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one of {}", self.expected.join(", "))
    }
}

impl core::error::Error for UnknownName {}

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident as $module:ident, unknown: $unknown:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $number:literal, $word:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
        #[repr(i32)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)+ }

        impl $name {
            /// Every member, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Every member's word, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word of JSON, WIT, metrics and docs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The member of this number; what newer peers may add is understood as
            #[doc = concat!("`", stringify!($unknown), "`.")]
            #[must_use]
            pub fn from_number(number: i32) -> Self {
                Self::try_from(number).unwrap_or(Self::$unknown)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(word: &str) -> Result<Self, UnknownName> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownName { expected: Self::WORDS }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a word such as {:?}", $name::WORDS[0])
                    }
                    fn visit_str<E>(self, word: &str) -> Result<$name, E> {
                        Ok(word.parse().unwrap_or($name::$unknown))
                    }
                }
                deserializer.deserialize_str(Word)
            }
        }

        /// The JSON word for a protobuf number field.
        #[allow(dead_code, reason = "some sets stand in JSON only")]
        pub(crate) mod $module {
            use super::$name;
            use serde::{Deserialize, Serialize};

            pub(crate) fn serialize<S: serde::Serializer>(
                number: &i32,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                $name::from_number(*number).serialize(serializer)
            }

            pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<i32, D::Error> {
                Ok($name::deserialize(deserializer)? as i32)
            }
        }
    };
}

closed_set! {
    /// What the agent reports about itself.
    Status as status, unknown: Degraded {
        /// All is well.
        Healthy = 0, "healthy";
        /// Working, but below what it should do.
        Degraded = 1, "degraded";
        /// Working at its limit.
        Busy = 2, "busy";
        /// Coming back from a fault.
        Recovering = 3, "recovering";
        /// About to leave: the silence that follows is a graceful stop.
        Stopping = 4, "stopping";
    }
}

closed_set! {
    /// Why the agent sent this heartbeat now.
    Reason as reason, unknown: Scheduled {
        /// The directed interval has passed.
        Scheduled = 0, "scheduled";
        /// The first of an incarnation.
        Start = 1, "start";
        /// A rule of `beat_early` fired.
        Early = 2, "early";
        /// The same heartbeat again, because no answer came.
        Retry = 3, "retry";
    }
}

closed_set! {
    /// What the gateway concluded from silence.
    State as state, unknown: New {
        /// Registered by an operator, never heard.
        New = 0, "new";
        /// Beating.
        Alive = 1, "alive";
        /// Silent past its deadline; nothing is done to it.
        Suspect = 2, "suspect";
        /// Silent for so long that recovery may act.
        Failed = 3, "failed";
        /// Left gracefully.
        Stopped = 4, "stopped";
    }
}

closed_set! {
    /// What a policy judged.
    Health as health, unknown: Degraded {
        /// All is well.
        Healthy = 0, "healthy";
        /// Working, but below what it should do.
        Degraded = 1, "degraded";
        /// Not fit for its work.
        Unhealthy = 2, "unhealthy";
        /// Alive without progress.
        Stalled = 3, "stalled";
    }
}

closed_set! {
    /// What became of a heartbeat that was answered with a directive.
    Outcome as outcome, unknown: Accepted {
        /// New and in order: it renewed the deadline.
        Accepted = 0, "accepted";
        /// Seen before: the same directive again, no deadline moved.
        Duplicate = 1, "duplicate";
        /// Older than the newest one: the current directive, no deadline moved.
        Stale = 2, "stale";
    }
}

closed_set! {
    /// What a command asks of an agent.
    CommandKind as command_kind, unknown: Custom {
        /// Stop and start again as a new incarnation.
        Restart = 0, "restart";
        /// Take no new work.
        Drain = 1, "drain";
        /// Save what would be lost.
        Checkpoint = 2, "checkpoint";
        /// Send every registration field with the next heartbeat.
        ReportFullState = 3, "report_full_state";
        /// A word agreed between agent and operator, in `name`.
        Custom = 4, "custom";
    }
}

closed_set! {
    /// What became of a command.
    AckOutcome as ack_outcome, unknown: Failed {
        /// Carried out.
        Done = 0, "done";
        /// Tried, without success.
        Failed = 1, "failed";
        /// The agent does not know this command.
        Unsupported = 2, "unsupported";
    }
}

closed_set! {
    /// How a second witness may ask an agent for a sign of life.
    ProbeKind as probe_kind, unknown: Tcp {
        /// A connection that is accepted is a sign of life.
        Tcp = 0, "tcp";
        /// An answer below 500 to a GET is a sign of life.
        Http = 1, "http";
    }
}

closed_set! {
    /// Why an incident was opened.
    IncidentKind as incident_kind, unknown: Silence {
        /// The agent has failed: it is silent.
        Silence = 0, "silence";
        /// The agent beats, but has been stalled or unhealthy for several heartbeats.
        Health = 1, "health";
    }
}

closed_set! {
    /// What became of an action of recovery.
    ActionOutcome as action_outcome, unknown: Failed {
        /// It was carried out.
        Done = 0, "done";
        /// It was tried, without success.
        Failed = 1, "failed";
        /// It took longer than its limit.
        TimedOut = 2, "timed_out";
        /// The agent has no live connection that could carry it.
        Unreachable = 3, "unreachable";
        /// No executor of this id is configured.
        Unknown = 4, "unknown";
        /// A newer incarnation of the agent took over before the outcome was known. Only the
        /// machine says this.
        Superseded = 5, "superseded";
    }
}

/// The word of an optional acknowledgement.
pub(crate) mod ack_outcome_option {
    use serde::{Deserialize, Serialize};

    use super::AckOutcome;

    pub(crate) fn serialize<S: serde::Serializer>(
        number: &Option<i32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.map(AckOutcome::from_number).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i32>, D::Error> {
        Ok(Option::<AckOutcome>::deserialize(deserializer)?.map(|outcome| outcome as i32))
    }
}
