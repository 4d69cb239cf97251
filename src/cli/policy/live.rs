//! `pulsegate policy list, show, put, mode, canary, rollback, delete`: rolling out a policy on a
//! running gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::Method;
use pulsegate_wire::view::{
    PolicyCanary, PolicyMode, PolicyPage, PolicyView, RevisionView, TrialView,
};

use super::operator::{Asked, Gateway, escape};
use super::{Exit, Failure, Outcome, block_on, text};

/// What to do with the policies of a running gateway.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the policies of a gateway, and what is enforced and on trial.
    List(ListArgs),
    /// Show a policy with its revisions and what became of them.
    Show(OneArgs),
    /// Upload a revision: into shadow, where nothing else is said.
    #[command(after_help = "Example: pulsegate policy put busy-bees busy-bees.wasm --canary 5")]
    Put(PutArgs),
    /// Enforce a revision for all of its agents, or put it into shadow.
    Mode(ModeArgs),
    /// Let what is on trial pace a share of the agents.
    #[command(after_help = "Example: pulsegate policy canary busy-bees --percent 25")]
    Canary(CanaryArgs),
    /// End what is on trial; without a trial, enforce what was enforced before.
    Rollback(OneArgs),
    /// Forget all uploads: what the configuration says is enforced again.
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON: {"policies": […]}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// Name of the policy, as routes call it
    name: String,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// Name of the policy, as routes call it
    name: String,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("how"))]
pub(super) struct PutArgs {
    /// Name of the policy, as routes call it
    name: String,
    /// The component, such as busy-bees.wasm
    file: PathBuf,
    /// Enforce it at once for all of its agents
    #[arg(long, group = "how")]
    enforce: bool,
    /// Enforce it for this share of the agents: 0.01 to 100
    #[arg(long, group = "how", value_name = "PERCENT")]
    canary: Option<f64>,
    /// Enforce it for agents with this label; may be repeated, then all are needed
    #[arg(long, group = "how", value_name = "KEY:VALUE")]
    canary_label: Vec<String>,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a policy can be.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mode {
    /// Obeyed for all of its agents.
    Enforce,
    /// Compared with what is obeyed, and never obeyed itself.
    Shadow,
}

#[derive(Debug, clap::Args)]
pub(super) struct ModeArgs {
    /// Name of the policy, as routes call it
    name: String,
    /// What it shall be
    mode: Mode,
    /// Revision: configured, or the first digits of a digest; default: what is on trial, else what
    /// is enforced
    #[arg(long)]
    revision: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("share").required(true))]
pub(super) struct CanaryArgs {
    /// Name of the policy, as routes call it
    name: String,
    /// Share of the agents: 0.01 to 100
    #[arg(long, group = "share")]
    percent: Option<f64>,
    /// Agents with this label; may be repeated, then all are needed
    #[arg(long, group = "share", value_name = "KEY:VALUE")]
    label: Vec<String>,
    /// Revision: configured, or the first digits of a digest; default: what is on trial
    #[arg(long)]
    revision: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Outcome {
    block_on(async {
        match command {
            Command::List(args) => args.run().await,
            Command::Show(args) => {
                let mut gateway = args.gateway.connect()?;
                let view = gateway.get_json(&path(&args.name, "")).await?;
                tell(&view, args.json);
                Ok(())
            }
            Command::Put(args) => args.run().await,
            Command::Mode(args) => args.run().await,
            Command::Canary(args) => args.run().await,
            Command::Rollback(args) => {
                let mut gateway = args.gateway.connect()?;
                let body = Vec::new();
                change(&mut gateway, &path(&args.name, "/rollback"), body, args.json).await
            }
            Command::Delete(args) => {
                let mut gateway = args.gateway.connect()?;
                gateway.request(Method::DELETE, &path(&args.name, ""), Vec::new()).await?;
                text::print(&format!("{}: uploads forgotten\n", args.name));
                Ok(())
            }
        }
    })
}

fn path(name: &str, what: &str) -> String {
    format!("/v1/policies/{}{what}", escape(name))
}

async fn change(gateway: &mut Asked, path: &str, body: Vec<u8>, json: bool) -> Outcome {
    let answer = gateway.request(Method::POST, path, body).await?;
    tell(&gateway.parse(&answer)?, json);
    Ok(())
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::new(Exit::Usage, error))
}

