//! Starts a replay: a page that says what it would do, and a form that starts what that page has shown, once.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::pace::{Pace, Written};
use super::plan::{Plan, was_shown};
use crate::console::Console;
use crate::console::fault::Fault;
use crate::console::fields::Fields;
use crate::console::layout::Page;
use crate::console::redirect::see_other;
use crate::console::selection::Selection;
use crate::console::visit::Visit;
use crate::dead_letters::describe;
use crate::store::letters;
use crate::store::replays::{self, NewReplay};

/// `POST /replays/new`: what a replay of the ticked letters, or of all that match, would do.
pub(in crate::console) async fn plan(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    body: Bytes,
) -> Result<Page, Fault> {
    let plan = Plan::of(&console, Selection::read(&Fields::of_form(&body))?).await?;
    let written = Written::suggested(plan.letters());
    Ok(plan.page(&console, &visit, &written, None))
}

/// What became of a form.
enum Submitted {
    /// It has started this replay, now or before.
    Started(i64),
    /// Other letters are selected now than were shown.
    Changed,
}

/// `POST /replays`: starts what was shown, if it is still what is dead.
pub(in crate::console) async fn start(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    body: Bytes,
) -> Result<Response, Fault> {
    let fields = Fields::of_form(&body);
    let selection = Selection::read(&fields)?;
    let (pace, reason) = (Pace::read(&fields)?, fields.reason()?.to_owned());
    let key = fields.required("key")?.parse().map_err(|_| Fault::Invalid("The form is not complete.".to_owned()))?;
    let form = Form {
        key,
        shown: fields.required("shown")?.to_owned(),
        new: NewReplay {
            by: visit.user.clone(),
            reason: Some(reason),
            selection: describe(&selection.filter),
            rate: pace.rate,
            canary: pace.canary,
            stop_on_failure: pace.stop_on_failure,
        },
    };
    // Goes on if the browser disconnects.
    let (of, by) = (Arc::clone(&console), visit.clone());
    let submitting = tokio::spawn(async move {
        let submitted = form.submit(&of, &by, &selection).await?;
        Ok::<_, Fault>((selection, submitted))
    });
    let (selection, submitted) = submitting.await.map_err(|_| Fault::Busy)??;
    match submitted {
        Submitted::Started(id) => Ok(see_other(&visit.path(&format!("/replays/{id}")))),
        Submitted::Changed => {
            let why = "Other letters are dead than when you looked, or this form is an old one. Nothing was replayed. \
                       This is what a replay would do now.";
            let plan = Plan::of(&console, selection).await?;
            Ok(plan.page(&console, &visit, &Written::submitted(&fields), Some(why)).into_response())
        }
    }
}

/// A form that asks for a replay.
struct Form {
    key: Uuid,
    shown: String,
    new: NewReplay,
}

impl Form {
    /// Makes the replay. One form at a time, so that a form that is submitted twice finds its replay.
    async fn submit(&self, console: &Console, visit: &Visit, selection: &Selection) -> Result<Submitted, Fault> {
        let mut started = console.started.lock().await;
        if let Some(id) = started.find(self.key) {
            return Ok(Submitted::Started(id));
        }
        let selected = letters::select_dead(&console.store, &selection.filter).await?;
        let summary = letters::summarize_dead(&console.store, &selection.filter).await?;
        let was_shown = was_shown(console, visit, self.key, &summary, &self.shown);
        if selected.is_empty() || !was_shown || !summary.counts(&selected) {
            return Ok(Submitted::Changed);
        }
        let replay = replays::create(&console.store, &self.new, &selected, None).await?;
        started.insert(self.key, replay.id);
        let (id, letters) = (replay.id, replay.letters);
        tracing::info!(action = "replay", console.user = visit.user, replay.id = id, letters, "a replay was started");
        Ok(Submitted::Started(id))
    }
}
