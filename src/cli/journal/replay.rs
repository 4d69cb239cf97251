//! `pulsegate journal replay`: the durable state, rebuilt from the records as a restart does.

use std::collections::HashMap;
use std::time::Instant;

use pulsegate_core::{
    AgentKey, Class, ClassId, Classes, Config, Effects, Machine, Millis, PartitionHasher, TenantId,
};
use pulsegate_journal::Entry;
use pulsegate_wire::EventKind;

use super::super::text::{print, print_json};
use super::{Data, Exit, Failure, Outcome};

/// Arguments of `pulsegate journal replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The digest stands for everything that is durable of all agents; the same \
                        one is recorded when a gateway ends in order.")]
pub(super) struct Args {
    #[command(flatten)]
    data: Data,
    /// Fail unless the state at the last `gateway_ended` has the digest that was recorded there
    #[arg(long)]
    expect_last: bool,
    /// Print JSON: agents, events, digest, rate, and the recorded digest
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let journal = args.data.open()?;
    let mut rebuilt = Rebuilt::new(journal.header().hash_key);
    let started = Instant::now();
    let told = journal
        .replay(|entry| rebuilt.take(&entry))
        .map_err(|error| Failure::new(Exit::Refused, error))?;
    let seconds = started.elapsed().as_secs_f64();
    let per_second = ((told.agents + told.events) as f64 / seconds.max(1e-9)).round();
    let digest = rebuilt.digest();
    if args.json {
        print_json(&serde_json::json!({
            "agents": rebuilt.machine.census().total(),
            "snapshot_agents": told.agents,
            "events": told.events,
            "digest": digest,
            "records_per_second": per_second,
            "losses": told.losses,
            "recorded": rebuilt.recorded.as_ref().map(|(seq, recorded, replayed)| {
                serde_json::json!({ "seq": seq, "digest": recorded, "replayed": replayed })
            }),
        }));
    } else {
        print(&format!(
            "{} agents, from {} in the snapshot and {} events since, {per_second} a second\n\
             digest {digest}\n",
            rebuilt.machine.census().total(),
            told.agents,
            told.events,
        ));
        told.losses.iter().for_each(|loss| print(&format!("lost: {loss}\n")));
    }
    if args.expect_last { rebuilt.expect_last() } else { Ok(()) }
}

/// What the records add up to.
struct Rebuilt {
    machine: Machine,
    hasher: PartitionHasher,
    classes: Vec<Class>,
    tenants: Vec<String>,
    tenant_ids: HashMap<String, TenantId>,
    /// Number of the last `gateway_ended`, the digest in it, and the one of the state there.
    recorded: Option<(u64, String, String)>,
    failure: Option<String>,
}

impl Rebuilt {
    fn new(hash_key: [u64; 2]) -> Self {
        let config = Config::default();
        Self {
            classes: config.classes.iter().map(|(_, class)| class.clone()).collect(),
            machine: Machine::new(config),
            hasher: PartitionHasher::new(hash_key),
            tenants: Vec::new(),
            tenant_ids: HashMap::new(),
            recorded: None,
            failure: None,
        }
    }

    fn take(&mut self, entry: &Entry) {
        let result = match entry {
            Entry::Agent(row) => {
                let class = self.class(&row.class);
                let key = self.key(&row.tenant, &row.agent_id);
                self.machine.restore(row, key, class).map(drop)
            }
            Entry::Event(event) => {
                if let Some(EventKind::GatewayEnded(ended)) = &event.kind {
                    self.recorded = Some((event.seq, ended.digest.clone(), self.digest()));
                }
                let class = self.class(&event.class);
                let key = self.key(&event.tenant, &event.agent_id);
                self.machine.apply(event, key, class)
            }
            Entry::Lease { .. } => Ok(()),
        };
        if let Err(refusal) = result {
            self.failure.get_or_insert(format!("{refusal:?}"));
        }
    }

    fn key<'a>(&mut self, tenant: &str, agent: &'a str) -> AgentKey<'a> {
        let id = match self.tenant_ids.get(tenant) {
            Some(id) => *id,
            None => {
                // There are at most as many tenants as credentials, and those are counted in u16.
                let id = TenantId(self.tenants.len() as u16);
                self.tenants.push(tenant.to_owned());
                self.tenant_ids.insert(tenant.to_owned(), id);
                id
            }
        };
        self.hasher.key(id, agent)
    }

    /// The class of this name; one that is new here is taken in, because the digest counts names.
    fn class(&mut self, name: &str) -> ClassId {
        if let Some(index) = self.classes.iter().position(|class| class.name == name) {
            return ClassId(index as u8);
        }
        let Some(normal) = self.classes.iter().find(|class| class.name == "normal").cloned() else {
            return ClassId::default();
        };
        if name.is_empty() {
            return ClassId::default();
        }
        let mut classes = self.classes.clone();
        classes.push(Class { name: name.to_owned(), ..normal });
        let Some(known) = Classes::new(classes.clone()) else {
            self.failure.get_or_insert(format!("more than {} classes", Classes::MAX));
            return ClassId::default();
        };
        self.classes = classes;
        let config = Config { classes: known, ..Config::default() };
        self.machine.reconfigure(Millis::default(), config, &mut Effects::default());
        ClassId(self.classes.len() as u8 - 1)
    }

    fn digest(&self) -> String {
        let name =
            |tenant: TenantId| self.tenants.get(usize::from(tenant.0)).map_or("", String::as_str);
        format!("{:016x}", self.machine.digest(name))
    }

    fn expect_last(&self) -> Outcome {
        let refused = |message: String| Err(Failure::new(Exit::Refused, message));
        if let Some(failure) = &self.failure {
            return refused(format!("the state cannot be rebuilt: {failure}"));
        }
        match &self.recorded {
            None => refused(
                "no gateway_ended lies after the snapshot, so there is no digest to compare"
                    .to_owned(),
            ),
            Some((seq, recorded, replayed)) if recorded != replayed => refused(format!(
                "event {seq} recorded the digest {recorded}, and the records add up to {replayed}"
            )),
            Some(_) => Ok(()),
        }
    }
}
