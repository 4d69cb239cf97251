//! Jitter: early only, and a function of the heartbeat, so that a duplicate gets the same.

/// Finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit of the input moves every bit of
/// the output.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// An interval up to a tenth shorter than `effective_ms`, never below `min_ms`: breaks step among
/// agents that started together, and what is early can never make anyone late.
#[must_use]
pub fn early(effective_ms: u32, min_ms: u32, agent: u64, sequence: u64, incarnation: u64) -> u32 {
    let tenth_less = (u64::from(effective_ms) * 9 / 10) as u32;
    let lowest = tenth_less.max(min_ms).min(effective_ms);
    within(lowest, effective_ms, agent, sequence, incarnation)
}

/// An interval anywhere from `min_ms` to `effective_ms`: for the first directives after a storm
/// of registrations, which would come back as a storm otherwise.
#[must_use]
pub fn spread(effective_ms: u32, min_ms: u32, agent: u64, sequence: u64, incarnation: u64) -> u32 {
    within(min_ms.min(effective_ms), effective_ms, agent, sequence, incarnation)
}

/// Uniform in `[lowest, highest]` by multiplication (Lemire 2019): no division, and a bias below
/// one in 2^32.
fn within(lowest: u32, highest: u32, agent: u64, sequence: u64, incarnation: u64) -> u32 {
    let random = mix(agent ^ mix(sequence ^ incarnation));
    let width = u128::from(highest - lowest) + 1;
    lowest + ((u128::from(random) * width) >> 64) as u32
}
