//! Every state of small configurations: the table as it is, explored exhaustively by
//! [`explorer`](crate::testing::explorer), with numbers fixed as in the machine's `tests::model`.
//!
//! Time goes in units of 1 s; TTLs are three units, the shortest there may be, or four. Holders
//! count by the slowest clock allowed, and the gateway by the fastest, in milliseconds, so that a
//! drift that is not counted shows. A request may have been on its way for a unit; an answer comes
//! at once, which is when a holder counts on it for longest, or never.

mod play;

use alloc::string::String;
use alloc::vec::Vec;

use self::play::Input::{
    Acquire, Beat, Cancel, Commit, Crash, Freeze, Release, ReleaseOld, Renew, RenewOld, Revoke,
    Step, TimeOut,
};
use self::play::{Input, Play};
use super::super::table::Lease;
use super::super::*;
use crate::testing::explorer::{Space, explore};

const TENANT: TenantId = TenantId(3);
const NAMES: u8 = 2;
/// The unit of time.
const UNIT_MS: u64 = 1_000;
/// Units until whoever waits in line gives up.
const PATIENCE: u8 = 4;
/// Units that a request waits for the journal at most.
const SLOWEST: u64 = 1;
/// Most requests that wait for the journal before another comes; and most in line.
const PENDING: usize = 2;
const PLACES: usize = 2;

/// Two who want one lease, and a journal.
const BASICS: [Input; 7] = [
    Step,
    Acquire(0, 0, 3, false, 0),
    Acquire(1, 0, 3, false, 1),
    Commit(true),
    Commit(false),
    Release(0, 0),
    Release(1, 0),
];
const RENEWALS: [Input; 5] = [
    Renew(0, 0, None, 1, true),
    Renew(0, 0, None, 0, false),
    Renew(0, 0, Some(4), 0, true),
    RenewOld(0),
    ReleaseOld(0),
];
const LINE: [Input; 4] =
    [Acquire(1, 0, 3, true, 1), Acquire(0, 0, 3, true, 0), Acquire(2, 0, 3, true, 0), Cancel];
const BEATS: [Input; 4] = [
    Beat(0, true, 0, true),
    Beat(0, true, 1, false),
    Beat(1, true, 1, true),
    Beat(0, false, 0, true),
];
const CRASHES: [Input; 3] = [Crash(0), Crash(1), Crash(2)];
const FREEZES: [Input; 2] = [Freeze(true), Freeze(false)];

fn explored(keeps: usize, more: &[&[Input]]) -> Space {
    let alphabet = [&BASICS, &more.concat()[..]].concat();
    explore(&mut Play { alphabet, keeps }).unwrap_or_else(|found| panic!("{found:?}"))
}

const fn space(states: usize, transitions: usize, depth: usize) -> Space {
    Space { states, transitions, depth }
}

#[test]
fn a_lease_has_one_holder_in_every_state() {
    assert_eq!(explored(1, &[&RENEWALS, &[TimeOut]]), space(337, 2_862, 11));
    assert_eq!(explored(1, &[&BEATS, &[Revoke(0)]]), space(1_130, 10_168, 15));
    assert_eq!(explored(1, &[&LINE, &RENEWALS[..1]]), space(3_722, 19_307, 12));
    assert_eq!(explored(1, &[&FREEZES, &RENEWALS, &[TimeOut]]), space(853, 7_330, 13));
    assert_eq!(explored(2, &[&CRASHES, &RENEWALS]), space(540, 5_207, 14));
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn a_lease_has_one_holder_in_a_large_space() {
    let all = [&RENEWALS[..], &LINE, &BEATS, &CRASHES[..2], &FREEZES, &[TimeOut, Revoke(0)]];
    assert_eq!(explored(1, &all), space(706_554, 10_824_911, 26));
}

#[test]
#[ignore = "millions of states; in release, with --ignored"]
fn three_holders_and_two_leases_in_a_large_space() {
    let more = [Acquire(0, 1, 3, false, 0), Acquire(1, 1, 4, true, 0), Release(0, 1)];
    assert_eq!(
        explored(1, &[&more, &LINE, &BEATS[..1], &CRASHES[..1]]),
        space(855_289, 7_023_370, 22)
    );
}
