//! The body of `PUT /v1/agents/{id}`.

use prost::Message as _;
use pulsegate_gateway::api::registration_body;
use pulsegate_wire::{ProbeKind, Registration, limits};

use crate::heartbeats::{is_name, is_text};
use crate::problem::assert_clear;

/// The body of `PUT /v1/agents/{id}`, in JSON.
pub fn registration_json(bytes: &[u8]) {
    match registration_body(bytes) {
        Ok(registration) => {
            assert_within_limits(&registration);
            let body = serde_json::to_vec(&registration).expect("it has a JSON form");
            assert_eq!(registration_body(&body).as_ref(), Ok(&registration));
            let again = Registration::decode(registration.encode_to_vec().as_slice());
            assert_eq!(again, Ok(registration));
        }
        Err(problem) => assert_clear(&problem),
    }
}

/// Every limit of a registration, written down once more.
pub(crate) fn assert_within_limits(registration: &Registration) {
    let Registration { class, labels, endpoint, capabilities, probe } = registration;
    assert!(class.as_deref().is_none_or(is_name));
    assert!(labels.len() <= limits::LABELS);
    for (name, value) in labels {
        assert!(is_name(name) && is_text(value, limits::LABEL_VALUE_BYTES));
    }
    assert!(endpoint.as_deref().is_none_or(|text| is_text(text, limits::ENDPOINT_BYTES)));
    assert!(capabilities.len() <= limits::CAPABILITIES);
    assert!(capabilities.iter().all(|capability| is_name(capability)));
    let Some(probe) = probe else { return };
    assert!((1..=65_535).contains(&probe.port));
    assert!(is_text(&probe.path, limits::PROBE_PATH_BYTES));
    match ProbeKind::from_number(probe.kind) {
        ProbeKind::Tcp => assert!(probe.path.is_empty()),
        ProbeKind::Http => assert!(probe.path.starts_with('/') && !probe.path.starts_with("//")),
    }
}
