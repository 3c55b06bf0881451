//! Header and body against every known secret: accepted exactly if signed.
#![no_main]

#[path = "../../tests/it/properties/signature.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::holds(input));
