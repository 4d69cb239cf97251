//! The contract in `wit/` as Rust: one part for each interface, so that a policy exports exactly
//! those that it answers. The component encoder puts the parts together again.

#![allow(missing_docs, reason = "generated; the words are documented in wit/")]
#![allow(unsafe_code, reason = "generated: the canonical ABI passes pointers")]
#![allow(clippy::all, reason = "generated")]

/// The shared words.
pub mod types_part {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "types-part",
        runtime_path: "::pulsegate_sdk::wit_bindgen::rt",
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

/// What every policy exports, and the log that it may import.
pub mod manifest_part {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "manifest-part",
        runtime_path: "::pulsegate_sdk::wit_bindgen::rt",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// What a policy exports that judges.
pub mod health_part {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "health-part",
        runtime_path: "::pulsegate_sdk::wit_bindgen::rt",
        pub_export_macro: true,
        with: {
            "pulsegate:policy/types@1.0.0":
                ::pulsegate_sdk::bindings::types_part::pulsegate::policy::types,
        },
        additional_derives: [PartialEq],
    });
}

/// What a policy exports that paces.
pub mod cadence_part {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "cadence-part",
        runtime_path: "::pulsegate_sdk::wit_bindgen::rt",
        pub_export_macro: true,
        with: {
            "pulsegate:policy/types@1.0.0":
                ::pulsegate_sdk::bindings::types_part::pulsegate::policy::types,
        },
        additional_derives: [PartialEq],
    });
}

/// What a policy exports that recovers.
pub mod recovery_part {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "recovery-part",
        runtime_path: "::pulsegate_sdk::wit_bindgen::rt",
        pub_export_macro: true,
        with: {
            "pulsegate:policy/types@1.0.0":
                ::pulsegate_sdk::bindings::types_part::pulsegate::policy::types,
        },
        additional_derives: [PartialEq],
    });
}
