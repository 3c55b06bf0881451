//! The properties of `testkit::properties`, on random input and on the seeds of the fuzz targets, which include every input
//! that once failed.

use proptest::prelude::*;
use testkit::properties::{merge, message, signature, webhook};
use testkit::{fixtures, repository};

/// Tests the property on every seed of a fuzz target.
fn holds_for_seeds(target: &str, holds: fn(&[u8])) {
    let folder = repository().join("fuzz/seeds").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        holds(&std::fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "{target} has no seeds");
}

#[test]
fn every_seed_of_the_fuzz_targets_passes() {
    holds_for_seeds("signature", signature::holds);
    holds_for_seeds("webhook", webhook::holds);
    holds_for_seeds("merge", merge::holds);
    holds_for_seeds("message", message::holds);
    webhook::holds(fixtures::seed().to_string().as_bytes());
}

/// Random bytes, many of which are meaningful in AMQP field tables and JSON.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), 0..4_u8, prop::sample::select(b"FASlITtVx{}[]\":,".to_vec())];
    prop::collection::vec(byte, 0..400)
}

/// An encoded field table with the headers that banklink reads, each of any type.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "",
        "lean",
        "3",
        "-1",
        "2026-05-12T14:34:40.391243281Z",
        "unknown_entity",
        "delivery_limit",
        "expired",
        "ns.webhooks",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let text = prop::sample::select(texts.to_vec()).prop_map(|text| value(b'S', text.as_bytes()));
    let number = any::<i64>().prop_map(|number| [b"l".as_slice(), &number.to_be_bytes()].concat());
    let small = any::<i8>().prop_map(|number| vec![b'b', number.to_be_bytes()[0]]);
    let time = any::<u64>().prop_map(|seconds| [b"T".as_slice(), &seconds.to_be_bytes()].concat());
    let odd = prop_oneof![Just(b"V".to_vec()), Just(value(b'S', b"\xff")), Just(value(b'x', b"bytes"))];
    let scalar = prop_oneof![4 => text, 1 => number, 1 => small, 1 => time, 1 => odd].boxed();
    let names = ["reason", "queue", "time", "count"];
    let death = table(&names, scalar.clone()).prop_map(|death| value(b'A', &[b"F".as_slice(), &death].concat()));
    let names = [
        "x-source",
        "x-received-at",
        "x-attempt",
        "x-replay",
        "x-edited-from",
        "traceparent",
        "x-failure-class",
        "x-failure",
        "x-failed-at",
        "x-death",
    ];
    table(&names, prop_oneof![4 => scalar, 1 => death])
}

fn table(names: &[&'static str], values: impl Strategy<Value = Vec<u8>> + 'static) -> BoxedStrategy<Vec<u8>> {
    let name = prop::sample::select(names.to_vec());
    prop::collection::vec((name, values), 0..8)
        .prop_map(|entries| {
            let entries = entries.into_iter().map(|(name, value)| {
                let length = u8::try_from(name.len()).expect("a short name");
                [[length].as_slice(), name.as_bytes(), &value].concat()
            });
            value(b'F', &entries.collect::<Vec<_>>().concat()).split_off(1)
        })
        .boxed()
}

/// An encoded field value of that type, with the length of `bytes` in front.
fn value(of_type: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short value");
    [[of_type].as_slice(), &length.to_be_bytes(), bytes].concat()
}

/// JSON with the members of a webhook: some missing, some twice, some of the wrong type.
fn nearly_a_webhook() -> impl Strategy<Value = String> {
    let values = |usual: &'static [&'static str]| {
        let odd = ["null", "\"\"", "\"\\u0000\"", "\"\\ud800\"", "5", "1e999", "[]", "{}", "true"];
        prop_oneof![9 => prop::sample::select(usual), 1 => prop::sample::select(odd.to_vec())]
    };
    let texts = || values(&["\"x\"", "\"y\"", "\"\\u0079\"", "\"\"", "null"]);
    let names = prop::sample::select(vec![
        "app_user_id",
        "customer_id",
        "bank_identifier",
        "\\u0069dentifier",
        "identifier",
        "name",
    ]);
    let object = prop::collection::vec((names, texts()), 0..6)
        .prop_map(|members| members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>());
    let grants = prop::collection::vec(prop::sample::select(vec!["true", "true", "false", "null", "1"]), 0..4);
    let grants = grants.prop_map(|grants| {
        let grants: Vec<String> = grants.iter().map(|granted| format!("\"accounts\":{granted}")).collect();
        format!("{{{}}}", grants.join(","))
    });
    let permissions =
        prop_oneof![grants, values(&["[\"a\"]", "[\"b\",\"a\",\"b\"]", "[]", "{\"a\":true}"]).prop_map(str::to_owned)];
    let kind = prop::sample::select(vec!["entity.created", "entity.updated", "entity.reconnected", "payment.created"]);
    let times =
        values(&["\"2020-10-10T17:19:00.059933Z\"", "\"2020-10-10T21:19:00+04:00\"", "\"2200-01-01T00:00:00Z\""]);
    (kind, object.clone(), object, permissions, times, texts()).prop_map(
        |(kind, payload, bank, permissions, time, id)| {
            let required =
                ["\"id\":\"f08fb010-878f-407a-9ac2-a7840fb56185\"", "\"customer_id\":\"c\""].map(str::to_owned);
            let payload = [required.to_vec(), payload].concat().join(",");
            let bank = bank.join(",");
            format!(
                "{{\"type\":\"{kind}\",\"timestamp\":{time},\"event_id\":{id},\"payload\":{{{payload},\
             \"permissions\":{permissions},\"bank_details\":{{{bank}}}}}}}"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_signature_is_accepted_if_and_only_if_it_belongs_to_the_body_and_a_known_secret(input in bytes()) {
        signature::holds(&input);
    }

    #[test]
    fn any_bytes_are_a_webhook_or_a_failure_whose_reason_repeats_none_of_them(input in bytes()) {
        webhook::holds(&input);
    }

    #[test]
    fn a_webhook_is_read_alike_however_its_json_is_written(input in nearly_a_webhook()) {
        webhook::holds(input.as_bytes());
    }

    #[test]
    fn a_batch_gives_the_same_row_as_its_webhooks_one_by_one(input in bytes()) {
        merge::holds(&input);
    }

    #[test]
    fn headers_of_banklink_and_of_rabbitmq_survive_every_publish(table in headers(), body in bytes()) {
        message::holds(&[[1].as_slice(), &table, &body].concat());
    }

    #[test]
    fn any_headers_make_a_message_that_survives_every_publish(input in bytes()) {
        message::holds(&input);
    }
}
