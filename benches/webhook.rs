//! The webhooks that are posted: `entity.created` as Lean documents it.

use anyhow::{Result, anyhow};
use chrono::{SecondsFormat, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use uuid::Uuid;

/// The secret that posts are signed with.
pub(crate) const SECRET: &str = "bench-secret-of-16";

/// The size of a large body: a little below the default limit of the ingress, 256 KiB.
const LARGE_BYTES: usize = 250_000;

/// As [`created`], with a member that makes the body 250 KB large.
pub(crate) fn large(entity: Uuid) -> String {
    let body = created(entity);
    let padding = "x".repeat(LARGE_BYTES.saturating_sub(body.len()));
    body.replacen("{", &format!("{{\"padding\":\"{padding}\","), 1)
}

/// The body of a webhook about the bank link `entity`.
pub(crate) fn created(entity: Uuid) -> String {
    let customer = Uuid::new_v4();
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
    format!(
        r##"{{"type":"entity.created","message":"An entity object has been created.","payload":{{"id":"{entity}","customer_id":"{customer}","permissions":["transactions","balance","identity","accounts"],"bank_details":{{"name":"Lean Mock Bank","identifier":"LEANMB2","logo":"","main_color":"#1beb75","background_color":"#001E26"}}}},"timestamp":"{now}"}}"##
    )
}

/// Creates the HMAC key of a secret.
pub(crate) fn key(secret: &str) -> Result<Hmac<Sha512>> {
    Hmac::new_from_slice(secret.as_bytes()).map_err(|error| anyhow!("invalid secret: {error}"))
}

/// Creates a whole HTTP request that posts `body`, signed.
pub(crate) fn post(key: &Hmac<Sha512>, body: &str) -> Vec<u8> {
    let signature = hex::encode(key.clone().chain_update(body).finalize().into_bytes());
    let length = body.len();
    format!(
        "POST /webhooks/lean HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
         lean-signature: sha512={signature}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
