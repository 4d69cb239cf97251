//! Who may beat, and for which tenant.

use pulsegate_core::TenantId;
use pulsegate_wire::{Code, Outcome};

use super::cases;
use crate::conformance::client::Reply;
use crate::conformance::differences::Differs;
use crate::conformance::world::{Setting, World};
use crate::support::{BLUE, CREDENTIALS, RED, config};

cases! {
    Credentials:
        without_a_credential_nothing_is_taken,
        a_credential_names_the_tenant_and_nothing_else_does,
        a_credential_that_is_revoked_ends_with_the_reload;
    Credentials without Credentials:
        a_credential_that_is_not_known_is_refused_with_each_heartbeat;
    Credentials:
        a_credential_that_is_not_known_has_the_same_code;
}

fn without_a_credential_nothing_is_taken(world: &mut World<'_>) {
    for sequence in 1..=2 {
        let heartbeat = world.heartbeat(1, sequence);
        world.refused(&heartbeat, Code::Unauthenticated);
    }
    assert!(!world.is_known(world.case));
}

fn a_credential_names_the_tenant_and_nothing_else_does(world: &mut World<'_>) {
    for (token, tenant) in [(RED, "red"), (BLUE, "blue")] {
        world.introduce(token, tenant);
        assert!(!world.is_known(world.case), "each tenant has an agent of this name");
        assert_eq!(world.directive(1, 1).outcome(), Outcome::Accepted);
        assert!(world.is_known(world.case));
        assert_eq!(world.directive(1, 1).outcome(), Outcome::Duplicate);
    }
    let of_nobody = world.gateway.shards().find(TenantId(0), world.case, |_| ());
    assert!(of_nobody.is_none());
}

fn a_credential_that_is_not_known_is_refused_with_each_heartbeat(world: &mut World<'_>) {
    world.introduce("not the token at all", "nobody");
    for sequence in 1..=2 {
        let heartbeat = world.heartbeat(1, sequence);
        world.refused(&heartbeat, Code::Unauthenticated);
    }
}

/// A connection that is refused has carried no heartbeat, so none is counted as rejected.
fn a_credential_that_is_not_known_has_the_same_code(world: &mut World<'_>) {
    world.leave_out("pulsegate_heartbeats_total{transport=\"this one\",outcome=\"rejected\"}");
    let before = world.counted("pulsegate_problems_total{code=\"unauthenticated\"}");
    world.introduce("not the token at all", "nobody");
    let heartbeat = world.heartbeat(1, 1);
    let body = world.form().encode(&heartbeat);
    let reply = world.send_unnoted(&body);
    assert_eq!(reply.code(), Some(Code::Unauthenticated));
    assert_eq!(matches!(reply, Reply::Closed(_)), world.differs(Differs::Credentials));
    let after = world.counted("pulsegate_problems_total{code=\"unauthenticated\"}");
    assert_eq!(after, before + 1);
    assert!(!world.is_known(world.case));
}

fn a_credential_that_is_revoked_ends_with_the_reload(world: &mut World<'_>) {
    world.introduce(BLUE, "blue");
    world.directive(1, 1);
    let all = Setting::Credentials.toml(world.transport.is_tls);
    // That of the red tenant stays.
    let second = CREDENTIALS.rfind("[[credentials]]").expect("two of them");
    let one = all.replace(&CREDENTIALS[second..], "");
    world.gateway.reload(&config(&one)).expect("it is taken");
    let heartbeat = world.heartbeat(1, 2);
    world.refused(&heartbeat, Code::Unauthenticated);
    world.gateway.reload(&config(&all)).expect("it is taken");
    assert_eq!(world.directive(1, 2).outcome(), Outcome::Accepted);
}
