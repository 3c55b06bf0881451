//! AMQP properties and field tables: a message that survives every hop.
#![no_main]

#[path = "../../tests/it/properties/message.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::holds(input));
