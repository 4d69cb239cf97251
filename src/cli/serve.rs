//! `pulsegate serve`: the gateway as a process, with the signals that a service gets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_gateway::server::Gateway;
use pulsegate_gateway::telemetry::{Logs, init_logs};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::pulled::{Puller, Said};
use super::{Exit, Failure, Outcome, config, text};

/// Arguments of `pulsegate serve`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Every option of the file can also be given as a variable: \
                        PULSEGATE_CADENCE_MIN_MS sets cadence.min_ms.\n\
                        Signals: SIGHUP reads the file again, SIGTERM and SIGINT answer what is \
                        in flight and end.\n\
                        Example: pulsegate serve --set cadence.dwell_ms=30000")]
pub(super) struct Args {
    /// Configuration in TOML, such as /etc/pulsegate/pulsegate.toml; default: none needed
    #[arg(long, env = "PULSEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address that agents beat to; default 127.0.0.1:8420, port 0 takes any
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Address of the operator's routes where --listen is not on loopback, such as 127.0.0.1:8421
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Directory of the journal; default: $STATE_DIRECTORY, else pulsegate in $XDG_STATE_HOME, else
    /// ~/.local/state/pulsegate
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<PathBuf>,
    /// Remember nothing over a restart: for trying things out
    #[arg(long)]
    ephemeral: bool,
    /// Serve agents outside loopback without TLS or without credentials; default: refused
    #[arg(long)]
    insecure: bool,
    /// Sets any option of the file, such as classes.normal.interval_ms=15000; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn run(args: &Args) -> Outcome {
    let (loaded, said) = args.load();
    let loaded = loaded?;
    let logs = init_logs(&loaded.log).map_err(|error| Failure::new(Exit::Usage, error))?;
    said.iter().for_each(Said::log);
    // The gateway has threads of its own for its listeners; these two are for everything else.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, error))?
        .block_on(serve(args, Arc::new(loaded), &logs))
}

impl Args {
    fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::from_environment(std::env::vars_os());
        for (key, value) in &self.settings {
            overrides = overrides.flag("--set", key, value);
        }
        if let Some(listen) = self.listen {
            overrides = overrides.flag("--listen", "listen", listen.to_string());
        }
        if let Some(listen) = self.admin_listen {
            overrides = overrides.flag("--admin-listen", "admin_listen", listen.to_string());
        }
        if let Some(data) = &self.data {
            // Relative to where the command was given, and not to the file.
            let data = std::path::absolute(data).unwrap_or_else(|_| data.clone());
            overrides = overrides.flag("--data", "journal.data_dir", data.to_string_lossy());
        }
        if self.ephemeral {
            overrides = overrides.flag("--ephemeral", "journal.ephemeral", "true");
        }
        if self.insecure {
            overrides = overrides.flag("--insecure", "insecure", "true");
        }
        overrides
    }

    /// Reads the configuration with its policies; and what there is to log about these.
    fn load(&self) -> (Result<Config, Failure>, Vec<Said>) {
        let puller = Puller::default();
        let config = Config::load_with(self.config.as_deref(), &self.overrides(), &puller)
            .map_err(|error| Failure::new(Exit::Usage, config::problems(&error)))
            .and_then(|mut config| {
                if config.journal.data_dir.is_none() && !config.journal.ephemeral {
                    config.journal.data_dir = Some(data_directory()?);
                }
                Ok(config)
            });
        (config, puller.into_said())
    }

    /// The same on a thread of its own: policies may be pulled, which takes as long as it takes,
    /// and meanwhile signals are answered. Whoever shuts down does not wait for it.
    fn load_aside(&self) -> oneshot::Receiver<(Result<Config, Failure>, Vec<Said>)> {
        let (sender, receiver) = oneshot::channel();
        let args = self.clone();
        let load = move || {
            // Nobody waits any more when the gateway shuts down meanwhile.
            let _ = sender.send(args.load());
        };
        if let Err(error) = std::thread::Builder::new().name("reload".to_owned()).spawn(load) {
            tracing::warn!(%error, "no thread could be started to read the configuration");
        }
        receiver
    }
}

/// Where the state of a service belongs when nothing is said: systemd tells its services; others
/// follow the XDG base directories.
pub(super) fn data_directory() -> Result<PathBuf, Failure> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("pulsegate")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/pulsegate")))
        .ok_or_else(|| {
            let message = "nothing says where to keep the journal: give --data DIR, or \
                           --ephemeral to remember nothing";
            Failure::new(Exit::Usage, message)
        })
}

async fn serve(args: &Args, config: Arc<Config>, logs: &Logs) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Unavailable, error);
    let mut hang_up = signal(SignalKind::hangup()).map_err(|error| failed(&error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
    let gateway = Gateway::start(config).map_err(|error| Failure::from(&error))?;
    text::print(&addresses(&gateway));
    let mut loading = None;
    // Asked for while the file was being read: what was read may be the file before.
    let mut again = false;
    loop {
        tokio::select! {
            _ = hang_up.recv() => match loading {
                None => loading = Some(args.load_aside()),
                Some(_) => again = true,
            },
            loaded = read(&mut loading), if loading.is_some() => {
                loading = std::mem::take(&mut again).then(|| args.load_aside());
                if let Some((loaded, said)) = loaded {
                    said.iter().for_each(Said::log);
                    reload(loaded, &gateway, logs);
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("shutting down: answering what is in flight");
    let grace = Duration::from_millis(gateway.config().limits.shutdown_ms.into());
    gateway.shutdown(grace).await;
    Ok(())
}

/// What is being read, once it is; `None` where no thread could read it.
async fn read<T>(loading: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match loading {
        Some(receiver) => receiver.await.ok(),
        None => None,
    }
}

/// Takes a configuration that was read again; one that is wrong changes nothing.
fn reload(loaded: Result<Config, Failure>, gateway: &Gateway, logs: &Logs) {
    let reloaded = loaded
        .and_then(|new| gateway.reload(&new).map_err(|error| Failure::from(&error)).map(|_| ()));
    match reloaded {
        Ok(()) => {
            if let Err(error) = logs.set_level(gateway.config().log.level) {
                tracing::warn!(%error, "the level of the log stays as it was");
            }
        }
        Err(failure) => gateway.telemetry().reload_refused(&failure.message),
    }
}

fn addresses(gateway: &Gateway) -> String {
    let addresses = gateway.addresses();
    let scheme = if addresses.tls { "https" } else { "http" };
    let agents = format!("{scheme}://{}", addresses.agents);
    let mut text = format!("pulsegate serves\n  agents   {agents}/v1/heartbeats\n");
    if let Some(quic) = addresses.quic {
        text.push_str(&format!("  quic     {quic}, HTTP/3 and {}\n", pulsegate_wire::ALPN));
    }
    let journal = gateway.config().journal.clone();
    match journal.data_dir.filter(|_| !journal.ephemeral) {
        Some(data) => text.push_str(&format!("  journal  {}\n", data.display())),
        None => text.push_str("  journal  none: a restart forgets every agent\n"),
    }
    if let Some(admin) = addresses.admin {
        let operators = if admin == addresses.agents { agents } else { format!("http://{admin}") };
        text.push_str(&format!(
            "  fleet    {operators}/v1/agents\n  health   {operators}/health/agents\n  metrics  \
             {operators}/metrics\n"
        ));
    }
    text
}
