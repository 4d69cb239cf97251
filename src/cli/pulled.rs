//! The policies of a configuration that are in registries: brought, or only looked for.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pulsegate_gateway::config::{Brought, Fetch, Wanted};
use pulsegate_registry::{
    CREDENTIALS_BYTES, Client, Credentials, Fetcher, Keys, Options, Pinned, Store,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::serve;

/// Policies that are pulled at once. Source: chosen; four of the largest are 256 MiB.
const AT_ONCE: usize = 4;
/// Directory of the store within that of the journal.
const STORE: &str = "pulled";

/// Brings policies, and remembers what there is to say about it until there is a log.
#[derive(Default)]
pub(super) struct Puller {
    said: RefCell<Vec<Said>>,
}

/// What is to be logged.
pub(super) enum Said {
    /// A policy is there.
    Loaded { policy: String, origin: String, is_signed: bool },
    /// A policy is there, and something is not as it should be.
    Odd(String),
}

/// Looks what is kept, and asks no registry.
#[derive(Default)]
pub(super) struct Looker {
    lines: RefCell<Vec<String>>,
}

impl Puller {
    /// What there is to say, for the log.
    pub(super) fn into_said(self) -> Vec<Said> {
        self.said.into_inner()
    }
}

impl Said {
    /// Logs it.
    pub(super) fn log(&self) {
        match self {
            Self::Loaded { policy, origin, is_signed: true } => {
                tracing::info!(%policy, %origin, "a policy of a registry is there");
            }
            Self::Loaded { policy, origin, is_signed: false } => tracing::info!(
                %policy, %origin,
                "a policy of a registry is there; its signature is not checked, as \
                 policy_trust.public_key_file is not set"
            ),
            Self::Odd(what) => tracing::warn!(what, "the store of policies is not as it should be"),
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loaded { policy, origin, .. } => write!(f, "{policy}: {origin}"),
            Self::Odd(what) => write!(f, "odd: {what}"),
        }
    }
}

impl Looker {
    /// A line for each policy.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into_inner()
    }
}

impl Fetch for Puller {
    fn fetch(&self, wanted: &Wanted<'_>) -> Vec<Result<Brought, String>> {
        let open = open(wanted, |path, most_bytes| {
            Store::open(path, most_bytes).unwrap_or_else(|error| {
                // What is there may be read all the same; a policy that is pulled is not kept.
                self.said.borrow_mut().push(Said::Odd(error.chain()));
                Store::peek(path)
            })
        });
        let brought = open.and_then(|fetcher| bring(fetcher, wanted));
        let brought = match brought {
            Ok(brought) => brought,
            Err(why) => return wanted.policies.iter().map(|_| Err(why.clone())).collect(),
        };
        let mut said = self.said.borrow_mut();
        let each = wanted.policies.iter().zip(brought);
        each.map(|((policy, pinned), fetched)| {
            let fetched = fetched?;
            said.extend(fetched.notes.into_iter().map(Said::Odd));
            let place = if fetched.was_kept { "kept" } else { "pulled" };
            let signature = match wanted.keys {
                Some(keys) => format!("signed by a key in {}", keys.file()),
                None => "signature not checked".to_owned(),
            };
            let origin = format!("{pinned} ({place}, {signature})");
            said.push(Said::Loaded {
                policy: policy.clone(),
                origin: origin.clone(),
                is_signed: fetched.is_signed,
            });
            Ok(Brought { bytes: Arc::from(&fetched.component[..]), origin })
        })
        .collect()
    }
}

impl Fetch for Looker {
    fn fetch(&self, wanted: &Wanted<'_>) -> Vec<Result<Brought, String>> {
        let fetcher = match open(wanted, |path, _| Store::peek(path)) {
            Ok(fetcher) => fetcher,
            Err(why) => return wanted.policies.iter().map(|_| Err(why.clone())).collect(),
        };
        let mut lines = self.lines.borrow_mut();
        let each = wanted.policies.iter();
        each.map(|(policy, pinned)| {
            let looked = fetcher.look(pinned, wanted.keys);
            let host = pinned.reference().authority();
            let component = match &looked.component {
                Some(component) => format!("kept, {} bytes", component.len()),
                None => format!("would be pulled from {host}"),
            };
            let signature = match wanted.keys {
                Some(_) if looked.is_signed => "its signature is kept and good".to_owned(),
                Some(_) => format!("its signature would be pulled from {host}"),
                None => "its signature would not be checked".to_owned(),
            };
            lines.push(format!("{policy}: {pinned}: {component}; {signature}"));
            let bytes = looked.component.map(|bytes| Arc::from(&bytes[..]));
            Ok(Brought { bytes: bytes.unwrap_or_default(), origin: pinned.to_string() })
        })
        .collect()
    }
}

