//! `pulsegate demo`: a gateway in this process, a fleet of real agents in processes of their own,
//! and chance that makes them surge, crash, hang, stall and leave.
//!
//! ```text
//! scenario → supervisor → agents (processes) → gateway → events ─┐
//!                 ↑                                │             ├→ stage → tally → summary
//!                 └── control ← demo-restart ← exec ┘   reports ─┘      └→ view
//! ```

mod agent;
mod chance;
mod config;
mod control;
mod fleet;
mod scenario;
mod stage;
mod summary;
mod supervisor;
mod tally;
mod view;
mod workload;

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_core::Event;
use pulsegate_gateway::server::Gateway;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};

use super::{Exit, Failure, Outcome, text};
pub(super) use agent::{AgentArgs, run as run_agent};
use config::Speed;
pub(super) use control::{RestartArgs, run as run_restart};
use fleet::{Fleet, Phase};
use scenario::Scenario;
use stage::Stage;
use summary::{Policies, Summary};
use supervisor::{News, Supervisor};
use view::Screen;

/// Longest wait for the whole fleet before the scenario begins.
const GATHER: Duration = Duration::from_secs(20);
/// Pause between looks at what is due, and between frames of the view.
const TICK: Duration = Duration::from_millis(100);
/// Reports and wishes that wait to be looked at.
const QUEUE: usize = 4_096;

/// Arguments of `pulsegate demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Every agent is a process of its own that beats over loopback; what falls \
                        is restarted by the gateway's own recovery.\n\
                        Example: pulsegate demo --agents 50 --seconds 60 --json")]
pub(super) struct Args {
    /// Agents in the fleet, 1 to 1000
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    agents: u32,
    /// Ends after this many seconds of scenario, such as 60; default: on Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Divides every time of the gateway, 1 to 10; 1 is real life
    #[arg(long, default_value_t = 10.0, value_parser = speed)]
    speed: f64,
    /// Number that the scenario is drawn from, such as 7; default: another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Address of the gateway; port 0 takes any
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Print one JSON object at the end, and nothing else
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "must be a number")?;
    if (1.0..=10.0).contains(&speed) { Ok(speed) } else { Err("must be from 1 to 10".to_owned()) }
}

pub(super) fn run(args: &Args) -> Outcome {
    raise_file_limit();
    // Agents die with the thread that started them: that is this one, which drives the demo.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, error))?
        .block_on(play(args))
}

/// Each agent takes two pipes and a connection.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Without it, a large fleet fails with a message of its own.
    let _raised = setrlimit(Resource::Nofile, raised);
}

async fn play(args: &Args) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Unavailable, error);
    let speed = Speed(args.speed);
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| failed(&e))?;
    let control_address = control.local_addr().map_err(|e| failed(&e))?;
    let program = std::env::current_exe().map_err(|e| failed(&e))?;
    let restart = [
        program.display().to_string(),
        "demo-restart".to_owned(),
        "--control".to_owned(),
        control_address.to_string(),
    ];
    let agents = args.agents as usize;
    let config = Arc::new(config::build(speed, agents, args.listen, &restart)?);
    let gateway = Gateway::start(Arc::clone(&config)).map_err(|error| Failure::from(&error))?;
    let (news_sender, news) = mpsc::channel(QUEUE);
    let (wish_sender, wishes) = mpsc::channel(QUEUE);
    tokio::spawn(control::serve(control, wish_sender));
    let now = Instant::now();
    let mut supervisor = Supervisor::new(program, agents, (speed.0, seed), news_sender);
    let url = format!("http://{}", gateway.addresses().agents);
    supervisor.beat_to(url.clone());
    let stage = Stage::new(speed, config.classes.clone(), Fleet::new(agents, now), supervisor, now);
    let head = head(args, speed, seed, &url);
    let output = Output::new(args.json, &head, now);
    let inputs = Inputs { events: gateway.subscribe(), news, wishes };
    let mut show = Show { stage, inputs, output, head };
    let played = show.play(args, seed).await;
    let policies = policies(&url).await;
    show.stage.account_all(Instant::now());
    let summary = Summary::new(&show.stage, seed, policies, Instant::now());
    show.stage.supervisor.end().await;
    drop(show);
    gateway.shutdown(Duration::from_secs(1)).await;
    played?;
    if args.json {
        text::print_json(&summary);
    } else {
        text::print(&summary.words());
    }
    Ok(())
}

fn head(args: &Args, speed: Speed, seed: u64, url: &str) -> String {
    let end = match args.seconds {
        Some(seconds) => format!("for {seconds} s"),
        None => "until Ctrl-C".to_owned(),
    };
    format!(
        "pulsegate demo: {} agents {end}, seed {seed}\n{}\nopen  {url}/v1/agents   \
         {url}/health/agents   {url}/metrics\n",
        args.agents,
        speed.sentence()
    )
}

