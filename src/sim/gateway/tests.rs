//! Tests of the simulated gateway.

use super::*;
use crate::lives::{Crashes, Lives};
use crate::network::Network;
use crate::server::{HOUR, MINUTE};
use crate::world::{Act, Setting, World};

fn gateway(options: Options) -> Gateway {
    Gateway::new(options).expect("the built-in policy needs nothing")
}

fn checked() -> Options {
    let disk = Some(Disk::default());
    let executors = Some(Executors::default());
    Options { agents: 30, disk, executors, checked: true, ..Options::default() }
}

#[test]
fn a_fleet_that_fares_well_beats_every_thirty_seconds_and_nothing_is_wrong() {
    let setting = Setting { agents: 30, ..Setting::default() };
    let mut world = World::new(&setting, gateway(checked()), ());
    world.run_until(HOUR);
    world.server.finish(HOUR, Vec::new());
    assert_eq!(world.server.violations(), []);
    assert!((0..30).all(|agent| world.server.standing(agent) == Standing::Alive));
    let per_agent = world.handled() as f64 / 30.0;
    assert!((120.0..134.0).contains(&per_agent), "{per_agent} in an hour");
}

#[test]
fn crashes_are_noticed_and_recovered_and_restarts_of_the_gateway_lose_nothing() {
    let crashes = Crashes { every: HOUR, down: 30 * MINUTE, warned: 0.3, leaves: 0.2 };
    let setting = Setting {
        agents: 30,
        network: Network { loss: 0.05, duplicates: 0.05, held_up: 0.05, ..Network::default() },
        lives: Lives { crashes: Some(crashes), ..Lives::default() },
        script: vec![
            (HOUR, Act::Crash),
            (HOUR + 5 * MINUTE, Act::Recover),
            (2 * HOUR, Act::Stall(3 * MINUTE)),
        ],
        leases: 3,
        rivals: 3,
        ..Setting::default()
    };
    let options = Options { leases: 3, ..checked() };
    let mut world = World::new(&setting, gateway(options), ());
    world.run_until(5 * HOUR);
    world.server.finish(5 * HOUR, Vec::new());
    assert_eq!(world.server.violations(), []);
    assert_eq!(world.server.leases_held(), 3);
}
