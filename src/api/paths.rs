//! The paths of the API, which are also the label `route` of its metrics.

pub(super) const LINK: &str = "/v1/bank-links/{entity_id}";
pub(super) const LINKS: &str = "/v1/customers/{customer_id}/bank-links";
pub(super) const EVENTS: &str = "/v1/customers/{customer_id}/bank-links/events";
pub(super) const OPENAPI: &str = "/v1/openapi.json";
