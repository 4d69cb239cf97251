//! `pulsegate leases`: who holds what, as a table.

use pulsegate_wire::lease::{LeasePage, LeaseView};

use super::operator::{Gateway, escape};
use super::{Outcome, block_on, text};

/// Arguments of `pulsegate leases`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate leases --tenant blue --json\n\
                        To follow: pulsegate watch --kind lease_granted --kind lease_ended")]
pub(super) struct Args {
    #[command(flatten)]
    gateway: Gateway,
    /// Only leases of this tenant
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Most leases to list
    #[arg(long, default_value_t = 1_000, value_name = "LEASES")]
    limit: usize,
    /// Print JSON: {"leases": […]}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    block_on(async {
        let mut gateway = args.gateway.connect()?;
        let mut leases: Vec<LeaseView> = Vec::new();
        let mut next: Option<String> = None;
        while leases.len() < args.limit {
            let path = args.path(args.limit - leases.len(), next.as_deref());
            let page: LeasePage = gateway.get_json(&path).await?;
            leases.extend(page.leases);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        if args.json {
            text::print_json(&LeasePage { leases, next });
        } else {
            text::print(&listing(&leases, next.is_some()));
        }
        Ok(())
    })
}

impl Args {
    fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let tenant = escape(&self.tenant);
        let mut path = format!("/v1/leases?tenant={tenant}&limit={}", limit.min(1_000));
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", escape(cursor)));
        }
        path
    }
}

fn listing(leases: &[LeaseView], more: bool) -> String {
    if leases.is_empty() {
        return "no leases\n".to_owned();
    }
    let head = ["LEASE", "HOLDER", "TOKEN", "TTL", "EXPIRES IN", "WAITING"];
    let rows: Vec<Vec<String>> = leases.iter().map(row).collect();
    let mut listing = text::table(&head, &rows, &[2, 3, 4, 5]);
    if more {
        listing.push_str("more follow: raise --limit\n");
    }
    listing
}

fn row(lease: &LeaseView) -> Vec<String> {
    vec![
        lease.name.clone(),
        lease.holder.clone(),
        lease.token.to_string(),
        text::duration(lease.ttl_ms),
        text::duration(lease.expires_in_ms),
        lease.waiting.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_a_row_with_its_token() {
        let lease = LeaseView {
            name: "leader".to_owned(),
            tenant: "default".to_owned(),
            holder: "worker-1".to_owned(),
            token: (2 << 32) + 1,
            ttl_ms: 30_000,
            expires_in_ms: 12_400,
            waiting: 3,
        };
        let text = listing(&[lease], true);
        assert_eq!(
            text,
            "LEASE   HOLDER         TOKEN   TTL  EXPIRES IN  WAITING\n\
             leader  worker-1  8589934593  30 s      12.4 s        3\n\
             more follow: raise --limit\n"
        );
        assert_eq!(listing(&[], false), "no leases\n");
    }
}
