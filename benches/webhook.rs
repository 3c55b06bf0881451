//! The webhooks that are posted: an `entity.created` as Lean documents it, each about another bank link.

use chrono::{SecondsFormat, Utc};
use uuid::Uuid;

/// The body of one about a bank link that nobody has heard of.
pub(crate) fn created() -> String {
    let (entity, customer) = (Uuid::new_v4(), Uuid::new_v4());
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
    format!(
        r##"{{"type":"entity.created","message":"An entity object has been created.","payload":{{"id":"{entity}","customer_id":"{customer}","permissions":["transactions","balance","identity","accounts"],"bank_details":{{"name":"Lean Mock Bank","identifier":"LEANMB2","logo":"","main_color":"#1beb75","background_color":"#001E26"}}}},"timestamp":"{now}"}}"##
    )
}
