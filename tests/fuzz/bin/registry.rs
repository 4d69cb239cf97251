#![no_main]
#![allow(missing_docs, reason = "the target itself says what must hold")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pulsegate_fuzz::registry(bytes));
