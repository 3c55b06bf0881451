//! A header and a body: accepted if and only if signed with a known secret.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testkit::properties::signature::holds(input));
