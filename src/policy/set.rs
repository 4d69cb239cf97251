//! Which policies there are, and which agents each one judges, paces and recovers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use pulsegate_core::{ClassId, Classes, TenantId, VerdictSource, builtin};
use pulsegate_wire::{EarlyRule, limits};

use crate::engine::Engine;
use crate::loader::{self, Policy};
use crate::{Error, Source};

/// Most policies of a set, the built-in one not counted. Source: chosen; each keeps a warm
/// instance of 0.1 to 1 MiB for every thread and class.
const POLICIES_MAX: usize = 64;
/// Most routes of a set. Source: chosen; routes are walked when an agent is assigned.
const ROUTES_MAX: usize = 256;
/// Most different assignments. Source: an [`Assignment`] is 16 bits.
const ASSIGNMENTS_MAX: usize = 1 << 16;

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

/// Which policies judge, pace and recover an agent: an index into a [`PolicySet`]. The default is
/// the agent that nothing is known of: of the first class, and no route matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment(pub u16);

/// Names and texts behind a [`VerdictSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceText<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// Its revision: the first 12 hexadecimal digits of its digest; empty for the built-in one.
    pub revision: &'a str,
    /// The reason.
    pub reason: &'a str,
}

/// An immutable choice of policies, shared by all threads.
pub struct PolicySet {
    pub(crate) engine: Engine,
    pub(crate) classes: Classes,
    pub(crate) executors: Vec<(String, u32)>,
    class_count: usize,
    generation: u64,
    names: Vec<String>,
    /// Policy of index `i` at `i - 1`.
    policies: Vec<Policy>,
    routes: Vec<CompiledRoute>,
    /// For each question, the policies that any route gives; the built-in one first.
    choices: [Vec<u16>; 3],
    table: Vec<Entry>,
}

/// What an [`Assignment`] stands for.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) health: u16,
    pub(crate) cadence: u16,
    pub(crate) recovery: u16,
    early: Vec<EarlyRule>,
}

/// The three questions, in the order of [`PolicySet::choices`].
const QUESTIONS: [&str; 3] = ["health", "cadence", "recovery"];

struct CompiledRoute {
    tenant: Option<TenantId>,
    /// One bit for each class.
    classes: u16,
    labels: BTreeMap<String, String>,
    /// For each question, a position in [`PolicySet::choices`].
    picks: [Option<u16>; 3],
}

impl PolicySet {
    /// Loads every policy, warms it up and runs a canary call; then resolves the routes.
    /// `executors` are the ids of the configured executors with their default wait in ms, told
    /// to policies when they are configured and proposed by the built-in plan.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed.
    pub fn load(
        engine: &Engine,
        classes: &Classes,
        sources: Vec<Source>,
        routes: Vec<Route>,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        at_most("policies", sources.len(), POLICIES_MAX)?;
        at_most("routes", routes.len(), ROUTES_MAX)?;
        let mut names = vec![builtin::NAME.to_owned()];
        let mut policies = Vec::new();
        for source in sources {
            check_name(&names, &source.name)?;
            names.push(source.name.clone());
            policies.push(loader::admit(&engine.shared, source, classes, executors)?);
        }
        let mut choices = [vec![0], vec![0], vec![0]];
        let routes = routes
            .into_iter()
            .enumerate()
            .map(|(at, route)| compile(at + 1, route, classes, &names, &policies, &mut choices))
            .collect::<Result<Vec<_>, _>>()?;
        let table = table(&choices, classes, &policies)?;
        Ok(Self {
            engine: engine.clone(),
            classes: classes.clone(),
            executors: executors.to_vec(),
            class_count: classes.iter().count(),
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            names,
            policies,
            routes,
            choices,
            table,
        })
    }

    /// Differs between any two sets of one process: an [`Assignment`] belongs to one set.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Which policies an agent gets.
    #[must_use]
    pub fn assign(
        &self,
        tenant: TenantId,
        class: ClassId,
        labels: &BTreeMap<String, String>,
    ) -> Assignment {
        let mut picks = [None; 3];
        for route in &self.routes {
            if picks.iter().all(Option::is_some) {
                break;
            }
            if route.matches(tenant, class, labels) {
                for (pick, theirs) in picks.iter_mut().zip(route.picks) {
                    *pick = pick.or(theirs);
                }
            }
        }
        let mut index = 0;
        for (pick, choices) in picks.iter().zip(&self.choices) {
            index = index * choices.len() + usize::from(pick.unwrap_or(0));
        }
        let class = usize::from(self.known_class(class).0);
        Assignment(u16::try_from(index * self.class_count + class).unwrap_or(0))
    }

