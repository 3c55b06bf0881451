//! What policies, and arguments other than declared, do to one of our queues. Pure.
//!
//! Where a queue has an argument, RabbitMQ takes the lower of two numbers, and otherwise the argument before the policy. So a policy
//! cannot switch at-least-once dead-lettering off, but it can shorten a TTL, lower a limit, or set one that we did not.

use std::collections::BTreeSet;

use serde_json::Value;

/// How long a delivery may be held unacknowledged during an alarm of RabbitMQ, in ms (docs/ARCHITECTURE.md).
const MAX_HELD_MS: i64 = 20 * 60 * 1000;
/// The merged policies of a queue; missing for some seconds after RabbitMQ has started or the queue was declared.
pub(super) const POLICIES: &str = "effective_policy_definition";

/// Which of our queues it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Work,
    Tier,
    Dead,
    Log,
}

/// What a policy or an argument does to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Messages may be lost.
    Loss(String),
    /// Something else than the contract says.
    Change(String),
}

/// What the policies that apply to the queue change.
pub(super) fn policy_effects(kind: Kind, queue: &Value) -> Vec<Effect> {
    let policies = queue[POLICIES].as_object().into_iter().flatten();
    let effect_of = |(key, value): (&String, &Value)| {
        effect(kind, key, value, &queue["arguments"], &format!("a policy sets {key} to {value}"))
    };
    policies.filter_map(effect_of).collect()
}

/// What the arguments change that are not as declared. Of a queue that is used, only numbers differ.
pub(super) fn argument_effects(kind: Kind, declared: &Value, queue: &Value) -> Vec<Effect> {
    let (declared, found) = (&declared["arguments"], &queue["arguments"]);
    let names = [declared, found].map(|arguments| arguments.as_object().into_iter().flatten().map(|(name, _)| name));
    let names: BTreeSet<&String> = names.into_iter().flatten().collect();
    let differing = names.into_iter().filter(|name| declared[name.as_str()] != found[name.as_str()]);
    let effect_of = |name: &String| {
        let (expected, value) = (&declared[name.as_str()], &found[name.as_str()]);
        let difference = format!("{name} is {value}, not {expected} as declared").replace("null", "absent");
        let known = match name.trim_start_matches("x-") {
            "delivery-limit" if value.is_null() && kind == Kind::Dead => {
                Some(Effect::Loss(format!("{difference}: RabbitMQ 4 drops dead messages after 20 redeliveries")))
            }
            _ if value.is_null() => None,
            key => effect(kind, key, value, declared, &difference),
        };
        known.unwrap_or(Effect::Change(difference))
    };
    differing.map(effect_of).collect()
}

/// What `key` does, a key of policies, where the arguments are `arguments`; `source` says where it is from. `None` if it changes nothing.
fn effect(kind: Kind, key: &str, value: &Value, arguments: &Value, source: &str) -> Option<Effect> {
    let number = value.as_i64().unwrap_or_default();
    let is_lower = |argument: &str| arguments[argument].as_i64().is_none_or(|argued| number < argued);
    Some(match (key, kind) {
        ("expires", _) => Effect::Loss(format!("{source}: without consumers the queue is deleted, and what is on it")),
        ("message-ttl", Kind::Work) => Effect::Change(format!("{source}: webhooks that wait longer die as `expired`")),
        ("message-ttl", Kind::Tier) if is_lower("x-message-ttl") => {
            Effect::Change(format!("{source}: retries come before their time"))
        }
        ("message-ttl", Kind::Dead) => Effect::Loss(format!("{source}: dead messages that wait longer are dropped")),
        ("max-length" | "max-length-bytes", Kind::Work | Kind::Tier) => {
            Effect::Change(format!("{source}: when it is full, webhooks and their retries are refused"))
        }
        ("max-length" | "max-length-bytes", Kind::Dead) => {
            Effect::Loss(format!("{source}: when it is full, dead messages are dropped"))
        }
        ("max-length-bytes" | "max-age", Kind::Log) => {
            Effect::Change(format!("{source}: the stream may keep less than 7 days"))
        }
        ("delivery-limit", Kind::Work) if is_lower("x-delivery-limit") => {
            Effect::Change(format!("{source}: webhooks die as `delivery_limit` after fewer redeliveries"))
        }
        ("delivery-limit", Kind::Dead) if is_lower("x-delivery-limit") => {
            Effect::Loss(format!("{source}: dead messages are dropped after so many redeliveries"))
        }
        ("consumer-timeout", Kind::Work | Kind::Dead) if number < MAX_HELD_MS => Effect::Change(format!(
            "{source}: RabbitMQ takes back what is held during an outage, at one delivery count"
        )),
        // RabbitMQ 4.3 and later. The delays alone, delayed-retry-min and -max, change nothing.
        ("delayed-retry-type", Kind::Work | Kind::Dead) if value != "disabled" => {
            Effect::Change(format!("{source}: what returns to the queue waits there before it is delivered again"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn effects(kind: Kind, policy: &Value) -> Vec<Effect> {
        let arguments = json!({ "x-message-ttl": 5000, "x-delivery-limit": 20 });
        policy_effects(kind, &json!({ "effective_policy_definition": policy, "arguments": arguments }))
    }

    #[test]
    fn a_policy_that_drops_messages_is_a_loss_and_one_that_only_changes_a_limit_is_not() {
        for key in ["message-ttl", "max-length", "delivery-limit", "expires"] {
            let policy = json!({ key: 7 });
            assert!(matches!(&*effects(Kind::Dead, &policy), [Effect::Loss(_)]), "{key}");
            let is_loss = matches!(&*effects(Kind::Work, &policy), [Effect::Loss(_)]);
            assert_eq!((is_loss, effects(Kind::Work, &policy).len()), (key == "expires", 1), "{key}");
        }
    }

    #[test]
    fn a_policy_that_an_argument_overrides_is_not_reported() {
        let higher = json!({ "message-ttl": 6000, "delivery-limit": 30, "consumer-timeout": 1_800_000 });
        assert_eq!(effects(Kind::Tier, &higher), []);
        let without_effect =
            json!({ "delivery-limit": 30, "overflow": "drop-head", "dead-letter-strategy": "at-most-once" });
        assert_eq!(effects(Kind::Work, &without_effect), []);
        assert_eq!(effects(Kind::Log, &json!({ "max-age": "1D" })).len(), 1);
        assert_eq!(policy_effects(Kind::Work, &json!({ "effective_policy_definition": [] })), []);
    }

    #[test]
    fn delayed_retries_are_reported_where_they_are_on() {
        let on = json!({ "delayed-retry-type": "all", "delayed-retry-min": 1000, "delayed-retry-max": 60_000 });
        let off = json!({ "delayed-retry-type": "disabled", "delayed-retry-min": 1000 });
        let counts = [(Kind::Work, &on), (Kind::Dead, &on), (Kind::Log, &on), (Kind::Work, &off)];
        assert_eq!(counts.map(|(kind, policy)| effects(kind, policy).len()), [1, 1, 0, 0]);
    }
}
