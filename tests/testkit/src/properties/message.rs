//! Any AMQP properties are read as a message, and every message that banklink publishes from it reads back equal.

use banklink::broker::{Death, Message, Outgoing, Topology};
use banklink::domain::dead_letter::fingerprint;
use banklink::domain::retry::Schedule;
use banklink::domain::timestamp::Timestamp;
use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use lapin::types::parsing::parse_field_table;

/// `input` is a switch byte, then encoded properties or an encoded field table, then a body.
pub fn holds(input: &[u8]) {
    let Some((switch, wire)) = input.split_first() else { return };
    let (body, properties) = if switch % 2 == 0 {
        let Ok(parsed) = parse_properties(wire) else { return };
        parsed
    } else {
        let Ok((body, table)) = parse_field_table(wire) else { return };
        (body, BasicProperties::default().with_headers(table))
    };
    survives(&properties, body);
}

fn survives(properties: &BasicProperties, body: &[u8]) {
    let time = |text| Timestamp::parse(text).expect("a time");
    let (now, later) = (time("2026-06-01T12:00:00.000000001Z"), time("2026-06-01T13:00:00.000000002Z"));
    let topology = Topology::new("ns", Schedule::parse("5s,30s").expect("a schedule"), 20);
    let read = |properties: &BasicProperties| Message::read(properties, body.to_vec().into(), later);

    let message = Message::read(properties, body.to_vec().into(), now);
    assert!(!message.id.is_empty() && message.attempt > 0 && message.replay != Some(0), "{message:?}");
    assert!(message.traceparent.as_ref().is_none_or(|traceparent| traceparent.len() == 55), "{message:?}");

    assert_eq!(read(Outgoing::webhook(&topology, &message).properties()), message);
    let delay = Schedule::parse("5s").and_then(|schedule| schedule.after(1)).expect("a delay");
    let retried = Message { attempt: message.attempt.saturating_add(1), ..message.clone() };
    assert_eq!(read(Outgoing::retry(&topology, &message, delay).properties()), retried);

    let death = Death::read(properties, "ns.webhooks");
    let dead = Outgoing::dead(&topology, &message, &death.failure, later);
    assert_eq!(read(dead.properties()), message);
    let again = Death::read(dead.properties(), "ns.webhooks");
    assert_eq!((again.failure.class, again.at), (death.failure.class, Some(later)));
    assert!(death.failure.reason.starts_with(&again.failure.reason), "the reason is cut, not changed");
    assert!(again.failure.reason.len() == death.failure.reason.len().min(1024) || again.failure.reason.len() > 1020);
    assert_eq!(fingerprint(death.failure.class, &death.failure.reason).len(), 12);
}