    /// Names and texts behind a source.
    #[must_use]
    pub fn text(&self, source: VerdictSource) -> SourceText<'_> {
        let reason = usize::from(source.reason);
        match self.policy(source.policy) {
            None => SourceText {
                policy: builtin::NAME,
                revision: "",
                reason: builtin::REASONS.get(reason).copied().unwrap_or_default(),
            },
            Some(policy) => SourceText {
                policy: &policy.name,
                revision: &policy.revision,
                reason: policy.shape.reasons.get(reason).map_or("", String::as_str),
            },
        }
    }

    /// Rules for early heartbeats of an assignment's policies, at most eight: those of the
    /// cadence policy first.
    #[must_use]
    pub fn early_rules(&self, assignment: Assignment) -> &[EarlyRule] {
        &self.entry(assignment).early
    }

    /// Custom metrics that the policies which judge and pace this assignment want to see.
    #[must_use]
    pub fn wanted_metrics(&self, assignment: Assignment) -> Vec<&str> {
        let asked = self.asked(assignment);
        let mut names: Vec<&str> =
            asked.flat_map(|policy| policy.shape.metrics.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a policy that judges or paces this assignment keeps memory with each agent.
    #[must_use]
    pub fn keeps_memory(&self, assignment: Assignment) -> bool {
        self.asked(assignment).any(|policy| policy.shape.columns > 0)
    }

    /// The policies that are asked at each heartbeat, the built-in one not among them.
    fn asked(&self, assignment: Assignment) -> impl Iterator<Item = &Policy> {
        let entry = self.entry(assignment);
        [entry.health, entry.cadence].into_iter().filter_map(|index| self.policy(index))
    }

    /// Every policy that was loaded, as `name@revision`.
    #[must_use]
    pub fn revisions(&self) -> Vec<String> {
        let named = self.policies.iter();
        named.map(|policy| format!("{}@{}", policy.name, policy.revision)).collect()
    }

    /// Names by policy index; the first is `builtin`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the breaker of a policy is open, so that the built-in policy answers in its place.
    #[must_use]
    pub fn is_broken(&self, policy: u16) -> bool {
        self.policy(policy).is_some_and(|policy| policy.breaker.is_open())
    }

    /// The policy of an index; `None` for the built-in one.
    pub(crate) fn policy(&self, index: u16) -> Option<&Policy> {
        self.policies.get(usize::from(index).checked_sub(1)?)
    }

    /// What an assignment stands for; one of another set is understood as the default.
    pub(crate) fn entry(&self, assignment: Assignment) -> &Entry {
        self.table.get(usize::from(assignment.0)).unwrap_or(&self.table[0])
    }

    pub(crate) fn policy_count(&self) -> usize {
        self.policies.len()
    }

    pub(crate) fn class_count(&self) -> usize {
        self.class_count
    }

    /// A class of this set, whatever is asked: one that is not known is understood as the last.
    #[inline]
    pub(crate) fn known_class(&self, class: ClassId) -> ClassId {
        ClassId(class.0.min((self.class_count - 1) as u8))
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("generation", &self.generation)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl CompiledRoute {
    fn matches(&self, tenant: TenantId, class: ClassId, labels: &BTreeMap<String, String>) -> bool {
        self.tenant.is_none_or(|wanted| wanted == tenant)
            && self.classes.checked_shr(u32::from(class.0)).is_some_and(|bits| bits & 1 == 1)
            && self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), Error> {
    if count > most { Err(Error::TooMany { what, count, most }) } else { Ok(()) }
}

fn check_name(taken: &[String], name: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Name { name: name.to_owned(), reason });
    if taken.iter().any(|other| other == name) {
        return refuse("it is taken");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > limits::NAME_BYTES || !name.bytes().all(allowed) {
        return refuse("it must be 1 to 63 bytes of [A-Za-z0-9._-]");
    }
    Ok(())
}

fn compile(
    position: usize,
    route: Route,
    classes: &Classes,
    names: &[String],
    policies: &[Policy],
    choices: &mut [Vec<u16>; 3],
) -> Result<CompiledRoute, Error> {
    let Route { agents, health, cadence, recovery } = route;
    let mut bits = if agents.classes.is_empty() { u16::MAX } else { 0 };
    for class in agents.classes {
        let id = classes
            .find(&class)
            .ok_or(Error::UnknownClass { route: position, class: class.clone() })?;
        bits |= 1 << id.0;
    }
    let mut picks = [None; 3];
    for (question, wanted) in [health, cadence, recovery].into_iter().enumerate() {
        let Some(wanted) = wanted else { continue };
        let index = names
            .iter()
            .position(|name| *name == wanted)
            .ok_or(Error::UnknownPolicy { route: position, policy: wanted.clone() })?;
        if index > 0 && !policies[index - 1].answers(question) {
            let question = QUESTIONS[question];
            return Err(Error::WrongQuestion { route: position, policy: wanted, question });
        }
        let index = index as u16;
        let choices = &mut choices[question];
        let at = choices.iter().position(|&known| known == index).unwrap_or_else(|| {
            choices.push(index);
            choices.len() - 1
        });
        picks[question] = Some(at as u16);
    }
    Ok(CompiledRoute { tenant: agents.tenant, classes: bits, labels: agents.labels, picks })
}

/// Every assignment that can happen, health the slowest and class the fastest to change.
fn table(
    choices: &[Vec<u16>; 3],
    classes: &Classes,
    policies: &[Policy],
) -> Result<Vec<Entry>, Error> {
    let [healths, cadences, recoveries] = choices;
    let class_count = classes.iter().count();
    let count = healths.len() * cadences.len() * recoveries.len() * class_count;
    at_most("combinations of policies and classes", count, ASSIGNMENTS_MAX)?;
    let mut table = Vec::with_capacity(count);
    for &health in healths {
        for &cadence in cadences {
            for &recovery in recoveries {
                for class in 0..class_count {
                    let early = early_rules(policies, [cadence, health], class);
                    table.push(Entry { health, cadence, recovery, early });
                }
            }
        }
    }
    Ok(table)
}

fn early_rules(policies: &[Policy], of: [u16; 2], class: usize) -> Vec<EarlyRule> {
    let mut rules: Vec<EarlyRule> = Vec::new();
    for index in of {
        let Some(at) = usize::from(index).checked_sub(1) else { continue };
        for rule in &policies[at].classes[class].early {
            if rules.len() < limits::EARLY_RULES && !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

impl Policy {
    /// Whether it answers a question, by position in [`QUESTIONS`].
    fn answers(&self, question: usize) -> bool {
        let exports = &self.prepared.exports;
        [exports.health.is_some(), exports.cadence.is_some(), exports.recovery.is_some()][question]
    }
}
