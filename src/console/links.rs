//! Bank links: one by its entity, or those of a customer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use uuid::Uuid;

use super::Console;
use super::fault::Fault;
use super::fields::Fields;
use super::layout::{Page, Section};
use super::parts::{empty, optional_ago, text};
use super::redirect::see_other;
use super::visit::Visit;
use crate::dead_letters::{Masking, field_value, value_text};
use crate::domain::bank_link::BankLink;
use crate::domain::field::Field;
use crate::domain::timestamp::Timestamp;
use crate::escape::escaped;
use crate::store::link_reads::{self, StoredLink};

/// `GET /links`: the search, and the links of the customer that was searched. An entity's id leads to its link.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Response, Fault> {
    let fields = Fields::of_query(request.uri());
    let wanted = fields.get("q");
    if let Some(entity) = wanted.and_then(|wanted| wanted.parse::<Uuid>().ok())
        && link_reads::of_entity(&console.store, entity).await?.is_some()
    {
        return Ok(see_other(&visit.path(&format!("/links/{entity}"))));
    }
    let found = match wanted {
        Some(customer) => {
            let customer = customer.to_owned();
            let mut links = link_reads::of_customers(&console.store, std::slice::from_ref(&customer)).await?;
            links.remove(&customer).unwrap_or_default()
        }
        None => Vec::new(),
    };
    let body = html! {
        h1 { "Bank links" }
        (search(wanted, &visit))
        section.panel aria-label="Links" {
            @match (wanted, found.is_empty()) {
                (None, _) => (empty("Whose bank is missing?", &html! {
                    "Search by the entity's id or by the customer's id, as Lean's webhooks carry them."
                })),
                (Some(_), true) => (empty("No bank link of this entity or customer.", &html! {
                    "Its webhook may be dead, waiting, or never have arrived: look among the "
                    a href=(visit.path("/letters?state=any")) { "dead letters" } " and at the "
                    a href=(visit.path("/reconciliation")) { "reconciliation" } "."
                })),
                (Some(_), false) => (table(&found, &visit)),
            }
        }
    };
    Ok(Page::new("Bank links", Section::Links, body).into_response())
}

fn search(wanted: Option<&str>, visit: &Visit) -> Markup {
    html! {
        section.panel aria-label="Search" {
            form.inline method="get" action=(visit.path("/links")) role="search" {
                div.field {
                    label for="q" { "Entity or customer" }
                    input #q name="q" type="search" value=(escaped(wanted.unwrap_or_default())) required maxlength="128" autocomplete="off"
                        spellcheck="false";
                }
                button.primary type="submit" { "Search" }
            }
        }
    }
}

fn table(links: &[StoredLink], visit: &Visit) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Entity" }
                    th scope="col" { "Permissions" }
                    th scope="col" { "Linked" }
                    th scope="col" { "Reconnected" }
                    th scope="col" { "Written" }
                }
            }
            tbody {
                @for StoredLink { link, updated_at, .. } in links {
                    tr {
                        td.mono data-label="Entity" { a href=(visit.path(&format!("/links/{}", link.entity_id))) { (link.entity_id) } }
                        td data-label="Permissions" { (value(link, Field::Permissions, Masking::Masked)) }
                        td data-label="Linked" { (optional_ago(link.linked_at.map(Timestamp::to_micros))) }
                        td data-label="Reconnected" { (optional_ago(link.reconnected_at.map(Timestamp::to_micros))) }
                        td data-label="Written" { (optional_ago(Some(*updated_at))) }
                    }
                }
            }
        }
    }
}

/// The value of a link's field, or a dash.
pub(super) fn value(link: &BankLink, field: Field, masking: Masking) -> Markup {
    html! {
        @match link.get(field) {
            Some(held) => (text(&value_text(&field_value(field, held, masking)))),
            None => span.quiet { "–" },
        }
    }
}
