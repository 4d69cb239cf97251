//! A component of what a compiler made.
//!
//! Compilers make core modules; what such a module means as a component stands in a custom section
//! that the bindings of its language put there. So the last step of a build needs no tool of its
//! own: wherever a policy is read, a module will do.

use std::borrow::Cow;

use wit_component::ComponentEncoder;

use crate::log::clean_line;

/// What each binary begins with: the magic number, then version and layer of a core module.
/// Source: WebAssembly core specification, section 5.5.16.
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// What the name of the section begins with. Source: wit-component, `metadata`.
const SECTION: &[u8] = b"component-type";

/// Makes a component of a core module that says in a section what it is, as bindings for Rust and
/// C have it; anything else is handed back as it is, for the engine to judge.
///
/// # Errors
/// What is missing in the module, in one line.
pub fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !bytes.starts_with(&MODULE) {
        return Ok(Cow::Borrowed(bytes));
    }
    // Without it the encoder would make a component of nothing.
    if !bytes.windows(SECTION.len()).any(|window| window == SECTION) {
        return Err(
            "a module without a component-type section, which the bindings of the SDK and \
                    of wit-bindgen put into it"
                .into(),
        );
    }
    ComponentEncoder::default()
        .module(bytes)
        .and_then(|encoder| encoder.validate(true).encode())
        .map(Cow::Owned)
        .map_err(|error| clean_line(&format!("{error:#}")))
}
