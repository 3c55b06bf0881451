//! A body: a webhook, an ignored type, or a failure whose reason repeats none of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testkit::properties::webhook::holds(input));
