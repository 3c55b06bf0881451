//! Styles and script, as built into the program. Their addresses hold a hash of their content, so browsers keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::fault::Fault;

/// A file of the console.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const STYLES: Asset =
    Asset { name: "console.css", content_type: "text/css; charset=utf-8", text: include_str!("assets/console.css") };
const SCRIPT: Asset = Asset {
    name: "console.js",
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("assets/console.js"),
};
const ICON: Asset = Asset { name: "icon.svg", content_type: "image/svg+xml", text: include_str!("assets/icon.svg") };

/// Twelve hex digits that change with any of the files.
static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let digest = [STYLES, SCRIPT, ICON].iter().fold(Sha256::new(), |digest, asset| digest.chain_update(asset.text));
    hex::encode(&digest.finalize()[..6])
});

/// The path of the styles.
pub(super) fn styles() -> String {
    path(&STYLES)
}

/// The path of the script.
pub(super) fn script() -> String {
    path(&SCRIPT)
}

/// The path of the icon.
pub(super) fn icon() -> String {
    path(&ICON)
}

fn path(asset: &Asset) -> String {
    format!("/assets/{}/{}", *FINGERPRINT, asset.name)
}

/// `GET /assets/{fingerprint}/{name}`. A page of another version asks for files of another fingerprint, which are not here.
pub(super) async fn asset(Path((fingerprint, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let found = [STYLES, SCRIPT, ICON].into_iter().find(|asset| asset.name == name && fingerprint == *FINGERPRINT);
    let asset = found.ok_or(Fault::NotFound("There is no such file in this version of the console."))?;
    let headers = [(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.text).into_response())
}
