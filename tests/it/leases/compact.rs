//! Renewal by the compact protocol: streams, datagrams, and early data, which renews nothing.

use std::time::Duration;

use prost::Message as _;
use pulsegate_core::TenantId;
use pulsegate_gateway::lease::Ask;
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::{ALPN, FromServer, LeaseGrant};

use crate::quic::comes_back;
use crate::quic_client::{
    Network, Stream, TLS, address, beat, connect, datagram, directive, endpoint, heartbeat_frame,
    run, sequence, until,
};
use crate::support::start;

const TTL_MS: u32 = 60_000;

/// Gives the lease `leader` to the agent `a`; what its directives are to say of it.
async fn grant(gateway: &Gateway) -> Vec<LeaseGrant> {
    let ask = Ask {
        tenant: TenantId(0),
        name: "leader",
        holder: "a",
        ttl_ms: TTL_MS,
        wait: Duration::ZERO,
    };
    let grant = gateway.leases().acquire(ask).await.expect("it is free").grant;
    vec![LeaseGrant { name: grant.name, token: grant.token, ttl_ms: TTL_MS.into() }]
}

fn remaining_ms(gateway: &Gateway) -> u64 {
    let (left, _) = gateway.leases().list(TenantId(0), "", 1, |info| info.remaining_ms);
    left[0]
}

/// Lets some of the TTL pass.
async fn age(gateway: &Gateway) {
    until("time passes", || remaining_ms(gateway) + 100 < u64::from(TTL_MS)).await;
}

#[test]
fn heartbeats_on_streams_and_in_datagrams_renew_what_their_agent_holds() {
    let gateway = start(TLS);
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        assert_eq!(directive(stream.beat(beat("a", 1)).await).leases, []);
        let held = grant(&gateway).await;
        age(&gateway).await;
        assert_eq!(directive(stream.beat(beat("a", 2)).await).leases, held);
        assert!(remaining_ms(&gateway) + 100 > TTL_MS.into());
        assert_eq!(directive(stream.beat(beat("b", 1)).await).leases, []);
        age(&gateway).await;
        let frame = heartbeat_frame(beat("a", 3)).encode_to_vec();
        connection.send_datagram(frame.into()).unwrap();
        let FromServer::Answer(answer) = datagram(&connection).await else { panic!() };
        assert_eq!(directive(*answer).leases, held);
        assert!(remaining_ms(&gateway) + 100 > TTL_MS.into());
    });
}

#[test]
fn early_data_renews_its_agent_and_no_lease() {
    let gateway = start(TLS);
    run(async {
        let network = Network::before(address(&gateway)).await;
        let endpoint = endpoint(ALPN.as_bytes());
        let held = grant(&gateway).await;
        let (connection, accepted) = comes_back(&endpoint, network.address, &network).await;
        age(&gateway).await;
        let before_ms = remaining_ms(&gateway);
        let mut stream = Stream::open(&connection).await;
        stream.send(&heartbeat_frame(beat("a", 2))).await;
        until("renewed early", || sequence(&gateway, "a") == Some(2)).await;
        assert!(remaining_ms(&gateway) <= before_ms);
        network.set_mute(false);
        assert!(accepted.await, "early data was read");
        let early = directive(stream.answer().await);
        assert_eq!((early.number, early.leases), (2, vec![]));
        assert_eq!(directive(stream.beat(beat("a", 3)).await).leases, held);
        assert!(remaining_ms(&gateway) > before_ms);
    });
}
