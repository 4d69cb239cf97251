//! What a holder may count on, and what it must not ask.

extern crate std;

use alloc::string::ToString;
use alloc::vec::Vec;

use prost::Message;

use super::*;
use crate::{Directive, LeaseGrant, Problem};

#[test]
fn a_holder_never_counts_longer_than_the_gateway() {
    // Real time from the sending to the end of each count, in parts of a millisecond: the holder's
    // clock as slow as it may be, the gateway's as fast.
    let (million, drift) = (1_000_000_u128, u128::from(CLOCK_DRIFT_PPM));
    let ttls = (3_000..20_000).chain([60_000, 3_600_000, limits::LEASE_TTL_MAX_MS.into()]);
    for ttl_ms in ttls {
        let validity = u128::from(holder_validity_ms(ttl_ms));
        let holder = validity * million * million / (million - drift);
        // Handled at the end of a millisecond that was read as its beginning.
        let gateway = u128::from(ttl_ms - 1) * million * million / (million + drift);
        assert!(holder <= gateway, "TTL {ttl_ms} ms: {holder} against {gateway}");
        let lost = ttl_ms - holder_validity_ms(ttl_ms);
        assert!(lost <= ttl_ms / 1_000 + 2, "TTL {ttl_ms} ms loses {lost} ms, more than it must");
    }
    assert_eq!(holder_validity_ms(0), 0);
    assert!(holder_validity_ms(u64::MAX) < u64::MAX / 1_000_000);
}

#[test]
fn the_time_in_line_counts_with_the_ttl() {
    let hold = LeaseHold { ttl_ms: 10_000, waited_ms: 2_000, ..LeaseHold::default() };
    assert_eq!(hold.counted_ms(), 12_000);
}

#[test]
fn a_directive_with_every_lease_of_a_holder_fits_into_a_frame() {
    let lease = LeaseGrant {
        name: "x".repeat(limits::LEASE_NAME_BYTES),
        token: limits::INTEGER,
        ttl_ms: limits::LEASE_TTL_MAX_MS.into(),
    };
    let leases = std::vec![lease; limits::LEASES_PER_HOLDER];
    let length = Directive { leases, ..Directive::default() }.encoded_len();
    assert!(length <= limits::HEARTBEAT_BYTES * 2 / 3, "{length} bytes leave no room for the rest");
}

/// Field and limit of what is refused.
fn refused(checked: Checked) -> Option<(alloc::string::String, Option<f64>)> {
    checked.err().map(|problem: alloc::boxed::Box<Problem>| {
        (problem.field.unwrap_or_default(), problem.limit)
    })
}

#[test]
fn requests_are_checked_field_by_field() {
    let good = Acquire { holder: "a".to_string(), ttl_ms: 3_000, wait_ms: 25_000 };
    assert_eq!(refused(good.validate()), None);
    let cases = [
        (Acquire { holder: "a b".to_string(), ..good.clone() }, "holder", 128.0),
        (Acquire { ttl_ms: 2_999, ..good.clone() }, "ttl_ms", 3_000.0),
        (Acquire { ttl_ms: 86_400_001, ..good.clone() }, "ttl_ms", 86_400_000.0),
        (Acquire { wait_ms: 25_001, ..good }, "wait_ms", 25_000.0),
    ];
    for (request, field, limit) in cases {
        assert_eq!(refused(request.validate()), Some((field.to_string(), Some(limit))));
    }
    let too_large = limits::INTEGER + 1;
    let token = Some(("token".to_string(), Some(limits::INTEGER as f64)));
    assert_eq!(refused(Renew { token: too_large, ttl_ms: 0 }.validate()), token);
    assert_eq!(refused(Release { token: too_large }.validate()), token);
    assert_eq!(refused(Renew { token: 1, ttl_ms: 0 }.validate()), None, "the TTL stays");
    assert!(refused(Renew { token: 1, ttl_ms: 1 }.validate()).is_some());
    assert!(refused(check_name("..")).is_some_and(|(field, _)| field == "name"));
    assert_eq!(refused(check_name("leader:shop@eu-1")), None);
}

#[test]
fn a_hold_reads_as_documented() {
    let hold = LeaseHold { name: "n".into(), holder: "h".into(), token: 9, ..LeaseHold::default() };
    let text = serde_json::to_string(&hold).unwrap();
    assert_eq!(text, r#"{"name":"n","holder":"h","token":9,"ttl_ms":0}"#);
    let verdicts = [CheckVerdict::Valid, CheckVerdict::Superseded, CheckVerdict::Free];
    let words: Vec<_> = verdicts.map(|word| serde_json::to_value(word).unwrap()).into();
    assert_eq!(words, ["valid", "superseded", "free"]);
}
