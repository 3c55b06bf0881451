//! What the management API says about one of our queues: its arguments, where it is, and which policies change it. Pure.

use serde_json::Value;

use super::check_line::Check;
use super::queue_effects::{Effect, Kind, POLICIES, argument_effects, policy_effects};
use crate::broker::Topology;

/// What to do about each kind of finding.
const FREE_OF_POLICY: &str = "see `rabbitmqctl list_policies` and `list_operator_policies`: take the key out, or let the pattern not match this queue";
const DECLARE_AGAIN: &str =
    "for the declared arguments, delete the queue once it is empty, and run `banklink topology apply`";
const START_NODES: &str = "start the nodes that are away: see `rabbitmqctl cluster_status`";
const ASK_AGAIN: &str = "ask again in a few seconds";

/// The line about a queue that is declared as `declared`; `queue` is the answer of the API.
pub(super) fn queue_check(topology: &Topology, declared: &Value, queue: &Value) -> Check {
    let name = declared["name"].as_str().unwrap_or_default();
    let kind = match name {
        name if name == topology.webhooks() => Kind::Work,
        name if name == topology.dead() => Kind::Dead,
        name if name == topology.event_log() => Kind::Log,
        _ => Kind::Tier,
    };
    let is_at_least_once =
        is_text(queue, "x-dead-letter-strategy", "at-least-once") && is_text(queue, "x-overflow", "reject-publish");
    let strategy = if is_at_least_once { ", dead-letters at least once" } else { "" };
    let type_name = queue["type"].as_str().unwrap_or("of an unknown type");
    let place = nodes(queue).map_or_else(|| "its nodes are not known".to_owned(), |nodes| nodes.to_string());
    let detail = format!("{name}: {type_name}, {place}, arguments {}{strategy}", arguments(queue));
    let mut check = with_nodes(Check::passed("queue", detail), nodes(queue).as_ref());
    if matches!(kind, Kind::Work | Kind::Tier) && !is_at_least_once {
        check = check.fail("it does not dead-letter at least once", DECLARE_AGAIN);
    }
    if queue.get(POLICIES).is_none() {
        check = check.warn("RabbitMQ does not know its policies yet", ASK_AGAIN);
    }
    let by_policy = policy_effects(kind, queue).into_iter().map(|effect| (effect, FREE_OF_POLICY));
    let by_argument = argument_effects(kind, declared, queue).into_iter().map(|effect| (effect, DECLARE_AGAIN));
    by_policy.chain(by_argument).fold(check, |check, (effect, remedy)| match effect {
        Effect::Loss(text) => check.fail(&text, remedy),
        Effect::Change(text) => check.warn(text, remedy),
    })
}

/// Where a queue is.
struct Nodes<'a> {
    leader: &'a str,
    members: usize,
    online: usize,
}

impl std::fmt::Display for Nodes<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { leader, members, online } = self;
        write!(formatter, "leader {leader}, {online} of {members} members online")
    }
}

/// `None` while RabbitMQ does not know them.
fn nodes(queue: &Value) -> Option<Nodes<'_>> {
    let count = |field: &str| queue[field].as_array().map(Vec::len);
    // Of a stream, RabbitMQ 3.10 has only the node.
    let leader = queue["leader"].as_str().or_else(|| queue["node"].as_str())?;
    let members = count("members")?;
    Some(Nodes { leader, members, online: count("online").unwrap_or(members) })
}

fn with_nodes(check: Check, nodes: Option<&Nodes<'_>>) -> Check {
    match nodes {
        None => check.warn("RabbitMQ does not know its nodes yet", ASK_AGAIN),
        Some(nodes) if nodes.online * 2 <= nodes.members => {
            check.fail("without a majority of its members it takes and delivers nothing", START_NODES)
        }
        Some(nodes) if nodes.online < nodes.members => check.warn("not all members are online", START_NODES),
        Some(_) => check,
    }
}

fn arguments(queue: &Value) -> String {
    let arguments = queue["arguments"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    arguments.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

fn is_text(queue: &Value, argument: &str, expected: &str) -> bool {
    queue["arguments"][argument].as_str() == Some(expected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::retry::Schedule;

    /// The line about the dead queue of three nodes, with what `change` makes of the answer of the API.
    fn line(change: &Value) -> Value {
        let topology = Topology::new("ns", Schedule::parse("5s").unwrap(), 20);
        let definitions = topology.definitions("/");
        let declared =
            definitions["queues"].as_array().unwrap().iter().find(|queue| queue["name"] == "ns.webhooks.dead");
        let declared = declared.unwrap();
        let mut queue = json!({ "type": "quorum", "arguments": declared["arguments"], "effective_policy_definition": {},
            "leader": "a", "members": ["a", "b", "c"], "online": ["a", "b", "c"] });
        queue.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        queue_check(&topology, declared, &queue).line()
    }

    #[test]
    fn a_queue_without_a_majority_has_failed_and_one_member_that_is_away_is_a_warning() {
        for (online, state, warns) in [(3, "ok", false), (2, "ok", true), (1, "failed", false), (0, "failed", false)] {
            let up = &["a", "b", "c"][..online];
            let line = line(&json!({ "online": up }));
            assert!(line["detail"].as_str().unwrap().contains(&format!("{online} of 3 members online")), "{line}");
            assert_eq!((line["state"].as_str(), line["warning"].is_string()), (Some(state), warns), "{line}");
            assert_eq!(line["remedy"].is_string(), online < 3, "{line}");
        }
        assert!(line(&json!({ "leader": null }))["warning"].is_string());
        let of_two = line(&json!({ "members": ["a", "b"], "online": ["a"] }));
        assert_eq!(of_two["state"], "failed", "{of_two}");
    }

    #[test]
    fn arguments_are_listed_and_a_difference_is_reported_by_what_it_does() {
        let as_declared = line(&json!({}));
        let listed = "arguments x-delivery-limit=2147483647 x-queue-type=quorum";
        assert!(as_declared["detail"].as_str().unwrap().contains(listed), "{as_declared}");
        assert_eq!(as_declared["remedy"], Value::Null, "{as_declared}");
        for (arguments, state, expected) in [
            (json!({ "x-delivery-limit": 20 }), "failed", "x-delivery-limit is 20, not 2147483647 as declared: dead"),
            (
                json!({ "x-delivery-limit": 2_147_483_647, "x-max-length": 5 }),
                "failed",
                "x-max-length is 5, not absent",
            ),
            (
                json!({ "x-queue-type": "quorum" }),
                "failed",
                "x-delivery-limit is absent, not 2147483647 as declared: Rabbit",
            ),
            (json!({ "x-delivery-limit": 2_147_483_647 }), "ok", "x-queue-type is absent, not \"quorum\""),
        ] {
            let line = line(&json!({ "arguments": arguments }));
            assert!(line["detail"].as_str().unwrap().contains(expected), "{line}");
            assert!(line["state"] == state && line["remedy"].is_string(), "{line}");
        }
    }
}
