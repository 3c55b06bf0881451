//! `banklink schema`: the documents by which other programs are written. `docs/schemas` holds what it prints by default.

use clap::ValueEnum;

use super::flags::{Flags, setting_args};
use super::{CommandError, openapi, output, settings};
use crate::broker::asyncapi_document;
use crate::domain::event_schema;

#[derive(clap::Args)]
#[command(args = setting_args(&[&settings::BANKLINK_NAMESPACE.info]))]
pub(super) struct Args {
    /// Which document
    #[arg(value_enum)]
    document: Document,
}

#[derive(Clone, Copy, ValueEnum)]
enum Document {
    /// JSON Schema (draft 2020-12) of every event
    Events,
    /// AsyncAPI 3.0, with AMQP bindings, of the namespace's exchange and stream
    Asyncapi,
    /// OpenAPI 3.1 of the ingress, the read API and the admin address
    Openapi,
}

pub(super) fn run(args: &Args, flags: &Flags) -> Result<(), CommandError> {
    let namespace = flags.resolve(|values| values.get(&settings::BANKLINK_NAMESPACE))?;
    let document = match args.document {
        Document::Events => event_schema::document(),
        Document::Asyncapi => asyncapi_document(&namespace),
        Document::Openapi => openapi::document()?,
    };
    output::lines(&serde_json::to_string_pretty(&document)?)
}
