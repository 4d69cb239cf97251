//! `pulsegate dead-letters`: what a gateway could not handle.

use http::Method;
use pulsegate_wire::view::{DeadLetterPage, DeadLetterView, PurgeView, ReplayView};

use super::operator::{Asked, Gateway, escape};
use super::{Failure, Outcome, block_on, text};

/// Arguments of `pulsegate dead-letters`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate dead-letters list --reason schema_unsupported")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the letters, the oldest first.
    List(ListArgs),
    /// Show a letter with its body.
    Show(OneArgs),
    /// Take what a letter tells, except as a sign of life; then it is gone.
    Replay(OneArgs),
    /// Remove letters for good.
    Purge(PurgeArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// Only letters of this tenant; default: all
    #[arg(long)]
    tenant: Option<String>,
    /// Only letters with this reason, such as schema_unsupported; default: all
    #[arg(long)]
    reason: Option<String>,
    /// Most letters to list
    #[arg(long, default_value_t = 1_000, value_name = "LETTERS")]
    limit: usize,
    /// Print JSON: {"dead_letters": […]}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Number of the letter
    id: u64,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
struct PurgeArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// Only this letter
    #[arg(long, group = "which", value_name = "NUMBER")]
    id: Option<u64>,
    /// Every letter with a number below this one
    #[arg(long, group = "which", value_name = "NUMBER")]
    before: Option<u64>,
    /// Every letter
    #[arg(long, group = "which")]
    all: bool,
    /// Print JSON: {"purged": …}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    block_on(async {
        match &args.command {
            Command::List(args) => args.run().await,
            Command::Show(args) => args.show().await,
            Command::Replay(args) => args.replay().await,
            Command::Purge(args) => args.run().await,
        }
    })
}

impl ListArgs {
    async fn run(&self) -> Outcome {
        let mut gateway = self.gateway.connect()?;
        let mut letters: Vec<DeadLetterView> = Vec::new();
        let mut cursor: Option<String> = None;
        while letters.len() < self.limit {
            let left = self.limit - letters.len();
            let page: DeadLetterPage =
                gateway.get_json(&self.path(left, cursor.as_deref())).await?;
            letters.extend(page.dead_letters);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if self.json {
            text::print_json(&DeadLetterPage { dead_letters: letters, next: cursor });
        } else {
            text::print(&listing(&letters, cursor.is_some()));
        }
        Ok(())
    }

    fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let mut path = format!("/v1/dead-letters?limit={}", limit.min(1_000));
        let parameters = [
            ("tenant", self.tenant.as_deref()),
            ("reason", self.reason.as_deref()),
            ("cursor", cursor),
        ];
        for (name, value) in parameters {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        path
    }
}

impl OneArgs {
    async fn show(&self) -> Outcome {
        let mut gateway = self.gateway.connect()?;
        let letter: DeadLetterView =
            gateway.get_json(&format!("/v1/dead-letters/{}", self.id)).await?;
        if self.json {
            text::print_json(&letter);
        } else {
            text::print(&describe(&letter));
        }
        Ok(())
    }

    async fn replay(&self) -> Outcome {
        let mut gateway = self.gateway.connect()?;
        let path = format!("/v1/dead-letters/{}/replay", self.id);
        let body = gateway.request(Method::POST, &path, Vec::new()).await?;
        let replayed: ReplayView = gateway.parse(&body)?;
        if self.json {
            text::print_json(&replayed);
        } else {
            let what = if replayed.changed { "taken" } else { "nothing in it was new" };
            text::print(&format!("{} of {}: {what}\n", replayed.id, replayed.agent_id));
        }
        Ok(())
    }
}

impl PurgeArgs {
    async fn run(&self) -> Outcome {
        let mut gateway = self.gateway.connect()?;
        let purged = match self.id {
            Some(id) => {
                let path = format!("/v1/dead-letters/{id}");
                gateway.request(Method::DELETE, &path, Vec::new()).await?;
                PurgeView { purged: 1 }
            }
            None => self.many(&mut gateway).await?,
        };
        if self.json {
            text::print_json(&purged);
        } else {
            text::print(&format!("{} removed\n", purged.purged));
        }
        Ok(())
    }

    async fn many(&self, gateway: &mut Asked) -> Result<PurgeView, Failure> {
        let before = self.before.map(|before| format!("?before={before}")).unwrap_or_default();
        let path = format!("/v1/dead-letters{before}");
        let body = gateway.request(Method::DELETE, &path, Vec::new()).await?;
        gateway.parse(&body)
    }
}

fn listing(letters: &[DeadLetterView], more: bool) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let head = ["NUMBER", "KEPT", "TENANT", "AGENT", "REASON", "TRANSPORT", "BYTES"];
    let row = |letter: &DeadLetterView| {
        vec![
            letter.id.to_string(),
            text::instant(letter.kept_at_unix_ms),
            letter.tenant.clone(),
            letter.agent_id.clone(),
            letter.reason.clone(),
            letter.transport.clone(),
            letter.bytes.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    let mut listing = text::table(&head, &rows, &[0, 6]);
    if more {
        listing.push_str("more follow: raise --limit\n");
    }
    listing
}

fn describe(letter: &DeadLetterView) -> String {
    let facts = [
        ("kept", text::instant(letter.kept_at_unix_ms)),
        ("tenant", letter.tenant.clone()),
        ("agent", letter.agent_id.clone()),
        ("reason", format!("{}: {}", letter.reason, letter.detail)),
        ("transport", letter.transport.clone()),
        ("body", format!("{}, {} bytes", letter.media_type, letter.bytes)),
    ];
    let mut lines: Vec<String> =
        facts.iter().map(|(name, value)| format!("{name:9}  {value}")).collect();
    lines.push(String::new());
    lines.extend(letter.body.clone().or_else(|| letter.body_base64.clone()));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_shown_with_its_reason_and_its_body() {
        let letter = DeadLetterView {
            id: 7,
            kept_at_unix_ms: 1_795_392_001_250,
            tenant: "default".to_owned(),
            reason: "schema_unsupported".to_owned(),
            detail: "this gateway speaks schema 1".to_owned(),
            media_type: "application/json".to_owned(),
            agent_id: "worker-7".to_owned(),
            bytes: 36,
            body: Some(r#"{"schema": 2, "agent_id":"worker-7"}"#.to_owned()),
            ..DeadLetterView::default()
        };
        let text = describe(&letter);
        assert!(text.contains("reason     schema_unsupported: this gateway speaks schema 1\n"));
        assert!(text.ends_with("\n\n{\"schema\": 2, \"agent_id\":\"worker-7\"}\n"), "{text}");
        let listed = listing(&[letter], false);
        assert!(listed.contains("7  2026-11-23T00:00:01Z  default  worker-7"), "{listed}");
    }
}