fn tell(view: &PolicyView, json: bool) {
    if json {
        text::print_json(view);
    } else {
        text::print(&describe(view));
    }
}

impl ListArgs {
    async fn run(&self) -> Outcome {
        let mut gateway = self.gateway.connect()?;
        let page: PolicyPage = gateway.get_json("/v1/policies").await?;
        if self.json {
            text::print_json(&page);
        } else {
            text::print(&listing(&page.policies));
        }
        Ok(())
    }
}

impl PutArgs {
    async fn run(&self) -> Outcome {
        let component = std::fs::read(&self.file).map_err(|error| {
            let message = format!("{} cannot be read: {error}", self.file.display());
            Failure::new(Exit::Usage, message)
        })?;
        let mut gateway = self.gateway.connect()?;
        let path = path(&self.name, &self.query());
        let answer = gateway.upload(&path, "application/wasm", component).await?;
        tell(&gateway.parse(&answer)?, self.json);
        Ok(())
    }

    fn query(&self) -> String {
        if self.enforce {
            return "?mode=enforce".to_owned();
        }
        let percent = self.canary.map(|percent| format!("canary_percent={percent}"));
        let label = |label: &String| format!("canary_label={}", escape(label));
        let all: Vec<String> =
            percent.into_iter().chain(self.canary_label.iter().map(label)).collect();
        if all.is_empty() { "?mode=shadow".to_owned() } else { format!("?{}", all.join("&")) }
    }
}

impl ModeArgs {
    async fn run(&self) -> Outcome {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        };
        let body = PolicyMode { mode: mode.to_owned(), revision: self.revision.clone() };
        let mut gateway = self.gateway.connect()?;
        change(&mut gateway, &path(&self.name, "/mode"), to_json(&body)?, self.json).await
    }
}

