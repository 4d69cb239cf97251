//! What a driver is: something that sends a heartbeat and tells what came back.

use prost::Message as _;
use pulsegate_wire::{Code, Directive, Heartbeat, Problem, Push};

/// How a heartbeat is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Protobuf,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Directive(Box<Directive>),
    Problem(Box<Problem>),
    /// The gateway ended the connection with this code.
    Closed(Code),
    /// Nothing came back, and nothing will.
    Nothing,
    /// The transport does not carry that many bytes.
    Unsent,
}

/// One client of a transport.
pub trait Client {
    /// Sends bytes where a heartbeat should stand, and waits for what comes back. A client whose
    /// connection was ended before opens another one.
    fn send(&mut self, body: &[u8]) -> Reply;

    /// The same under another content type, where there is such a thing.
    fn send_as(&mut self, content_type: &str, _body: &[u8]) -> Reply {
        panic!("this transport knows no {content_type:?}");
    }

    /// What the gateway sent without being asked, since the last look; `wait` until there is
    /// something.
    fn pushes(&mut self, wait: bool) -> Vec<Push> {
        assert!(!wait, "this transport knows no pushes");
        Vec::new()
    }
}

impl Form {
    pub fn encode(self, heartbeat: &Heartbeat) -> Vec<u8> {
        match self {
            Self::Json => serde_json::to_vec(heartbeat).expect("JSON"),
            Self::Protobuf => heartbeat.encode_to_vec(),
        }
    }

    /// Of two bodies that mean the same, the one in this form.
    pub fn of<T>(self, json: T, protobuf: T) -> T {
        match self {
            Self::Json => json,
            Self::Protobuf => protobuf,
        }
    }

    pub fn content_type(self) -> &'static str {
        self.of("application/json", "application/x-protobuf")
    }
}

impl Reply {
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => problem.code(),
            Self::Closed(code) => Some(*code),
            Self::Directive(_) | Self::Nothing | Self::Unsent => None,
        }
    }

    pub fn directive(self) -> Directive {
        match self {
            Self::Directive(directive) => *directive,
            other => panic!("no directive: {other:?}"),
        }
    }

    pub fn problem(self) -> Problem {
        match self {
            Self::Problem(problem) => *problem,
            other => panic!("no problem: {other:?}"),
        }
    }
}
