//! Classes of agents: what an operator promises for each.

use alloc::string::String;
use alloc::vec::Vec;

/// Index of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassId(pub u8);

/// What an operator promises for the agents of one class. All times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Name, such as `normal`.
    pub name: String,
    /// Interval when nothing else is said.
    pub interval_ms: u32,
    /// The promise: silence is noticed within this time. Cap of the interval =
    /// `detect_within_ms - suspect_grace_ms`.
    pub detect_within_ms: u32,
    /// Slack past the due time before an agent is suspect.
    pub suspect_grace_ms: u32,
    /// Slack past the due time before an agent has failed.
    pub fail_grace_ms: u32,
    /// Slack past the due time before recovery acts without a second witness; at least
    /// `fail_grace_ms`.
    pub act_grace_ms: u32,
    /// Weight in the fleet floor: a class of weight 2 is slowed down twice as much. 0: exempt.
    pub floor_weight: u32,
}

/// The classes of a gateway: at most 16, `normal` among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes(Vec<Class>);

impl Class {
    /// Longest interval that keeps the promise.
    #[must_use]
    pub const fn cap_ms(&self) -> u32 {
        self.detect_within_ms.saturating_sub(self.suspect_grace_ms)
    }

    /// Whether recovery waits longer for an agent that has failed without a second witness.
    #[must_use]
    pub const fn acts_later(&self) -> bool {
        self.act_grace_ms > self.fail_grace_ms
    }
}

impl Classes {
    /// Most classes.
    pub const MAX: usize = 16;

    /// Takes the classes of a configuration; `None` unless there are 1 to 16 and `normal` is
    /// among them.
    #[must_use]
    pub fn new(classes: Vec<Class>) -> Option<Self> {
        let fits = classes.len() <= Self::MAX && classes.iter().any(|class| class.name == "normal");
        fits.then_some(Self(classes))
    }

    /// The class of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ClassId> {
        self.0.iter().position(|class| class.name == name).map(|index| ClassId(index as u8))
    }

    /// The class that an agent gets which names none, or one that is not known.
    #[must_use]
    pub fn normal(&self) -> ClassId {
        self.find("normal").unwrap_or_default()
    }

    /// Every class with its id.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.0.iter().enumerate().map(|(index, class)| (ClassId(index as u8), class))
    }
}

impl core::ops::Index<ClassId> for Classes {
    type Output = Class;
    fn index(&self, id: ClassId) -> &Class {
        &self.0[usize::from(id.0)]
    }
}

impl Default for Classes {
    /// `critical`, `normal` and `background`. Three beats of 30 s or 10 s plus a margin are the
    /// defaults that people know.
    fn default() -> Self {
        let class =
            |name: &str, [interval, detect, suspect, fail, act]: [u32; 5], floor_weight| Class {
                name: name.into(),
                interval_ms: interval * 1_000,
                detect_within_ms: detect * 1_000,
                suspect_grace_ms: suspect * 1_000,
                fail_grace_ms: fail * 1_000,
                act_grace_ms: act * 1_000,
                floor_weight,
            };
        Self(alloc::vec![
            class("critical", [10, 20, 10, 21, 61], 0),
            class("normal", [30, 90, 20, 61, 61], 1),
            class("background", [120, 320, 20, 180, 180], 4),
        ])
    }
}
