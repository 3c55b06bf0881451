//! What the management API says about one of our queues: where it is, and which policies change it. Pure.
//!
//! Where a queue has an argument, RabbitMQ takes the lower of two numbers, and otherwise the argument before the policy. So a policy
//! cannot switch at-least-once dead-lettering off, but it can shorten a TTL, lower a limit, or set one that we did not.

use serde_json::Value;

use super::check_line::Check;
use crate::broker::Topology;

/// How long a delivery may be held unacknowledged during an alarm of RabbitMQ, in ms (docs/ARCHITECTURE.md).
const MAX_HELD_MS: i64 = 20 * 60 * 1000;
/// The merged policies of a queue; missing for some seconds after RabbitMQ has started or the queue was declared.
const POLICIES: &str = "effective_policy_definition";
const REMEDY: &str = "see `rabbitmqctl list_policies` and `list_operator_policies`: take the key out, or let the pattern not match this queue";

/// Which of our queues it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Work,
    Tier,
    Dead,
    Log,
}

/// What a policy does to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    /// Messages may be lost.
    Loss(String),
    /// Something else than the contract says.
    Change(String),
}

/// The line about a queue that is declared as `declared`; `queue` is the answer of the API.
pub(super) fn queue_check(topology: &Topology, declared: &Value, queue: &Value) -> Check {
    let name = declared["name"].as_str().unwrap_or_default();
    let kind = match name {
        name if name == topology.webhooks() => Kind::Work,
        name if name == topology.dead() => Kind::Dead,
        name if name == topology.event_log() => Kind::Log,
        _ => Kind::Tier,
    };
    let mut effects = policy_effects(kind, queue);
    let is_at_least_once =
        is_text(queue, "x-dead-letter-strategy", "at-least-once") && is_text(queue, "x-overflow", "reject-publish");
    if matches!(kind, Kind::Work | Kind::Tier) && !is_at_least_once {
        effects.push(Effect::Loss("it does not dead-letter at least once".to_owned()));
    }
    let mut detail = format!("{name}: {}", place(queue));
    if is_at_least_once {
        detail += ", dead-letters at least once";
    }
    let is_loss = effects.iter().any(|effect| matches!(effect, Effect::Loss(_)));
    let has_effect = !effects.is_empty();
    if queue.get(POLICIES).is_none() {
        detail += "; warning: RabbitMQ does not know its policies yet; ask again in a few seconds";
    }
    for Effect::Loss(text) | Effect::Change(text) in effects {
        detail += "; warning: ";
        detail += &text;
    }
    let check = Check::new("queue", if is_loss { Err(detail) } else { Ok(detail) });
    if has_effect { check.with_remedy(REMEDY) } else { check }
}

/// The type of a queue and the nodes that it is on.
fn place(queue: &Value) -> String {
    let kind = queue["type"].as_str().unwrap_or("of an unknown type");
    let count = |field: &str| queue[field].as_array().map(Vec::len);
    // Of a stream, RabbitMQ 3.10 has only the node.
    let leader = queue["leader"].as_str().or_else(|| queue["node"].as_str());
    let Some((leader, members)) = leader.zip(count("members")) else {
        return format!("{kind}, its nodes are not known yet");
    };
    let online = count("online").unwrap_or(members);
    let warning = if online < members { " (warning: not all)" } else { "" };
    format!("{kind}, leader {leader}, {online} of {members} members online{warning}")
}

/// What the policies that apply to the queue change.
fn policy_effects(kind: Kind, queue: &Value) -> Vec<Effect> {
    let policies = queue[POLICIES].as_object().into_iter().flatten();
    policies.filter_map(|(key, value)| effect(kind, key, value, &queue["arguments"])).collect()
}

fn effect(kind: Kind, key: &str, value: &Value, arguments: &Value) -> Option<Effect> {
    let number = value.as_i64().unwrap_or_default();
    let is_lower = |argument: &str| arguments[argument].as_i64().is_none_or(|argued| number < argued);
    let policy = format!("a policy sets {key} to {value}");
    Some(match (key, kind) {
        ("expires", _) => Effect::Loss(format!("{policy}: without consumers the queue is deleted, and what is on it")),
        ("message-ttl", Kind::Work) => Effect::Change(format!("{policy}: webhooks that wait longer die as `expired`")),
        ("message-ttl", Kind::Tier) if is_lower("x-message-ttl") => {
            Effect::Change(format!("{policy}: retries come before their time"))
        }
        ("message-ttl", Kind::Dead) => Effect::Loss(format!("{policy}: dead messages that wait longer are dropped")),
        ("max-length" | "max-length-bytes", Kind::Work | Kind::Tier) => {
            Effect::Change(format!("{policy}: when it is full, webhooks and their retries are refused"))
        }
        ("max-length" | "max-length-bytes", Kind::Dead) => {
            Effect::Loss(format!("{policy}: when it is full, dead messages are dropped"))
        }
        ("max-length-bytes" | "max-age", Kind::Log) => {
            Effect::Change(format!("{policy}: the stream may keep less than 7 days"))
        }
        ("delivery-limit", Kind::Work) if is_lower("x-delivery-limit") => {
            Effect::Change(format!("{policy}: webhooks die as `delivery_limit` after fewer redeliveries"))
        }
        ("delivery-limit", Kind::Dead) if is_lower("x-delivery-limit") => {
            Effect::Loss(format!("{policy}: dead messages are dropped after so many redeliveries"))
        }
        ("consumer-timeout", Kind::Work | Kind::Dead) if number < MAX_HELD_MS => Effect::Change(format!(
            "{policy}: RabbitMQ takes back what is held during an outage, at one delivery count"
        )),
        _ => return None,
    })
}

fn is_text(queue: &Value, argument: &str, expected: &str) -> bool {
    queue["arguments"][argument].as_str() == Some(expected)
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
    fn a_queue_with_a_member_that_is_away_is_pointed_out() {
        let queue = json!({ "type": "quorum", "leader": "a", "members": ["a", "b", "c"], "online": ["a", "b"] });
        assert_eq!(place(&queue), "quorum, leader a, 2 of 3 members online (warning: not all)");
    }
}
