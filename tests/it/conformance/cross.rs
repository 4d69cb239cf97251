//! Several transports at one gateway: an agent is the same agent over each of them.

use pulsegate_wire::{Directive, Heartbeat, Outcome};

use super::client::{Client, Reply};
use super::differences::Differs;
use super::drivers::{TRANSPORTS, Transport};
use super::world::Setting;

/// A client of each transport that a gateway with or without TLS speaks.
fn clients(
    gateway: &pulsegate_gateway::server::Gateway,
    is_tls: bool,
) -> Vec<(&'static Transport, Box<dyn Client>)> {
    let spoken = TRANSPORTS.iter().filter(|transport| transport.is_tls == is_tls);
    spoken.map(|transport| (transport, (transport.connect)(gateway, None))).collect()
}

fn beat(client: &mut (&'static Transport, Box<dyn Client>), heartbeat: &Heartbeat) -> Directive {
    let (transport, client) = client;
    match client.send(&transport.form.encode(heartbeat)) {
        Reply::Directive(directive) => *directive,
        other => panic!("{}: {other:?}", transport.name),
    }
}

fn heartbeat(agent_id: String, sequence: u64) -> Heartbeat {
    Heartbeat { agent_id, incarnation: 1, sequence, ..Heartbeat::default() }
}

#[test]
fn a_heartbeat_repeated_over_another_transport_gets_the_same_directive_jitter_included() {
    for is_tls in [false, true] {
        let gateway = Setting::Open.gateway(is_tls);
        let mut clients = clients(&gateway, is_tls);
        for first in 0..clients.len() {
            for sequence in 1..=3 {
                let heartbeat = heartbeat(format!("agent-{first}"), sequence);
                let directive = beat(&mut clients[first], &heartbeat);
                assert_eq!((directive.number, directive.outcome()), (sequence, Outcome::Accepted));
                for other in &mut clients {
                    let again = beat(other, &heartbeat);
                    assert_eq!(again.outcome(), Outcome::Duplicate, "{}", other.0.name);
                    let same = Directive { outcome: Outcome::Accepted as i32, ..again };
                    assert_eq!(same, directive, "{}", other.0.name);
                }
            }
        }
    }
}

#[test]
fn an_agent_may_take_another_transport_for_every_heartbeat() {
    for is_tls in [false, true] {
        let gateway = Setting::Open.gateway(is_tls);
        let mut clients = clients(&gateway, is_tls);
        let count = clients.len();
        for sequence in 1..=3 * count {
            let heartbeat = heartbeat("nomad".into(), sequence as u64);
            let directive = beat(&mut clients[sequence % count], &heartbeat);
            assert_eq!(directive.outcome(), Outcome::Accepted);
        }
    }
}

#[test]
fn what_does_not_fit_into_a_packet_is_not_sent_and_the_next_heartbeat_is() {
    let gateway = Setting::Open.gateway(true);
    for client in &mut clients(&gateway, true) {
        if !client.0.differs(Differs::Size) {
            continue;
        }
        let labels = (0..8).map(|number| (format!("n{number}"), "x".repeat(255))).collect();
        let large = Heartbeat { labels, ..heartbeat("large".into(), 1) };
        assert_eq!(client.1.send(&client.0.form.encode(&large)), Reply::Unsent);
        let directive = beat(client, &heartbeat("large".into(), 2));
        assert_eq!(directive.outcome(), Outcome::Accepted);
    }
}
