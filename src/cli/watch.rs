//! `pulsegate watch`: what happens, a line each, across restarts of the gateway.

use std::io::Write as _;
use std::time::Duration;

use pulsegate_wire::view::WatchPage;
use pulsegate_wire::{Event, EventKind, Health, State};

use super::operator::{Asked, Gateway, escape};
use super::{Exit, Failure, Outcome, block_on, text};

/// How long one question waits at the gateway, in seconds; and how long until it is given up.
const WAIT_S: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a gateway that does not answer is asked again. Source: chosen; a restart takes
/// about as long.
const AGAIN: Duration = Duration::from_secs(1);

/// Arguments of `pulsegate watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate watch --kind suspected --kind failed --json\n\
                        A `reset` says that events are missing: look at `pulsegate agents` anew.")]
pub(super) struct Args {
    #[command(flatten)]
    gateway: Gateway,
    /// Only events of this kind, such as failed; may be repeated; default: all
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only events after which the agent is in this state; default: all
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(State::WORDS))]
    state: Option<String>,
    /// Only events of this class; default: all
    #[arg(long)]
    class: Option<String>,
    /// Only events of agents with this label, such as region=eu; default: all
    #[arg(long, value_name = "NAME=VALUE")]
    label: Option<String>,
    /// Only events of this agent; default: all
    #[arg(long)]
    agent: Option<String>,
    /// Only events of this tenant; default: all
    #[arg(long)]
    tenant: Option<String>,
    /// Begin after this event, such as 3-1042; 0-0 for everything that is kept; default: now
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// Print each event as JSON on a line of its own
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    block_on(async {
        let mut gateway = args.gateway.connect()?;
        // The first question must be answered: a wrong address or filter is said at once.
        let first = args.path(args.since.as_deref(), 0)?;
        let mut cursor = match args.ask(&mut gateway, &first).await? {
            Answer::Page(page) => {
                if !args.show(&page.events) {
                    return Ok(());
                }
                page.next
            }
            Answer::Reset(now) => now,
        };
        loop {
            let path = args.path(Some(&cursor), WAIT_S)?;
            match args.ask(&mut gateway, &path).await {
                Ok(Answer::Page(page)) => {
                    cursor = page.next;
                    if !args.show(&page.events) {
                        return Ok(());
                    }
                }
                Ok(Answer::Reset(now)) => cursor = now,
                Err(failure) if failure.exit == Exit::Unavailable => {
                    eprintln!("pulsegate: {}; asking again", failure.message);
                    tokio::time::sleep(AGAIN).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    })
}

/// What a question was answered with.
enum Answer {
    Page(WatchPage),
    /// Events are missing; it goes on from here.
    Reset(String),
}

impl Args {
    fn path(&self, since: Option<&str>, wait_s: u64) -> Result<String, Failure> {
        let mut path = format!("/v1/watch?wait={wait_s}");
        let mut add = |name: &str, value: &str| {
            path.push_str(&format!("&{name}={}", escape(value)));
        };
        since.into_iter().for_each(|since| add("since", since));
        self.kind.iter().for_each(|kind| add("kind", kind));
        let plain = [
            ("state", &self.state),
            ("class", &self.class),
            ("agent", &self.agent),
            ("tenant", &self.tenant),
        ];
        for (name, value) in plain {
            value.iter().for_each(|value| add(name, value));
        }
        if let Some(label) = &self.label {
            let (name, value) = label.split_once('=').ok_or_else(|| {
                Failure::new(Exit::Usage, "--label must be NAME=VALUE, such as region=eu")
            })?;
            add("label", &format!("{name}:{value}"));
        }
        Ok(path)
    }

    async fn ask(&self, gateway: &mut Asked, path: &str) -> Result<Answer, Failure> {
        let (status, body) = gateway.ask(path, PATIENCE).await?;
        if status != http::StatusCode::GONE {
            return gateway
                .accept(status, &body)
                .and_then(|()| gateway.parse(&body))
                .map(Answer::Page);
        }
        // What is gone cannot be shown; what comes from now on can.
        let (status, body) = gateway.ask("/v1/watch?wait=0", PATIENCE).await?;
        gateway.accept(status, &body)?;
        let page: WatchPage = gateway.parse(&body)?;
        let line = if self.json {
            format!("{{\"kind\":\"reset\",\"next\":\"{}\"}}\n", page.next)
        } else {
            format!("reset: events are missing; it goes on from {}\n", page.next)
        };
        print(&line);
        Ok(Answer::Reset(page.next))
    }

    /// Shows events; `false` when nobody reads any more.
    fn show(&self, events: &[Event]) -> bool {
        events.iter().all(|event| {
            let line = if self.json {
                serde_json::to_string(event).unwrap_or_default()
            } else {
                describe(event)
            };
            print(&format!("{line}\n"))
        })
    }
}

fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// An event as a line: when, what, whose, and the rest.
fn describe(event: &Event) -> String {
    let seconds = event.wall_ms / 1_000;
    let time = format!(
        "{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        event.wall_ms % 1_000
    );
    let kind = event.kind.as_ref().map_or("unknown", EventKind::as_str);
    let name = match event.tenant.as_str() {
        "" | "default" => event.agent_id.clone(),
        tenant => format!("{tenant}/{}", event.agent_id),
    };
    let line = format!("{time}  {kind:<16}  {name:<24}  {}", details(event));
    line.trim_end().to_owned()
}

fn details(event: &Event) -> String {
    let duration = |ms: u32| text::duration(ms.into());
    match &event.kind {
        Some(EventKind::Suspected(silent) | EventKind::Failed(silent)) => format!(
            "silent for {}, {} missing{}",
            text::duration(event.at_ms.saturating_sub(silent.last_receipt_ms)),
            silent.missed,
            if silent.undurable { ", not acted upon: the journal cannot be written" } else { "" }
        ),
        Some(EventKind::Recovered(back)) => {
            let from = State::from_number(back.from);
            format!("was {from}, silent for {}", text::duration(back.silent_ms))
        }
        Some(EventKind::HealthChanged(change)) => {
            format!("{} → {}", Health::from_number(change.from), Health::from_number(change.to))
        }
        Some(EventKind::CadenceMoved(moved)) => {
            format!("{} → {}", duration(moved.from_ms), duration(moved.to_ms))
        }
        Some(EventKind::InForce(change)) => {
            let now = event.standing.map_or(0, |standing| standing.in_force_ms);
            format!("{} → {} in force", duration(change.from_ms), duration(now))
        }
        Some(EventKind::Forgotten(forgotten)) => {
            format!("was {}", State::from_number(forgotten.from))
        }
        Some(EventKind::ActionStarted(action)) => action.executor.clone(),
        Some(EventKind::ActionEnded(action)) => {
            let outcome = pulsegate_wire::ActionOutcome::from_number(action.outcome);
            format!("{} {outcome}", action.executor)
        }
        Some(EventKind::CommandQueued(queued)) => {
            queued.command.as_ref().map_or_else(String::new, |command| command.id.clone())
        }
        Some(EventKind::CommandEnded(ended)) => ended.id.clone(),
        Some(EventKind::IncidentClosed(closed)) => {
            let how = if closed.recovered { "recovered" } else { "not recovered" };
            format!("{how} after {}", text::duration(closed.lasted_ms))
        }
        Some(EventKind::LeaseGranted(lease)) => {
            format!("{} to {}, token {}", lease.name, lease.holder, lease.token)
        }
        Some(EventKind::LeaseEnded(lease)) => {
            format!("{} of {}: {}", lease.name, lease.holder, lease.reason)
        }
        Some(EventKind::GatewayStarted(started)) => {
            let down = text::duration(started.down_ms);
            format!("version {}, {} agents, down for {down}", started.version, started.agents)
        }
        Some(EventKind::ReadOnly(span)) => {
            format!("{} for {}", span.reason, text::duration(span.lasted_ms))
        }
        Some(EventKind::TimeHeld(span)) => text::duration(span.lasted_ms),
        Some(EventKind::PoliciesChanged(changed)) => changed.policies.join(", "),
        Some(EventKind::PolicyTripped(tripped)) => {
            let how = match tripped.returned_to.as_str() {
                "" if tripped.open => "answered by the built-in one".to_owned(),
                "" => "in use again".to_owned(),
                "none" => "taken back".to_owned(),
                to => format!("taken back; {to} is obeyed"),
            };
            let at = if tripped.revision.is_empty() { "" } else { "@" };
            format!("{}{at}{}: {how}", tripped.policy, tripped.revision)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use pulsegate_wire::event::Silent;

    use super::*;

    #[test]
    fn an_event_is_a_line_for_people() {
        let silent = Silent { last_receipt_ms: 1_000, missed: 3, ..Silent::default() };
        let event = Event {
            at_ms: 91_000,
            wall_ms: 1_795_392_001_250,
            tenant: "default".into(),
            agent_id: "worker-7".into(),
            kind: Some(EventKind::Failed(silent)),
            ..Event::default()
        };
        let line = describe(&event);
        assert!(
            line.ends_with(
                "failed            worker-7                  silent for 90 s, 3 missing"
            ),
            "{line}"
        );
        assert!(line.starts_with("00:00:01.250Z"), "{line}");
    }
}
