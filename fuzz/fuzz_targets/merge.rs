//! Webhooks in one batch against the same ones by one, in any order.
#![no_main]

#[path = "../../tests/it/properties/merge.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::holds(input));
