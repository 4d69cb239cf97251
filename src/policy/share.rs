//! Which agents a candidate gets: none but to watch, a percentage, or those with certain labels.
//!
//! A percentage is of a hash of the agent and of the policy's name. So the same agents go first
//! each time, whatever the revision and however often the gateway starts; raising the percentage
//! only adds agents; and the agents that go first for one policy are not those that do for another.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::Revision;

/// Hundredths of a percent in a whole.
pub const WHOLE: u16 = 10_000;

/// What a name that routes use stands for.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The revision that is obeyed. Without one, routes that name it are as if they did not.
    pub enforced: Option<Revision>,
    /// A revision on trial beside it.
    pub candidate: Option<(Revision, Share)>,
}

/// Which agents a candidate judges, paces and recovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// None: it is evaluated beside what is enforced, compared, and never obeyed.
    Shadow,
    /// This many hundredths of a percent of the agents, by hash: 1 to [`WHOLE`].
    Percent(u16),
    /// Agents that have all of these labels.
    Labels(BTreeMap<String, String>),
}

/// A [`Share`] of one name, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    share: Share,
    seed: u64,
}

impl Chosen {
    pub(crate) fn new(name: &str, share: Share) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        Self { share, seed: u64::from_be_bytes(std::array::from_fn(|at| digest[at])) }
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.share == Share::Shadow
    }

    /// Whether it judges the agent with this hash and these labels.
    pub(crate) fn takes(&self, hash: u64, labels: &BTreeMap<String, String>) -> bool {
        match &self.share {
            Share::Shadow => false,
            Share::Percent(share) => self.place(hash) < *share,
            Share::Labels(wanted) => {
                wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
            }
        }
    }

    /// Where an agent stands in the order in which agents come in: 0 to [`WHOLE`] - 1.
    fn place(&self, hash: u64) -> u16 {
        let mixed = mix(hash ^ self.seed);
        ((u128::from(mixed) * u128::from(WHOLE)) >> 64) as u16
    }
}

/// Source: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &BTreeMap<String, String> = &BTreeMap::new();

    fn taken(name: &str, share: u16) -> Vec<u64> {
        let chosen = Chosen::new(name, Share::Percent(share));
        (0..20_000).filter(|hash| chosen.takes(*hash, NONE)).collect()
    }

    #[test]
    fn a_larger_percentage_only_adds_agents() {
        let mut before = Vec::new();
        for share in [1, 100, 1_000, 2_500, 5_000, 9_999, WHOLE] {
            let now = taken("steady", share);
            assert!(before.iter().all(|hash| now.contains(hash)), "{share}");
            before = now;
        }
        assert_eq!(before.len(), 20_000, "a hundred percent is everybody");
    }

    #[test]
    fn the_share_is_what_was_asked_for() {
        for share in [100, 1_000, 5_000] {
            let expected = 20_000.0 * f64::from(share) / f64::from(WHOLE);
            let count = taken("steady", share).len() as f64;
            // Five standard deviations of a binomial; hashes and seed are fixed.
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{share}: {count}");
        }
    }

    #[test]
    fn who_goes_first_for_one_policy_does_not_for_another() {
        let (one, other) = (taken("steady", 1_000), taken("ladder", 1_000));
        let both = one.iter().filter(|hash| other.contains(hash)).count();
        assert!((100..300).contains(&both), "{both} of 2,000 by chance are 200");
    }

    #[test]
    fn labels_must_all_be_there_and_a_shadow_takes_nobody() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let chosen = Chosen::new("p", Share::Labels(map(&[("ring", "0"), ("tier", "web")])));
        assert!(chosen.takes(0, &map(&[("ring", "0"), ("tier", "web"), ("more", "x")])));
        assert!(!chosen.takes(0, &map(&[("ring", "0")])));
        assert!(!chosen.takes(0, &map(&[("ring", "1"), ("tier", "web")])));
        let shadow = Chosen::new("p", Share::Shadow);
        assert!(shadow.is_shadow() && (0..1_000).all(|hash| !shadow.takes(hash, NONE)));
    }
}
