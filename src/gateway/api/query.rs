//! The query of a listing.

use pulsegate_core::TenantId;
use pulsegate_wire::{Health, Registration, State as AgentState, limits};

use super::State;
use super::problem::Refused;
use crate::config::Config;
use crate::shard::{Cursor, Found};

/// Most labels and capabilities in one query.
const MAX_FILTERS: usize = 16;

/// Name and value pairs, as they came.
pub(super) type Pairs = Vec<(String, String)>;

/// Which agents are asked for, and how many.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) tenant: TenantId,
    pub(super) limit: usize,
    pub(super) cursor: Cursor,
    pub(super) filter: Filter,
}

/// What an agent must be to be listed.
#[derive(Debug, Default)]
pub(super) struct Filter {
    state: Option<AgentState>,
    health: Option<Health>,
    class: Option<u8>,
    labels: Vec<String>,
    capabilities: Vec<String>,
}

impl Query {
    /// Reads a query for `limit` agents where it says nothing else; every parameter must be known.
    pub(super) fn read(state: &State, pairs: &Pairs, limit: usize) -> Result<Self, Refused> {
        let config = state.config.load();
        let mut query = Self {
            tenant: TenantId(0),
            limit,
            cursor: Cursor::default(),
            filter: Filter::default(),
        };
        for (name, value) in pairs {
            query.take(&config, name, value)?;
        }
        Ok(query)
    }

    fn take(&mut self, config: &Config, name: &str, value: &str) -> Result<(), Refused> {
        let filter = &mut self.filter;
        match name {
            "tenant" => self.tenant = find_tenant(config, value)?,
            "state" => filter.state = Some(word(name, value)?),
            "health" => filter.health = Some(word(name, value)?),
            "class" => {
                let class = config.classes.find(value);
                let class = class.ok_or_else(|| Refused::field(name, "no class of this name"))?;
                filter.class = Some(class.0);
            }
            "label" if value.contains(':') => push(&mut filter.labels, name, value)?,
            "label" => return Err(Refused::field(name, "must be key:value")),
            "capability" => push(&mut filter.capabilities, name, value)?,
            "limit" => self.limit = page_items(name, value)?,
            "cursor" => {
                let fits = value.len() <= limits::CURSOR_BYTES;
                let cursor = fits.then(|| value.parse().ok()).flatten();
                self.cursor = cursor
                    .ok_or_else(|| Refused::field(name, "must be the next of an earlier page"))?;
            }
            _ => {
                let known = "unknown parameter; known: tenant, state, health, class, label, \
                             capability, limit, cursor";
                return Err(Refused::field(name, known));
            }
        }
        Ok(())
    }
}

/// How many items a page shall have.
pub(super) fn page_items(name: &str, value: &str) -> Result<usize, Refused> {
    let limit = value.parse().ok().filter(|limit| (1..=limits::PAGE_ITEMS).contains(limit));
    limit.ok_or_else(|| {
        let problem = pulsegate_wire::Problem::on_field(name, "must be from 1 to 1000");
        Refused::from(problem.with_limit(limits::PAGE_ITEMS as f64))
    })
}

/// The tenant that a query names; `default` without one.
pub(super) fn tenant(state: &State, pairs: &Pairs) -> Result<TenantId, Refused> {
    let mut tenant = TenantId(0);
    for (name, value) in pairs {
        match name.as_str() {
            "tenant" => tenant = find_tenant(&state.config.load(), value)?,
            _ => return Err(Refused::field(name, "unknown parameter; known: tenant")),
        }
    }
    Ok(tenant)
}

pub(super) fn find_tenant(config: &Config, name: &str) -> Result<TenantId, Refused> {
    config.tenants.find(name).ok_or_else(|| Refused::field("tenant", "no tenant of this name"))
}

pub(super) fn word<T: std::str::FromStr<Err = pulsegate_wire::UnknownName>>(
    name: &str,
    value: &str,
) -> Result<T, Refused> {
    value.parse().map_err(|error: T::Err| Refused::field(name, &error.to_string()))
}

pub(super) fn push(values: &mut Vec<String>, name: &str, value: &str) -> Result<(), Refused> {
    if values.len() == MAX_FILTERS {
        let problem = pulsegate_wire::Problem::on_field(name, "stands too often");
        return Err(Refused::from(problem.with_limit(MAX_FILTERS as f64)));
    }
    values.push(value.to_owned());
    Ok(())
}

impl Filter {
    /// Agents with all of these labels, each `key:value`.
    pub(super) fn labelled(labels: Vec<String>) -> Self {
        Self { labels, ..Self::default() }
    }

    /// Whether an agent is asked for.
    pub(super) fn takes(&self, found: &Found<'_>) -> bool {
        let info = &found.info;
        self.state.is_none_or(|state| state == info.state)
            && self.health.is_none_or(|health| health == info.health)
            && self.class.is_none_or(|class| class == info.class.0)
            && self.takes_registration(info.registration)
    }

    fn takes_registration(&self, registration: Option<&Registration>) -> bool {
        if self.labels.is_empty() && self.capabilities.is_empty() {
            return true;
        }
        let Some(registration) = registration else { return false };
        // A key may hold colons itself, so pairs are compared whole.
        let has_label = |pair: &String| {
            registration.labels.iter().any(|(key, value)| {
                pair.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix(':'))
                    == Some(value)
            })
        };
        let has_capability = |wanted: &String| registration.capabilities.contains(wanted);
        self.labels.iter().all(has_label) && self.capabilities.iter().all(has_capability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_match_as_whole_pairs_and_keys_may_hold_colons() {
        let registration = Registration {
            labels: [("a:b".to_owned(), "c".to_owned()), ("tier".to_owned(), "x:y".to_owned())]
                .into(),
            capabilities: vec!["gpu".to_owned()],
            ..Registration::default()
        };
        let takes = |labels: &[&str], capabilities: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            let filter = Filter {
                labels: owned(labels),
                capabilities: owned(capabilities),
                ..Filter::default()
            };
            filter.takes_registration(Some(&registration))
        };
        assert!(takes(&["a:b:c"], &[]));
        assert!(takes(&["tier:x:y", "a:b:c"], &["gpu"]));
        assert!(!takes(&["a:b"], &[]));
        assert!(!takes(&["tier:x"], &[]));
        assert!(!takes(&["a:b:c"], &["gpu", "tpu"]));
    }
}
