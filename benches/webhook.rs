//! The webhooks that are posted: an `entity.created` as Lean documents it, each about another bank link.

use anyhow::{Result, anyhow};
use chrono::{SecondsFormat, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use uuid::Uuid;

/// The body of one about that bank link.
pub(crate) fn created(entity: Uuid) -> String {
    let customer = Uuid::new_v4();
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
    format!(
        r##"{{"type":"entity.created","message":"An entity object has been created.","payload":{{"id":"{entity}","customer_id":"{customer}","permissions":["transactions","balance","identity","accounts"],"bank_details":{{"name":"Lean Mock Bank","identifier":"LEANMB2","logo":"","main_color":"#1beb75","background_color":"#001E26"}}}},"timestamp":"{now}"}}"##
    )
}

/// The key that webhooks are signed with.
pub(crate) fn key(secret: &str) -> Result<Hmac<Sha512>> {
    Hmac::new_from_slice(secret.as_bytes()).map_err(|error| anyhow!("no key: {error}"))
}

/// A post of `body`, signed, as it is written on the wire.
pub(crate) fn post(key: &Hmac<Sha512>, body: &str) -> Vec<u8> {
    let signature = hex::encode(key.clone().chain_update(body).finalize().into_bytes());
    let length = body.len();
    format!(
        "POST /webhooks/lean HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
         lean-signature: sha512={signature}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
