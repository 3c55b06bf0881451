//! The published schema of events, by which the tests judge every event that they read.

use std::sync::OnceLock;

use banklink::domain::event_schema;
use jsonschema::Validator;
use serde_json::Value;

/// Fails the test unless the published JSON Schema allows `event`.
///
/// # Panics
/// With every fault that the schema finds.
pub fn assert_valid_event(event: &Value) {
    let faults = event_faults(event);
    assert!(faults.is_empty(), "the schema of events does not allow {event}: {}", faults.join("; "));
}

/// What the published JSON Schema finds wrong with `event`, formats included.
#[must_use]
pub fn event_faults(event: &Value) -> Vec<String> {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| {
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&event_schema::document()).expect("a valid schema")
    });
    validator.iter_errors(event).map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}
