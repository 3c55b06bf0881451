//! One OpenAPI 3.1 document of everything that answers HTTP: ingress, read API and admin address. Each of the three has a
//! document of its own, beside its code; this joins them.

use serde_json::{Map, Value, json};

use crate::{admin, api, ingress};

/// The joined document.
///
/// # Errors
/// Never: the three documents are JSON, which a test checks.
pub(super) fn document() -> Result<Value, serde_json::Error> {
    let mut paths = Map::new();
    let (mut addresses, mut tags, mut components) = (Vec::new(), Vec::new(), Map::new());
    for part in [api::DOCUMENT, ingress::DOCUMENT, admin::DOCUMENT] {
        let mut part: Value = serde_json::from_str(part)?;
        let (servers, security) = (part["servers"].take(), part["security"].take());
        for (path, mut item) in members(part["paths"].take()) {
            // Each part listens on an address of its own, and has its own authentication.
            item["servers"] = servers.clone();
            for operation in ["get", "post"] {
                if let Some(operation) = item.get_mut(operation).and_then(Value::as_object_mut) {
                    operation.entry("security").or_insert_with(|| security.clone());
                }
            }
            paths.insert(path, item);
        }
        addresses.extend(servers.as_array().into_iter().flatten().cloned());
        tags.extend(part["tags"].as_array().into_iter().flatten().cloned());
        for (kind, named) in members(part["components"].take()) {
            let joined = components.entry(kind).or_insert_with(|| json!({}));
            if let Some(joined) = joined.as_object_mut() {
                joined.extend(members(named));
            }
        }
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "banklink",
            "version": "1.0.0",
            "description": "Everything of banklink that answers HTTP: webhooks, the read API, probes and metrics, each on an \
                address of its own. Within this major version, members and paths are only added.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": addresses,
        "tags": tags,
        "paths": paths,
        "components": components,
    }))
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
