//! The page, the SDK and their styles, as built into the program.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// A file that is served as it is.
#[derive(Clone, Copy)]
pub(super) struct Asset {
    content_type: &'static str,
    text: &'static str,
}

pub(super) const PAGE: Asset =
    Asset { content_type: "text/html; charset=utf-8", text: include_str!("assets/page.html") };
pub(super) const PAGE_SCRIPT: Asset = script(include_str!("assets/page.js"));
pub(super) const PAGE_STYLE: Asset = style(include_str!("assets/style.css"));
pub(super) const SDK_SCRIPT: Asset = script(include_str!("assets/sdk.js"));
pub(super) const SDK_STYLE: Asset = style(include_str!("assets/sdk.css"));
pub(super) const ICON: Asset = Asset { content_type: "image/svg+xml", text: include_str!("assets/icon.svg") };

const fn script(text: &'static str) -> Asset {
    Asset { content_type: "text/javascript; charset=utf-8", text }
}

const fn style(text: &'static str) -> Asset {
    Asset { content_type: "text/css; charset=utf-8", text }
}

impl IntoResponse for Asset {
    fn into_response(self) -> Response {
        // A new version of the program may bring other files under the same names.
        ([(CONTENT_TYPE, self.content_type), (CACHE_CONTROL, "no-cache")], self.text).into_response()
    }
}
