//! Whether a bank link is what the accepted webhooks make of it, together with some of those of which nobody knows what
//! became.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::{Expected, expected};

/// Why `row` cannot come from all of `certain` and any of `doubtful`; nothing, if it can.
///
/// What is held of a field is the greatest that any webhook carries. So where everything taken together gives more than the
/// row holds, the one that carries the most cannot have been among them, whichever the others are. Leaving that one out,
/// and again, ends at the row, or at a proof that no choice leads there. No choice is tried twice, and none is missed.
pub(crate) fn unexplained(certain: &[&Value], doubtful: &[&Value], row: Option<&Expected>) -> Option<String> {
    let Some(row) = row else {
        // Without a row nothing doubtful came through; what is certain may not make one, nor wait for one for ever.
        return (!certain.is_empty()).then(|| format!("{} accepted webhooks, and no row", certain.len()));
    };
    let mut doubtful = doubtful.to_vec();
    loop {
        let all: Vec<&Value> = certain.iter().chain(&doubtful).copied().collect();
        let Some(wanted) = expected(all) else { return Some("a row that no webhook makes".to_owned()) };
        let field = differing(&wanted, row)?;
        let Some(culprit) = greatest(&doubtful, &wanted, &field) else {
            return Some(format!("{field:?} should be {}, and is {}", field.of(&wanted), field.of(row)));
        };
        doubtful.remove(culprit);
    }
}

/// One thing that a row holds.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Column(&'static str),
    Permissions,
    LinkedAt,
    ReconnectedAt,
    Version,
}

impl Field {
    fn of(&self, expected: &Expected) -> Value {
        match self {
            Self::Column(name) => json!(expected.columns.get(name)),
            Self::Permissions => json!(expected.permissions),
            Self::LinkedAt => json!(expected.linked_at),
            Self::ReconnectedAt => json!(expected.reconnected_at),
            Self::Version => json!(expected.version),
        }
    }
}

/// The first thing that differs.
fn differing(wanted: &Expected, row: &Expected) -> Option<Field> {
    let columns = wanted.columns.keys().map(|name| Field::Column(name));
    let others = [Field::Permissions, Field::LinkedAt, Field::ReconnectedAt, Field::Version];
    columns.chain(others).find(|field| field.of(wanted) != field.of(row))
}

/// The newest of the webhooks that by itself gives `field` the value it has in `wanted`.
fn greatest(webhooks: &[&Value], wanted: &Expected, field: &Field) -> Option<usize> {
    // Makes a row, and says nothing else.
    let blank =
        json!({ "type": "entity.updated", "payload": { "id": Uuid::nil() }, "timestamp": "1970-01-01T00:00:00Z" });
    let carried = |webhook: &Value| {
        let alone = expected([&blank, webhook])?;
        let permissions = &webhook["payload"]["permissions"];
        let carries = *field != Field::Permissions || permissions.is_array() || permissions.is_object();
        (carries && !field.of(wanted).is_null() && field.of(&alone) == field.of(wanted)).then_some(alone.version)
    };
    let carriers = webhooks.iter().enumerate().filter_map(|(place, webhook)| Some((carried(webhook)?, place)));
    carriers.max().map(|(_, place)| place)
}