impl CanaryArgs {
    async fn run(&self) -> Outcome {
        let labels = self.label.iter().map(|label| {
            let pair = label.split_once(':');
            let pair = pair.map(|(key, value)| (key.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Failure::new(Exit::Usage, format!("{label}: must be key:value")))
        });
        let labels: BTreeMap<String, String> = labels.collect::<Result<_, _>>()?;
        let labels = Some(labels).filter(|labels| !labels.is_empty());
        let (percent, revision) = (self.percent, self.revision.clone());
        let body = to_json(&PolicyCanary { percent, labels, revision })?;
        let mut gateway = self.gateway.connect()?;
        change(&mut gateway, &path(&self.name, "/canary"), body, self.json).await
    }
}

/// A revision as people call it.
fn short(revision: &str) -> String {
    revision.chars().take(12).collect()
}

fn trial(trial: &TrialView) -> String {
    let revision = short(&trial.revision);
    let labels: Vec<_> = trial.labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    match trial.percent {
        Some(percent) => format!("{revision} canary {percent} %"),
        None if !labels.is_empty() => format!("{revision} canary {}", labels.join(" ")),
        None => format!("{revision} shadow"),
    }
}

fn listing(policies: &[PolicyView]) -> String {
    if policies.is_empty() {
        return "no policies\n".to_owned();
    }
    let row = |policy: &PolicyView| {
        vec![
            policy.name.clone(),
            if policy.routed { "yes" } else { "no" }.to_owned(),
            policy.enforced.as_deref().map_or("none".to_owned(), short),
            policy.trial.as_ref().map_or(String::new(), trial),
            policy.before.as_deref().map_or(String::new(), short),
        ]
    };
    let rows: Vec<_> = policies.iter().map(row).collect();
    text::table(&["POLICY", "ROUTED", "ENFORCED", "ON TRIAL", "BEFORE"], &rows, &[])
}

fn describe(policy: &PolicyView) -> String {
    let enforced = policy.enforced.as_deref().map_or("nothing".to_owned(), short);
    let mut out = format!("{} enforces {enforced}", policy.name);
    if let Some(on_trial) = &policy.trial {
        out.push_str(&format!("; on trial: {}", trial(on_trial)));
    }
    if let Some(before) = &policy.before {
        out.push_str(&format!("; before: {}", short(before)));
    }
    if !policy.routed {
        out.push_str("; no route names it");
    }
    out.push('\n');
    if policy.revisions.is_empty() {
        return out;
    }
    let head =
        ["REVISION", "ROLE", "VERSION", "BYTES", "CALLS", "FAULTS", "COMPARED", "DIFFERS", ""];
    let rows: Vec<_> = policy.revisions.iter().map(row).collect();
    out.push_str(&text::table(&head, &rows, &[3, 4, 5, 6, 7]));
    out
}

fn row(revision: &RevisionView) -> Vec<String> {
    let faults = &revision.faults;
    let shadow = revision.shadow.as_ref();
    let differs = shadow.map(|shadow| {
        let others = shadow.intervals.iter().filter(|(word, _)| *word != "same");
        let intervals: u64 = others.map(|(_, count)| count).sum();
        format!("{} health, {intervals} interval", shadow.health_differs)
    });
    let mut notes = Vec::new();
    if revision.breaker_open {
        notes.push("breaker open".to_owned());
    }
    notes.extend(revision.taken_back.as_ref().map(|why| format!("taken back: {why}")));
    vec![
        revision.revision.clone(),
        revision.role.clone(),
        revision.version.clone(),
        revision.bytes.to_string(),
        revision.calls.to_string(),
        (faults.trap + faults.timeout + faults.bad_answer + faults.slow).to_string(),
        shadow.map_or(String::new(), |shadow| shadow.compared.to_string()),
        differs.unwrap_or_default(),
        notes.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use pulsegate_wire::view::{FaultsView, ShadowView};

    use super::*;

    fn policy() -> PolicyView {
        let digest = "78923f22173a".repeat(6)[..64].to_owned();
        let revision = RevisionView {
            revision: digest[..12].to_owned(),
            digest: digest.clone(),
            role: "shadow".to_owned(),
            version: "1.0.0".to_owned(),
            bytes: 31_000,
            calls: 20,
            faults: FaultsView { trap: 1, timeout: 2, bad_answer: 0, slow: 0 },
            shadow: Some(ShadowView {
                compared: 17,
                health_differs: 4,
                intervals: [("same".to_owned(), 10), ("longer".to_owned(), 7)].into(),
            }),
            breaker_open: true,
            ..RevisionView::default()
        };
        let trial =
            TrialView { revision: digest, mode: "shadow".to_owned(), ..TrialView::default() };
        PolicyView {
            name: "p".to_owned(),
            routed: true,
            mode: "enforce".to_owned(),
            enforced: Some("configured".to_owned()),
            trial: Some(trial),
            before: None,
            revisions: vec![revision],
        }
    }

    #[test]
    fn a_policy_is_told_with_its_revisions() {
        let text = describe(&policy());
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("p enforces configured; on trial: 78923f22173a shadow"));
        assert!(lines.next().is_some_and(|head| head.starts_with("REVISION      ROLE")), "{text}");
        let row = lines.next().expect("a revision");
        for part in
            ["78923f22173a", "31000", "  20       3", "4 health, 7 interval", "breaker open"]
        {
            assert!(row.contains(part), "{part}: {row}");
        }
        assert!(listing(&[policy()]).contains("configured  78923f22173a shadow"));
        assert_eq!(listing(&[]), "no policies\n");
    }

    #[test]
    fn a_canary_is_told_with_its_share() {
        let mut on_trial = TrialView { revision: "ab".repeat(32), ..TrialView::default() };
        on_trial.percent = Some(12.5);
        assert_eq!(trial(&on_trial), "abababababab canary 12.5 %");
        on_trial.percent = None;
        on_trial.labels = [("ring".to_owned(), "0".to_owned())].into();
        assert_eq!(trial(&on_trial), "abababababab canary ring:0");
    }
}