/// Where happenings go.
enum Output {
    Screen(Screen),
    /// Lines as they happen; how many were printed.
    Lines(u64),
    Nothing,
}

impl Output {
    fn new(json: bool, head: &str, now: Instant) -> Self {
        if json {
            Self::Nothing
        } else if std::io::stdout().is_terminal() {
            Self::Screen(Screen::open(now))
        } else {
            text::print(&format!("{head}\n"));
            Self::Lines(0)
        }
    }

    fn show(&mut self, stage: &Stage, head: &str) {
        match self {
            Self::Nothing => {}
            Self::Screen(screen) => screen.draw(stage, head, Instant::now()),
            Self::Lines(printed) => {
                let new = (stage.written - *printed).min(stage.lines.len() as u64) as usize;
                *printed = stage.written;
                for line in stage.lines.iter().skip(stage.lines.len() - new) {
                    text::print(&format!("{line}\n"));
                }
            }
        }
    }
}

struct Inputs {
    events: broadcast::Receiver<Arc<Event>>,
    news: mpsc::Receiver<News>,
    wishes: mpsc::Receiver<control::Restart>,
}

struct Show {
    stage: Stage,
    inputs: Inputs,
    output: Output,
    head: String,
}

impl Show {
    /// Plays the scenario to its end.
    async fn play(&mut self, args: &Args, seed: u64) -> Outcome {
        let failed = |error: std::io::Error| Failure::new(Exit::Unavailable, error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut waiting = self.stage.fleet.members.len();
        let mut scenario = Scenario::new(seed, waiting);
        let mut began: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                event = self.inputs.events.recv() => self.handle_event(event),
                Some(news) = self.inputs.news.recv() => self.stage.handle_news(news).await,
                Some(wish) = self.inputs.wishes.recv() => self.stage.handle_restart(wish).await,
                _ = ticks.tick() => {
                    let now = Instant::now();
                    self.stage.handle_tick(now).await;
                    waiting = self.gather(waiting).await.map_err(failed)?;
                    let ready = self.stage.fleet.count(&[Phase::Starting]) == 0;
                    let waited = now.duration_since(self.stage.started) > GATHER;
                    if began.is_none() && (ready || waited) {
                        self.stage.begin(now);
                        began = Some(now);
                    }
                    let Some(elapsed) = began.map(|began| now.duration_since(began)) else {
                        self.output.show(&self.stage, &self.head);
                        continue;
                    };
                    if args.seconds.is_some_and(|seconds| elapsed.as_secs() >= seconds) {
                        return Ok(());
                    }
                    while scenario.next_at() <= elapsed {
                        let (happening, number) = scenario.draw();
                        if !self.stage.handle_happening(happening, number).await {
                            scenario.postpone(happening);
                        }
                    }
                    self.output.show(&self.stage, &self.head);
                }
            }
        }
    }

    /// Starts some more of the agents that wait for their first process; returns how many do.
    async fn gather(&mut self, waiting: usize) -> std::io::Result<usize> {
        let some = waiting.min(20);
        let next = self.stage.fleet.members.len() - waiting;
        for index in next..next + some {
            self.stage.start(index).await?;
        }
        Ok(waiting - some)
    }

    fn handle_event(&mut self, event: Result<Arc<Event>, broadcast::error::RecvError>) {
        match event {
            Ok(event) => self.stage.handle_event(&event),
            Err(broadcast::error::RecvError::Lagged(lost)) => self.stage.tally.events_lost += lost,
            // The gateway lives as long as the show.
            Err(broadcast::error::RecvError::Closed) => {}
        }
    }
}

/// What the gateway's own metrics say of its policies.
async fn policies(url: &str) -> Policies {
    let scrape = async {
        let mut connection = pulsegate_client::Connection::new(url, None, None).ok()?;
        let request = connection.request(http::Method::GET, "/metrics", bytes::Bytes::new());
        let response = tokio::time::timeout(Duration::from_secs(5), request).await.ok()?.ok()?;
        String::from_utf8(response.into_body().to_vec()).ok()
    };
    let text = scrape.await.unwrap_or_default();
    Policies {
        calls: sum(&text, "pulsegate_policy_calls_total"),
        faults: sum(&text, "pulsegate_policy_faults_total"),
    }
}

/// Adds up a counter over its labels.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let ours = samples.filter(|rest| rest.starts_with(['{', ' ']));
    let values = ours.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn a_counter_is_added_up_over_its_labels_and_no_other() {
        let metrics =
            "# HELP calls x\ncalls{policy=\"a b\"} 3\ncalls{policy=\"c\"} 4\ncalls_more 9\n";
        assert_eq!(sum(metrics, "calls"), 7);
    }
}
