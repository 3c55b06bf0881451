//! A body: a webhook, one to ignore, or a failure that repeats nothing of it.
#![no_main]

#[path = "../../tests/it/properties/webhook.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::holds(input));
