//! The published documents: `banklink schema` and docs/schemas.

mod events;
mod files;
mod validators;

use serde_json::Value;
use testkit::process::banklink;

/// What `banklink schema DOCUMENT` prints.
async fn printed(document: &str, arguments: &[&str]) -> String {
    let output = banklink(&[&["schema", document], arguments].concat()).run().await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{document}");
    output.stdout
}

/// As [`printed`], read.
async fn document(name: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(name, arguments).await).unwrap()
}
