//! Grants that nobody can be told of any more, which are taken back and cost nobody a TTL; and how
//! many leases there may be.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use pulsegate_core::TenantId;
use pulsegate_gateway::lease::{Ask, NotAcquired, Refusal};
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::limits;

use super::restart::start_in;
use crate::process::Scratch;
use crate::quic_client::run;
use crate::support::start;

const TTL_MS: u32 = 60_000;

fn ask(holder: &str, wait: Duration) -> Ask<'_> {
    Ask { tenant: TenantId(0), name: "leader", holder, ttl_ms: TTL_MS, wait }
}

/// Lets a request go as far as it gets at once; whether it waits.
async fn begin<T>(request: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
    poll_fn(|context| Poll::Ready(request.as_mut().poll(context).is_pending())).await
}

fn holders(gateway: &Gateway) -> Vec<String> {
    gateway.leases().list(TenantId(0), "", 9, |info| info.holder.to_owned()).0
}

#[test]
fn a_grant_whose_client_has_gone_before_it_was_durable_is_taken_back() {
    let scratch = Scratch::new("gone");
    let gateway = start_in(&scratch);
    run(async {
        let mut gone = Box::pin(gateway.leases().acquire(ask("a", Duration::ZERO)));
        assert!(begin(&mut gone).await, "the disk cannot be so quick");
        assert_eq!(holders(&gateway), [""; 0], "it is not told yet, to anybody");
        drop(gone);
        let held = gateway.leases().acquire(ask("b", Duration::ZERO)).await.expect("it is free");
        assert_eq!(held.grant.token & 0xffff_ffff, 2, "the first token was spent");
        gateway.shutdown(Duration::from_secs(10)).await;
    });
    let gateway = start_in(&scratch);
    assert_eq!(holders(&gateway), ["b"]);
}

#[test]
fn who_is_refused_for_a_grant_that_is_not_durable_learns_so_when_it_is() {
    let scratch = Scratch::new("untold");
    let gateway = start_in(&scratch);
    run(async {
        let mut first = Box::pin(gateway.leases().acquire(ask("a", Duration::ZERO)));
        let mut second = Box::pin(gateway.leases().acquire(ask("b", Duration::ZERO)));
        assert!(begin(&mut first).await && begin(&mut second).await);
        second.await.expect_err("a holds it");
        assert_eq!(first.await.expect("it was free").grant.holder, "a");
    });
}

#[test]
fn a_turn_that_comes_when_its_client_has_gone_goes_to_the_next() {
    let gateway = start("");
    run(async {
        let leases = gateway.leases();
        let wait = Duration::from_secs(20);
        let first = leases.acquire(ask("a", Duration::ZERO)).await.expect("it is free");
        let mut gone = Box::pin(leases.acquire(ask("b", wait)));
        let mut next = Box::pin(leases.acquire(ask("c", wait)));
        assert!(begin(&mut gone).await && begin(&mut next).await);
        let released = leases.release(TenantId(0), "leader", first.grant.token).await;
        assert_eq!(released, Ok(true));
        // It is b's turn, and nobody is there to be told.
        drop(gone);
        let served = next.await.expect("c is served");
        assert_eq!(served.grant.token, first.grant.token + 2);
        assert_eq!(holders(&gateway), ["c"]);
    });
}

#[test]
fn a_long_listing_has_every_lease_once() {
    let gateway = start("");
    run(async {
        let names: Vec<String> = (0..600).map(|number| format!("lease-{number:03}")).collect();
        for (place, name) in names.iter().enumerate() {
            let holder = format!("holder-{}", place % 10);
            let ask = Ask { name, ..ask(&holder, Duration::ZERO) };
            gateway.leases().acquire(ask).await.expect("it is free");
        }
        for (limit, more) in [(255, true), (256, true), (599, true), (600, false), (1_000, false)] {
            let list = gateway.leases().list(TenantId(0), "", limit, |info| info.name.to_owned());
            assert_eq!(list.0, names[..limit.min(600)], "{limit}");
            assert_eq!(list.1, more, "{limit}");
        }
    });
}

#[test]
fn one_holder_has_at_most_sixty_four_leases() {
    let gateway = start("");
    run(async {
        for number in 0..limits::LEASES_PER_HOLDER {
            let name = format!("lease-{number}");
            let ask = Ask { name: &name, ..ask("a", Duration::ZERO) };
            gateway.leases().acquire(ask).await.expect("there is room");
        }
        let refused = gateway.leases().acquire(ask("a", Duration::ZERO)).await;
        assert_eq!(refused, Err(NotAcquired::Refused(Refusal::TooMany)));
        gateway.leases().acquire(ask("b", Duration::ZERO)).await.expect("others may");
    });
}
