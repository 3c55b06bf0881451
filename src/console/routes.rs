//! Every address of the console, with the right that it needs. One table makes the router and answers who may: an address without
//! a right does not exist.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::access::{Guarded, guard};
use super::fault::Fault;
use super::rights::{Right, Route};
use super::{
    Console, assets, audit, discard, edit, export, letter, letters, link, links, login, overview, reconciliation,
    replays,
};

/// Puts the guard in front of the handlers of `$route`.
macro_rules! guarded {
    ($console:expr, $route:expr) => {
        from_fn_with_state(Guarded { console: Arc::clone($console), route: $route }, guard)
    };
}

/// Declares the addresses as `method "path" Right => handler;`.
macro_rules! routes {
    ($($method:ident $path:literal $right:ident => $handler:path;)+) => {
        /// Every address.
        pub const ROUTES: &[Route] =
            &[$(Route { method: stringify!($method), path: $path, right: Right::$right }),+];

        fn pages(console: &Arc<Console>) -> Router<Arc<Console>> {
            Router::new()$(.route($path, $method($handler).layer(guarded!(
                console, Route { method: stringify!($method), path: $path, right: Right::$right }
            ))))+
        }
    };
}

routes! {
    get "/assets/{fingerprint}/{name}" Public => assets::asset;
    get "/login" Public => login::form;
    post "/login" Public => login::log_in;
    post "/logout" Look => login::log_out;
    get "/" Look => overview::page;
    get "/live/overview" Look => overview::stream;
    get "/letters" Look => letters::page;
    get "/letters/{id}" Look => letter::page;
    get "/live/letters/{id}" Look => letter::stream;
    post "/letters/{id}/reveal" Reveal => letter::reveal;
    post "/letters/{id}/edit" Change => edit::form;
    post "/letters/{id}/edit/preview" Change => edit::preview;
    post "/letters/{id}/edit/send" Change => edit::send;
    post "/letters/discard" Change => discard::confirm;
    post "/letters/discard/confirmed" Change => discard::discard;
    post "/letters/export" Export => export::export;
    get "/replays" Look => replays::list::page;
    get "/live/replays" Look => replays::list::stream;
    post "/replays/new" Change => replays::start::plan;
    post "/replays" Change => replays::start::start;
    get "/replays/{id}" Look => replays::show::page;
    get "/live/replays/{id}" Look => replays::show::stream;
    post "/replays/{id}/pause" Change => replays::changes::pause;
    post "/replays/{id}/resume" Change => replays::resume::resume;
    post "/replays/{id}/cancel" Change => replays::changes::cancel;
    get "/links" Look => links::page;
    get "/links/{id}" Look => link::page;
    post "/links/{id}/reveal" Reveal => link::reveal;
    get "/reconciliation" Look => reconciliation::page;
    get "/live/reconciliation" Look => reconciliation::stream;
    get "/audit" Look => audit::page;
    get "/audit/export" Export => audit::export;
}

/// What is not an address. Who is not logged in does not learn that.
const UNKNOWN: Route = Route { method: "get", path: "", right: Right::Look };

/// The router of all addresses, each behind the guard.
pub(super) fn router(console: Arc<Console>) -> Router {
    let not_found = async || Fault::NotFound("There is no such page. The navigation leads to those that exist.");
    let wrong_method = async || Fault::MethodNotAllowed;
    pages(&console)
        .fallback(not_found.layer(guarded!(&console, UNKNOWN)))
        .method_not_allowed_fallback(wrong_method.layer(guarded!(&console, UNKNOWN)))
        .with_state(console)
}
