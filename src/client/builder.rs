//! How an agent is set up: one line is enough.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_wire::{AgentId, Probe, ProbeKind, Registration, limits};
use tokio::runtime::Handle;

use crate::Error;
use crate::agent::{Agent, Carrier};
use crate::drive::{self, Shared};
use crate::engine::{Engine, Settings};
use crate::link::Connection;

/// Longest time that one attempt takes. Source: half of the shortest suspect grace of the default
/// classes, so that one attempt into nowhere never makes an agent suspect.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// An agent that is not started yet: see [`Agent::builder`].
#[derive(Clone, Debug)]
#[must_use = "an agent beats only once it is started"]
pub struct Builder {
    url: String,
    agent_id: String,
    incarnation: Option<u64>,
    registration: Registration,
    token: Option<String>,
    authorities: Option<PathBuf>,
    attempt_timeout: Duration,
}

impl Builder {
    pub(crate) fn new(url: &str, agent_id: &str) -> Self {
        Self {
            url: url.to_owned(),
            agent_id: agent_id.to_owned(),
            incarnation: None,
            registration: Registration::default(),
            token: None,
            authorities: None,
            attempt_timeout: ATTEMPT_TIMEOUT,
        }
    }

    /// Class of the agent, such as `critical`, `normal` or `background`; default: the gateway's
    /// `normal`. It decides how soon silence is noticed.
    pub fn class(mut self, class: &str) -> Self {
        self.registration.class = Some(class.to_owned());
        self
    }

    /// Adds a label, such as `region` and `eu`; at most 32.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.registration.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a capability: a word for something that the agent can do; at most 32.
    pub fn capability(mut self, word: &str) -> Self {
        self.registration.capabilities.push(word.to_owned());
        self
    }

    /// Where the agent can be reached, as a text for people.
    pub fn endpoint(mut self, endpoint: &str) -> Self {
        self.registration.endpoint = Some(endpoint.to_owned());
        self
    }

    /// Lets the gateway ask for a sign of life with a GET of `path` at this port, at the address
    /// that it sees the agent at; default: it does not ask.
    pub fn probe_http(mut self, port: u16, path: &str) -> Self {
        self.registration.probe = Some(Probe {
            kind: ProbeKind::Http as i32,
            port: u32::from(port),
            path: path.to_owned(),
        });
        self
    }

    /// Number that rises at each start of this agent; default: the start time in Unix
    /// milliseconds. A gateway obeys only the highest.
    pub const fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// Bearer token to authenticate with; default: none.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// PEM file of the certificate authorities to trust for `https`; default: the public ones of
    /// the web (the roots of Mozilla).
    pub fn authorities(mut self, file: impl Into<PathBuf>) -> Self {
        self.authorities = Some(file.into());
        self
    }

    /// Longest time that one attempt may take, connecting included; default 5 s, half of the
    /// shortest suspect grace of the default classes. Longer: patience with a slow network.
    /// Shorter: a lost attempt is noticed sooner.
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Starts to beat: on the tokio runtime that this is called on, otherwise on a thread of its
    /// own. Returns at once; a gateway that is not there yet is no error, the agent keeps trying.
    ///
    /// # Errors
    /// [`Error`], when what was given cannot be used. Nothing has been sent.
    pub fn start(self) -> Result<Agent, Error> {
        self.check()?;
        let link = Connection::new(&self.url, self.authorities.as_deref(), self.token.as_deref())?;
        let settings = Settings {
            agent_id: self.agent_id,
            incarnation: self.incarnation.unwrap_or_else(drive::wall_ms),
            registration: self.registration,
            attempt_timeout: self.attempt_timeout,
            seed: drive::seed(),
        };
        let shared = Arc::new(Shared::new(|now| Engine::new(now, settings)));
        let driving = drive::drive(Arc::clone(&shared), link);
        let carrier = match Handle::try_current() {
            Ok(runtime) => Carrier::task(&runtime, driving),
            Err(_) => Carrier::thread(driving)?,
        };
        Ok(Agent::new(shared, carrier))
    }

    fn check(&self) -> Result<(), Error> {
        let field = |field: &str, detail: String| Error::Field { field: field.to_owned(), detail };
        AgentId::check(&self.agent_id).map_err(|error| field("agent_id", error.to_string()))?;
        if self.incarnation.is_some_and(|number| number == 0 || number > limits::INTEGER) {
            return Err(field("incarnation", "must be from 1 to 2^53 - 1".to_owned()));
        }
        self.registration.validate().map_err(|problem| {
            field(problem.field.as_deref().unwrap_or("registration"), problem.detail)
        })
    }
}
