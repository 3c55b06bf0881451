//! Webhooks in one batch against the same webhooks one by one, in any order.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testkit::properties::merge::holds(input));
