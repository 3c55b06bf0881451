//! The audit: who did what to which letter, link or replay, and who saw customer data.

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
use crate::store::audit::{AuditAction, AuditEntry, AuditFilter, AuditPage, AuditPosition, Subject, audit};
use crate::times::{parse_time, time};

/// The names of the filters.
const FIELDS: [&str; 5] = ["by", "action", "id", "since", "until"];
/// How many entries a page lists.
const PAGE_SIZE: usize = 100;
/// How many entries an export reads at a time.
const EXPORT_BATCH: usize = 1000;

/// `GET /audit`.
pub(super) async fn page(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Page, Fault> {
    let fields = Fields::of_query(request.uri());
    let filter = read(&fields)?;
    let AuditPage { entries, next } = audit(&console.store, &filter, PAGE_SIZE).await?;
    let of = |before: Option<AuditPosition>| {
        let written = FIELDS.map(|name| (name, fields.get(name).map(str::to_owned)));
        query(
            written
                .into_iter()
                .chain([("before", before.map(|before| format!("{}~{}", before.letters, before.replays)))]),
        )
    };
    let body = html! {
        div.title {
            h1 { "Audit" }
            p.quiet { "Who replayed, edited, discarded, revealed or exported, and who changed replays, here and on the command line" }
        }
        (filters(&fields, &visit))
        section.panel aria-label="Entries" {
            @if entries.is_empty() {
                (empty("Nothing is on record.", &html! { "What operators do to dead letters and replays appears here, with their names." }))
            } @else {
                (table(&entries, &visit))
            }
        }
        nav.pages aria-label="Pages" {
            @if visit.may(Right::Export) { a href={ (visit.path("/audit/export")) "?" (of(None)) } { "Export as CSV" } }
            @if filter.before.is_some() { a href={ (visit.path("/audit")) "?" (of(None)) } { "Newest" } }
            @if next.is_some() { a rel="next" href={ (visit.path("/audit")) "?" (of(next)) } { "Older" } }
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
        match audit(&store, &filter, EXPORT_BATCH).await {
            Ok(AuditPage { entries, next }) => {
                let rows: String = entries.iter().map(row).collect();
                let next = next.map(|next| (store, AuditFilter { before: Some(next), ..filter }, String::new()));
                Some((Ok(head + &rows), next))
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

fn row(entry: &AuditEntry) -> String {
    let subject = match entry.subject {
        Subject::Letter(id) => id.to_string(),
        Subject::Replay(id) => format!("replay {id}"),
    };
    let cells = [time(entry.at), cell(Some(&entry.by)), entry.action.clone(), subject, cell(entry.detail.as_deref())];
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
            let known = AuditAction::all().find(|action| action.as_str() == name);
            Some(known.ok_or_else(|| wrong("action"))?)
        }
        None => None,
    };
    let position = |text: &str| {
        let (letters, replays) = text.split_once('~')?;
        Some(AuditPosition { letters: letters.parse().ok()?, replays: replays.parse().ok()? })
    };
    let before = fields.get("before").map(|before| position(before).ok_or_else(|| wrong("before"))).transpose()?;
    // A letter, a link or the number of a replay.
    let subject = |text: &str| {
        let letter = text.parse().ok().map(Subject::Letter);
        letter.or_else(|| text.parse().ok().map(Subject::Replay)).ok_or_else(|| wrong("id"))
    };
    let subject = fields.get("id").map(subject).transpose()?;
    let time = |name| fields.get(name).map(|text| parse_time(text).map_err(|_| wrong(name))).transpose();
    let (since, until) = (time("since")?, time("until")?);
    Ok(AuditFilter { by: fields.get("by").map(str::to_owned), subject, since, until, action, before })
}

fn filters(fields: &Fields, visit: &Visit) -> Markup {
    let input = |name: &str, label: &str, hint: &str| {
        let written = escaped(fields.get(name).unwrap_or_default());
        html! {
            div.field {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(written) placeholder=(hint) autocomplete="off" spellcheck="false";
            }
        }
    };
    html! {
        section.panel.filters aria-label="Filter" {
            form method="get" action=(visit.path("/audit")) {
                (input("by", "Operator", ""))
                (input("id", "Letter, link or replay", "UUID or number"))
                (input("since", "Since", "2h, 3d or RFC 3339"))
                (input("until", "Before", "2h, 3d or RFC 3339"))
                div.field {
                    label for="action" { "Action" }
                    select #action name="action" {
                        option value="" { "any" }
                        @for action in AuditAction::all() {
                            option value=(action.as_str()) selected[fields.get("action") == Some(action.as_str())] { (action.as_str()) }
                        }
                    }
                }
                div.field.actions { button type="submit" { "Filter" } a.button href=(visit.path("/audit")) { "Clear" } }
            }
        }
    }
}

fn table(entries: &[AuditEntry], visit: &Visit) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "To what" }
                    th scope="col" { "Detail" }
                }
            }
            tbody {
                @for entry in entries {
                    tr {
                        td data-label="When" { (ago(entry.at)) }
                        td data-label="Who" { (text(&entry.by)) }
                        td data-label="What" { (badge("quiet", &entry.action)) }
                        td.mono data-label="To what" {
                            @match entry.subject {
                                Subject::Letter(id) => a href=(visit.path(&format!("/letters/{id}"))) { (id) },
                                Subject::Replay(id) => a href=(visit.path(&format!("/replays/{id}"))) { "Replay " (id) },
                            }
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
