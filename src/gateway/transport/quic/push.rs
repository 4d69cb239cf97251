//! What cannot wait for the next heartbeat: commands, and the call to beat now.
//!
//! A push is best effort. It goes to the connection and the way that an agent beat on last, as far
//! as that connection is a compact one; everything in it comes with the next directive as well. The
//! map from agents to connections is touched when an agent appears on a connection or leaves with
//! it, and not at every heartbeat: what each connection knows of its own agents sees to that.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use pulsegate_core::{Event, EventKind, TenantId};
use pulsegate_wire::{Command, FromServer, Push, ServerFrame};
use quinn::SendDatagramError;
use tokio::sync::broadcast::error::RecvError;

use super::compact::{Link, Way};
use crate::telemetry::Pushed;
use crate::transport::Shared;

/// Agents of one connection that pushes can find; further ones get theirs in directives. Larger:
/// larger relays; smaller: one connection holds less memory. Source: chosen, at some 200 bytes each
/// less than a megabyte.
const AGENTS: usize = 4_096;

/// Where agents can be reached, of the whole gateway.
pub(super) struct Pushes {
    routes: Mutex<HashMap<TenantId, HashMap<Arc<str>, Route>>>,
    /// Most agents of one tenant in it: as many as there may be at all.
    most: usize,
}

struct Route {
    link: Weak<Link>,
    way: Way,
}

/// The agents of one connection.
#[derive(Default)]
pub(super) struct Agents {
    tenant: TenantId,
    ways: HashMap<Arc<str>, Way>,
    /// The one that beat last: on most connections there is no other.
    last: Option<(Arc<str>, Way)>,
}

impl Agents {
    /// Whether an agent is known here, by this way; it is the last one then. Hot.
    fn knows(&mut self, tenant: TenantId, id: &str, way: &Way) -> bool {
        if self.tenant != tenant {
            return false;
        }
        if let Some((last, by)) = &self.last
            && **last == *id
            && by.is(way)
        {
            return true;
        }
        let Some((known, by)) = self.ways.get_key_value(id) else {
            // There is no room for further ones.
            return self.ways.len() >= AGENTS;
        };
        let is_known = by.is(way);
        if is_known {
            self.last = Some((known.clone(), way.clone()));
        }
        is_known
    }

    /// Takes an agent in.
    fn add(&mut self, tenant: TenantId, id: &Arc<str>, way: &Way) {
        self.tenant = tenant;
        self.ways.insert(id.clone(), way.clone());
        self.last = Some((id.clone(), way.clone()));
    }

    fn forget(&mut self, tenant: TenantId, id: &str) {
        if self.tenant == tenant {
            self.ways.remove(id);
            self.last.take_if(|(last, _)| **last == *id);
        }
    }
}

impl Pushes {
    /// Nobody can be reached yet; at most this many agents ever can.
    pub(super) fn new(most: u32) -> Self {
        Self { routes: Mutex::default(), most: most as usize }
    }

    /// An agent has beaten on a connection. The last connection wins. Hot.
    pub(super) fn meet(&self, link: &Arc<Link>, tenant: TenantId, id: &str, way: &Way) {
        let name;
        let left = {
            let mut agents = link.agents.lock();
            if agents.knows(tenant, id, way) {
                return;
            }
            // Another tenant after another hello: those of the one before are gone.
            let left = (agents.tenant != tenant).then(|| std::mem::take(&mut *agents));
            name = Arc::from(id);
            agents.add(tenant, &name, way);
            left
        };
        left.into_iter().for_each(|left| self.remove(link, &left));
        let route = Route { link: Arc::downgrade(link), way: way.clone() };
        let before = {
            let mut routes = self.routes.lock();
            let routes = routes.entry(tenant).or_default();
            if routes.len() >= self.most && !routes.contains_key(id) {
                return;
            }
            routes.insert(name, route)
        };
        if let Some(before) = before.and_then(|before| before.link.upgrade())
            && !Arc::ptr_eq(&before, link)
        {
            // It would otherwise not notice that the agent comes back to it.
            before.agents.lock().forget(tenant, id);
        }
    }

    /// A connection has ended.
    pub(super) fn leave(&self, link: &Arc<Link>) {
        let left = std::mem::take(&mut *link.agents.lock());
        self.remove(link, &left);
    }

    fn remove(&self, link: &Arc<Link>, left: &Agents) {
        let mut all = self.routes.lock();
        let Some(routes) = all.get_mut(&left.tenant) else { return };
        for id in left.ways.keys() {
            let is_its = |route: &Route| std::ptr::eq(route.link.as_ptr(), Arc::as_ptr(link));
            if routes.get(id).is_some_and(is_its) {
                routes.remove(id);
            }
        }
        if routes.is_empty() {
            all.remove(&left.tenant);
        }
    }

    fn find(&self, tenant: TenantId, id: &str) -> Option<(Arc<Link>, Way)> {
        let routes = self.routes.lock();
        let route = routes.get(&tenant)?.get(id)?;
        Some((route.link.upgrade()?, route.way.clone()))
    }

    /// Pushes to one agent, if it can be reached.
    fn push(&self, shared: &Shared, tenant: TenantId, id: &str, beat_now: bool) {
        let Some((link, way)) = self.find(tenant, id) else { return };
        let commands = shared.shards.commands(tenant, id);
        if commands.is_empty() && !beat_now {
            return;
        }
        let pushed = Push { agent_id: id.to_owned(), commands, beat_now };
        let is_sent = match &way {
            Way::Stream(writer) => {
                writer.push(frame(pushed).encode_length_delimited_to_vec().into())
            }
            Way::Datagram => datagram(&link, pushed),
        };
        shared.telemetry.pushed(if is_sent { Pushed::Sent } else { Pushed::Dropped });
    }
}

fn frame(push: Push) -> ServerFrame {
    ServerFrame { frame: Some(FromServer::Push(push)) }
}

/// Sends a push in one datagram, with as many of its commands as fit.
fn datagram(link: &Link, mut push: Push) -> bool {
    loop {
        let bytes = Bytes::from(frame(push.clone()).encode_to_vec());
        match link.connection.send_datagram(bytes) {
            Ok(()) => return true,
            Err(SendDatagramError::TooLarge) => {}
            Err(_) => return false,
        }
        let dropped: Option<Command> = push.commands.pop();
        if dropped.is_none() || (push.commands.is_empty() && !push.beat_now) {
            return false;
        }
    }
}

/// Pushes what happens, for as long as the gateway lives.
pub(super) async fn run(pushes: Arc<Pushes>, shared: Arc<Shared>) {
    let mut events = shared.shards.subscribe();
    loop {
        match events.recv().await {
            Ok(event) => handle(&pushes, &shared, &event).await,
            // What was missed comes with directives.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// A command that a crash could take back is not told of: waits until what is recorded up to now is
/// durable. One that cannot be recorded in time comes with a directive, if at all.
async fn is_durable(shared: &Shared) -> bool {
    shared.durable.wait(shared.durable.newest()).await.is_ok()
}

async fn handle(pushes: &Pushes, shared: &Shared, event: &Event) {
    let (tenant, id) = (event.tenant, event.agent_id.as_str());
    match event.kind {
        EventKind::CommandQueued { .. } if is_durable(shared).await => {
            pushes.push(shared, tenant, id, false);
        }
        // Its heartbeat may have been lost in a datagram.
        EventKind::Suspected { .. } => pushes.push(shared, tenant, id, true),
        _ => {}
    }
}
