//! AMQP properties and field tables: a message survives every hop.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testkit::properties::message::holds(input));