/// Everything at once, a few at a time, on a thread and a runtime of its own: whoever reads a
/// configuration may be within a runtime already.
fn bring(
    fetcher: Fetcher,
    wanted: &Wanted<'_>,
) -> Result<Vec<Result<pulsegate_registry::Fetched, String>>, String> {
    let failed = |error: std::io::Error| format!("no thread could be started to pull it: {error}");
    let keys = wanted.keys.cloned();
    let pinned: Vec<Pinned> = wanted.policies.iter().map(|(_, pinned)| pinned.clone()).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name("registry".to_owned())
        .spawn(move || {
            let brought = runtime.block_on(bring_all(Arc::new(fetcher), keys, pinned));
            // A name server that does not answer holds a thread longer than any limit of ours.
            runtime.shutdown_background();
            brought
        })
        .map_err(failed)?;
    thread.join().map_err(|_| "pulling it ended in a panic".to_owned())
}

async fn bring_all(
    fetcher: Arc<Fetcher>,
    keys: Option<Keys>,
    pinned: Vec<Pinned>,
) -> Vec<Result<pulsegate_registry::Fetched, String>> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let all = Arc::new(pinned);
    let mut tasks = JoinSet::new();
    for index in 0..all.len() {
        let (fetcher, keys, all) = (fetcher.clone(), keys.clone(), all.clone());
        let permits = permits.clone();
        tasks.spawn(async move {
            // Nobody closes the semaphore: a task waits for its turn and has it.
            let _turn = permits.acquire().await;
            let fetched = fetcher.fetch(&all[index], keys.as_ref(), &all).await;
            (index, fetched.map_err(|error| error.chain()))
        });
    }
    let mut done = tasks.join_all().await;
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, fetched)| fetched).collect()
}

/// A client and, where it has a place, a store.
fn open(wanted: &Wanted<'_>, store: impl FnOnce(&Path, u64) -> Store) -> Result<Fetcher, String> {
    let options = wanted.options;
    let client = Client::new(Options {
        ca_file: options.ca_file.clone(),
        plain_http: options.plain_http.clone(),
        timeout: Duration::from_millis(options.timeout_ms.into()),
        credentials: credentials(options.credentials_file.as_deref())?,
    })
    .map_err(|error| error.chain())?;
    let store = store_directory(wanted).map(|path| store(&path, options.store_bytes));
    Ok(Fetcher::new(client, store))
}

fn store_directory(wanted: &Wanted<'_>) -> Option<PathBuf> {
    if let Some(directory) = &wanted.options.store_dir {
        return Some(directory.clone());
    }
    if wanted.ephemeral {
        return None;
    }
    let data = wanted.data_dir.map(Path::to_owned);
    data.or_else(|| serve::data_directory().ok()).map(|data| data.join(STORE))
}

/// Who asks registries: what a file says, else Docker's own where there is one, and what the
/// environment says of one registry.
pub(super) fn credentials(file: Option<&Path>) -> Result<Credentials, String> {
    let known = match file {
        Some(file) => read(file)?,
        None => match docker_config().filter(|file| file.exists()) {
            Some(file) => read(&file)?,
            None => Credentials::default(),
        },
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["HOST", "USERNAME", "PASSWORD"].map(|name| format!("PULSEGATE_REGISTRY_{name}"));
    let [host, user, password] = names.each_ref().map(|name| variable(name));
    match (host, user, password) {
        (None, None, None) => Ok(known),
        (Some(host), Some(user), Some(password)) => Ok(known.with(&host, &user, &password)),
        _ => Err(format!("{}, {} and {} belong together", names[0], names[1], names[2])),
    }
}

fn docker_config() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let directory = variable("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")));
    Some(directory?.join("config.json"))
}

fn read(path: &Path) -> Result<Credentials, String> {
    let unread = |error: std::io::Error| {
        format!("the credentials in {} cannot be read: {error}", path.display())
    };
    let mut json = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(CREDENTIALS_BYTES).read_to_end(&mut json).map_err(unread)?;
    Credentials::from_docker_config(&json)
        .map_err(|error| format!("{}: {}", path.display(), error.chain()))
}
