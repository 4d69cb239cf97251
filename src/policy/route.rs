//! Rules that say which agents a policy judges, paces and recovers, and what becomes of them when
//! a set is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use pulsegate_core::{Classes, TenantId, builtin};

use crate::loader::Policy;
use crate::set::QUESTIONS;
use crate::share::Chosen;
use crate::{Agent, Error, Named, Revision, Role};

/// Which agents a rule is about; what is `None` or empty matches all.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Tenant by index.
    pub tenant: Option<TenantId>,
    /// Classes by name.
    pub classes: Vec<String>,
    /// Labels that must all be there with these values.
    pub labels: BTreeMap<String, String>,
}

/// A rule of the configuration: the first that matches an agent decides, for each of the three
/// questions apart. `builtin` names the built-in policy, which also answers what no route does.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Which agents.
    pub agents: Match,
    /// Policy that judges them.
    pub health: Option<String>,
    /// Policy that paces them.
    pub cadence: Option<String>,
    /// Policy that plans their recovery.
    pub recovery: Option<String>,
}

/// A question, by its place in [`QUESTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Health,
    Cadence,
    Recovery,
}

/// A rule ready to be asked.
pub(crate) struct CompiledRoute {
    tenant: Option<TenantId>,
    /// One bit for each class.
    classes: u16,
    labels: BTreeMap<String, String>,
    /// What it says to each question; `None` where it says nothing.
    pub(crate) choices: [Option<Choice>; 3],
}

/// What a route says to one question, in places of the set's lists.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// What is obeyed; `None` where the policy is not enforced at all.
    enforced: Option<u16>,
    /// What some agents get instead.
    canary: Option<(u16, Chosen)>,
    /// What is watched.
    pub(crate) shadow: Option<u16>,
}

impl CompiledRoute {
    pub(crate) fn matches(&self, agent: &Agent<'_>) -> bool {
        let class = u32::from(agent.class.0);
        self.tenant.is_none_or(|wanted| wanted == agent.tenant)
            && self.classes.checked_shr(class).is_some_and(|bits| bits & 1 == 1)
            && self.labels.iter().all(|(name, value)| agent.labels.get(name) == Some(value))
    }
}

impl Choice {
    /// What an agent obeys.
    pub(crate) fn of(&self, agent: &Agent<'_>) -> Option<u16> {
        let canary = self.canary.as_ref();
        let taken = canary.filter(|(_, chosen)| chosen.takes(agent.hash, agent.labels));
        taken.map(|(place, _)| *place).or(self.enforced)
    }
}

/// What the names of routes stand for while a set is made.
pub(crate) struct Names {
    /// Names by index; that of the built-in policy first.
    pub(crate) texts: Vec<String>,
    /// Policy of index `i` at `i - 1`.
    pub(crate) policies: Vec<Arc<Policy>>,
    /// What each index is.
    pub(crate) roles: Vec<Role>,
    /// For each question, the policies that any route gives; the built-in one first.
    pub(crate) choices: [Vec<u16>; 3],
    /// For each question, the policies that are watched; 0, which is none, first.
    pub(crate) watched: [Vec<u16>; 3],
    names: Vec<Meaning>,
}

/// What one name stands for, by index.
struct Meaning {
    name: String,
    enforced: Option<u16>,
    candidate: Option<(u16, Chosen)>,
}

impl Default for Names {
    fn default() -> Self {
        let name = builtin::NAME.to_owned();
        let builtin = Meaning { name: name.clone(), enforced: Some(0), candidate: None };
        Self {
            texts: vec![name],
            policies: Vec::new(),
            roles: vec![Role::Enforced],
            choices: [vec![0], vec![0], vec![0]],
            watched: [vec![0], vec![0], vec![0]],
            names: vec![builtin],
        }
    }
}

impl Names {
    /// Names that are known.
    pub(crate) fn known(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|meaning| meaning.name.as_str())
    }

    /// Adds a name with what is enforced of it.
    pub(crate) fn add(&mut self, named: &Named) {
        let enforced = named.enforced.as_ref();
        let enforced = enforced.map(|revision| self.index(named, revision, Role::Enforced));
        let name = named.name.clone();
        self.names.push(Meaning { name, enforced, candidate: None });
    }

    /// Adds what is on trial of a name that was added.
    pub(crate) fn add_candidate(&mut self, named: &Named) {
        let Some((revision, share)) = &named.candidate else { return };
        let chosen = Chosen::new(&named.name, share.clone());
        let role = if chosen.is_shadow() { Role::Shadow } else { Role::Canary };
        let index = self.index(named, revision, role);
        if let Some(meaning) = self.names.iter_mut().find(|meaning| meaning.name == named.name) {
            meaning.candidate = Some((index, chosen));
        }
    }

    fn index(&mut self, named: &Named, revision: &Revision, role: Role) -> u16 {
        self.texts.push(named.name.clone());
        self.policies.push(revision.0.clone());
        self.roles.push(role);
        self.policies.len() as u16
    }

    /// What a route means that gives this name to a question.
    fn choice(&mut self, route: usize, name: String, question: usize) -> Result<Choice, Error> {
        let Some(meaning) = self.names.iter().find(|meaning| meaning.name == name) else {
            return Err(Error::UnknownPolicy { route, policy: name });
        };
        let candidate = meaning.candidate.as_ref();
        for index in meaning.enforced.into_iter().chain(candidate.map(|(index, _)| *index)) {
            let policy = usize::from(index).checked_sub(1).map(|at| &self.policies[at]);
            if policy.is_some_and(|policy| !policy.answers(question)) {
                let question = QUESTIONS[question];
                return Err(Error::WrongQuestion { route, policy: name, question });
            }
        }
        let (choices, watched) = (&mut self.choices[question], &mut self.watched[question]);
        let enforced = meaning.enforced.map(|index| place(choices, index));
        let mut choice = Choice { enforced, canary: None, shadow: None };
        match candidate {
            Some((index, chosen)) if chosen.is_shadow() => {
                choice.shadow = Some(place(watched, *index));
            }
            Some((index, chosen)) => {
                choice.canary = Some((place(choices, *index), chosen.clone()));
            }
            None => {}
        }
        Ok(choice)
    }
}

/// The place of an index in a list, which it is added to where it is missing.
fn place(list: &mut Vec<u16>, index: u16) -> u16 {
    let at = list.iter().position(|&known| known == index).unwrap_or_else(|| {
        list.push(index);
        list.len() - 1
    });
    at as u16
}

pub(crate) fn compile(
    position: usize,
    route: Route,
    classes: &Classes,
    names: &mut Names,
) -> Result<CompiledRoute, Error> {
    let Route { agents, health, cadence, recovery } = route;
    let mut bits = if agents.classes.is_empty() { u16::MAX } else { 0 };
    for class in agents.classes {
        let id = classes
            .find(&class)
            .ok_or(Error::UnknownClass { route: position, class: class.clone() })?;
        bits |= 1 << id.0;
    }
    let mut choices = [None, None, None];
    for (question, wanted) in [health, cadence, recovery].into_iter().enumerate() {
        if let Some(wanted) = wanted {
            choices[question] = Some(names.choice(position, wanted, question)?);
        }
    }
    Ok(CompiledRoute { tenant: agents.tenant, classes: bits, labels: agents.labels, choices })
}
