//! Decides whether a bank link is the result of the accepted webhooks, together with some of those without a clear answer.

use serde_json::{Value, json};
use testkit::model::{Expected, expected};
use uuid::Uuid;

/// Returns why `row` cannot be the result of all of `certain` and any of `possible`; `None` if it can.
///
/// The model keeps for each field the greatest value that any webhook carries (for `linked_at`, the least). So if all webhooks together
/// give a field a value that the row does not hold, the webhook that carries that value was not applied, whichever others were. That
/// one is removed, and the comparison repeated, until the result equals the row, or differs in a field that comes from `certain`:
/// then no choice gives the row. This takes at most as many steps as there are possible webhooks, where trying every choice would
/// take exponentially many.
pub(crate) fn unexplained(certain: &[&Value], possible: &[&Value], row: Option<&Expected>) -> Option<String> {
    let Some(row) = row else {
        // Without a row, no possible webhook was applied; a certain one has created the row, or is a reconnect that should be dead.
        return (!certain.is_empty()).then(|| format!("{} accepted webhooks, and no row", certain.len()));
    };
    let mut possible = possible.to_vec();
    loop {
        let all: Vec<&Value> = certain.iter().chain(&possible).copied().collect();
        let Some(wanted) = expected(all) else { return Some("a row that no webhook creates".to_owned()) };
        let field = first_difference(&wanted, row)?;
        let Some(unapplied) = newest_carrier(&possible, &wanted, field) else {
            return Some(format!("{field:?} should be {}, and is {}", field.of(&wanted), field.of(row)));
        };
        possible.remove(unapplied);
    }
}

/// A field of a bank link.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Column(&'static str),
    Permissions,
    LinkedAt,
    ReconnectedAt,
    Version,
}

impl Field {
    fn of(self, expected: &Expected) -> Value {
        match self {
            Self::Column(name) => json!(expected.columns.get(name)),
            Self::Permissions => json!(expected.permissions),
            Self::LinkedAt => json!(expected.linked_at),
            Self::ReconnectedAt => json!(expected.reconnected_at),
            Self::Version => json!(expected.version),
        }
    }
}

fn first_difference(wanted: &Expected, row: &Expected) -> Option<Field> {
    let columns = wanted.columns.keys().map(|name| Field::Column(name));
    let others = [Field::Permissions, Field::LinkedAt, Field::ReconnectedAt, Field::Version];
    columns.chain(others).find(|field| field.of(wanted) != field.of(row))
}

/// The index of the newest webhook that, on its own, gives `field` the value that it has in `wanted`.
fn newest_carrier(webhooks: &[&Value], wanted: &Expected, field: Field) -> Option<usize> {
    // Creates a row, so that a reconnect has one, and carries no field.
    let blank =
        json!({ "type": "entity.updated", "payload": { "id": Uuid::nil() }, "timestamp": "1970-01-01T00:00:00Z" });
    let version_if_carrier = |webhook: &Value| {
        let alone = expected([&blank, webhook])?;
        let permissions = &webhook["payload"]["permissions"];
        let carries = field != Field::Permissions || permissions.is_array() || permissions.is_object();
        (carries && !field.of(wanted).is_null() && field.of(&alone) == field.of(wanted)).then_some(alone.version)
    };
    let carriers =
        webhooks.iter().enumerate().filter_map(|(index, webhook)| Some((version_if_carrier(webhook)?, index)));
    carriers.max().map(|(_, index)| index)
}
