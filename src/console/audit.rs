//! The audit: who did what to which letter or link, and who saw customer data.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::{Markup, html};

use super::Console;
use super::fault::Fault;
use super::fields::{Fields, query};
use super::layout::{Page, Section};
use super::parts::{ago, badge, empty, text};
use super::rights::Right;
use super::visit::Visit;
use crate::escape::escaped;
use crate::store::letters::{Action, AuditFilter, HistoryEntry, audit};
use crate::store::{self, Store};
use crate::times::time;

/// How many entries a page lists.
const PAGE_SIZE: usize = 100;
/// How many entries an export reads at a time.
const EXPORT_BATCH: u64 = 1000;

/// `GET /audit`.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Page, Fault> {
    let fields = Fields::of_query(request.uri());
    let filter = read(&fields)?;
    let mut entries = audit(&console.store, &filter, PAGE_SIZE as u64 + 1).await?;
    let has_more = entries.len() > PAGE_SIZE;
    entries.truncate(PAGE_SIZE);
    let of = |before: Option<i64>| {
        let written = ["by", "action"].map(|name| (name, fields.get(name).map(str::to_owned)));
        query(written.into_iter().chain([("before", before.map(|id| id.to_string()))]))
    };
    let body = html! {
        div.title {
            h1 { "Audit" }
            p.quiet { "Who replayed, edited, discarded, revealed or exported, here and on the command line" }
        }
        (filters(&fields, &visit))
        section.panel aria-label="Entries" {
            @if entries.is_empty() {
                (empty("Nothing is on record.", &html! { "What operators do to dead letters appears here, with their names." }))
            } @else {
                (table(&entries, &visit))
            }
        }
        nav.pages aria-label="Pages" {
            @if visit.may(Right::Export) { a href={ (visit.path("/audit/export")) "?" (of(None)) } { "Export as CSV" } }
            @if filter.before.is_some() { a href={ (visit.path("/audit")) "?" (of(None)) } { "Newest" } }
            @if let Some(last) = entries.last().filter(|_| has_more) {
                a rel="next" href={ (visit.path("/audit")) "?" (of(Some(last.id))) } { "Older" }
            }
        }
    };
    Ok(Page::new("Audit", Section::Audit, body))
}

/// `GET /audit/export`: all that match, newest first.
pub(super) async fn export(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Response, Fault> {
    let filter = read(&Fields::of_query(request.uri()))?;
    tracing::info!(console.user = visit.user, "the audit is exported");
    let first = Some((console.store.clone(), filter, "at,by,action,id,detail\r\n".to_owned()));
    let rows = stream::unfold(first, async |next| {
        let (store, filter, head) = next?;
        match batch(&store, &filter).await {
            Ok((rows, None)) => Some((Ok(head + &rows), None)),
            Ok((rows, before)) => {
                Some((Ok(head + &rows), Some((store, AuditFilter { before, ..filter }, String::new()))))
            }
            // Cuts the connection, so that a part is not taken for all.
            Err(error) => Some((Err(error), None)),
        }
    });
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"banklink-audit.csv\""),
    ];
    Ok((headers, Body::from_stream(rows)).into_response())
}

/// The next rows, and the entry to go on before, if there are more.
async fn batch(store: &Store, filter: &AuditFilter) -> Result<(String, Option<i64>), store::Error> {
    let entries = audit(store, filter, EXPORT_BATCH).await?;
    let is_last = (entries.len() as u64) < EXPORT_BATCH;
    let before = entries.last().filter(|_| !is_last).map(|entry| entry.id);
    Ok((entries.iter().map(row).collect(), before))
}

fn row(entry: &HistoryEntry) -> String {
    let cells = [
        time(entry.at),
        cell(entry.by.as_deref()),
        entry.action.clone(),
        entry.message_id.to_string(),
        cell(entry.detail.as_deref()),
    ];
    format!("{}\r\n", cells.join(","))
}

/// A text as a cell of CSV (RFC 4180). Spreadsheets would run one that begins like a formula.
fn cell(text: Option<&str>) -> String {
    let text = escaped(text.unwrap_or_default());
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn read(fields: &Fields) -> Result<AuditFilter, Fault> {
    let wrong = |name: &str| Fault::Invalid(format!("The filter “{name}” is wrong."));
    let action = match fields.get("action") {
        Some(name) => {
            let known = Action::OF_OPERATORS.into_iter().find(|action| action.as_str() == name);
            Some(known.ok_or_else(|| wrong("action"))?)
        }
        None => None,
    };
    let before = fields.get("before").map(|before| before.parse().map_err(|_| wrong("before"))).transpose()?;
    Ok(AuditFilter { by: fields.get("by").map(str::to_owned), action, before })
}

fn filters(fields: &Fields, visit: &Visit) -> Markup {
    html! {
        section.panel.filters aria-label="Filter" {
            form method="get" action=(visit.path("/audit")) {
                div.field {
                    label for="by" { "Operator" }
                    input #by name="by" value=(escaped(fields.get("by").unwrap_or_default())) autocomplete="off" spellcheck="false";
                }
                div.field {
                    label for="action" { "Action" }
                    select #action name="action" {
                        option value="" { "any" }
                        @for action in Action::OF_OPERATORS {
                            option value=(action.as_str()) selected[fields.get("action") == Some(action.as_str())] { (action.as_str()) }
                        }
                    }
                }
                div.field.actions { button type="submit" { "Filter" } a.button href=(visit.path("/audit")) { "Clear" } }
            }
        }
    }
}

fn table(entries: &[HistoryEntry], visit: &Visit) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Letter or link" }
                    th scope="col" { "Detail" }
                }
            }
            tbody {
                @for entry in entries {
                    tr {
                        td data-label="When" { (ago(entry.at)) }
                        td data-label="Who" { (text(entry.by.as_deref().unwrap_or_default())) }
                        td data-label="What" { (badge("quiet", &entry.action)) }
                        td.mono data-label="Letter or link" {
                            a href=(visit.path(&format!("/letters/{}", entry.message_id))) { (entry.message_id) }
                        }
                        td data-label="Detail" { div.example { (text(entry.detail.as_deref().unwrap_or_default())) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_never_a_formula() {
        assert_eq!(cell(Some("a \"b\",\n=c")), r#""a ""b"",\u000a=c""#);
        assert_eq!(cell(Some("=HYPERLINK(\"x\")")), r#""'=HYPERLINK(""x"")""#);
        assert_eq!(cell(None), "\"\"");
    }
}
