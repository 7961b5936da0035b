//! Taking a history along: `export`, page by page, and `import`.

use super::{Context, Method};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use waxwing_core as core;

/// `export`
pub(crate) struct Export;

/// What is to be exported, and which piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportParams {
    /// One chat; none for all.
    #[serde(default)]
    pub(crate) chat: Option<String>,
    /// Only what was written from then on (milliseconds since 1970).
    #[serde(default)]
    pub(crate) since_ms: Option<u64>,
    /// json, markdown or html.
    #[schemars(with = "String")]
    pub(crate) format: core::ExportFormat,
    /// What `next` was with the page before; none for the first.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
}

/// A piece of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ExportObject {
    /// What comes next in the file.
    pub(crate) text: String,
    /// How many messages are in it.
    pub(crate) messages: u64,
    /// Asks for the page after this one; none: this was the last.
    pub(crate) next: Option<String>,
}

impl Method for Export {
    const NAME: &'static str = "export";
    const SUMMARY: &'static str = "The messages of one chat or all, as JSON, Markdown or HTML, page by page";
    type Params = ExportParams;
    type Result = ExportObject;

    async fn run(context: &Context, params: ExportParams) -> Result<ExportObject, Failure> {
        let ExportParams { chat, since_ms, format, cursor } = params;
        let unknown = || core::Error::BadInput("the cursor is not one that export gave".into());
        let cursor = cursor.map(|cursor| serde_json::from_str(&cursor)).transpose().map_err(|_| unknown())?;
        let request = core::ExportRequest { chat, since: since_ms, format };
        let core::ExportPage { text, messages, next } = context.client.export(request, cursor).await?;
        let next = next.map(|next| serde_json::to_string(&next)).transpose().map_err(std::io::Error::from)?;
        Ok(ExportObject { text, messages, next })
    }
}

/// `import`
pub(crate) struct Import;

/// Which file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportParams {
    /// An absolute path.
    pub(crate) file: PathBuf,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ImportObject {
    /// Messages that are new here.
    pub(crate) added: u64,
    /// Messages that were here already.
    pub(crate) known: u64,
    /// Entries of the file that are no texts, which are left out.
    pub(crate) skipped: u64,
}

impl Method for Import {
    const NAME: &'static str = "import";
    const SUMMARY: &'static str =
        "Takes the messages of an exported document (JSON) into the history, marked as imported";
    type Params = ImportParams;
    type Result = ImportObject;

    async fn run(context: &Context, params: ImportParams) -> Result<ImportObject, Failure> {
        let core::Imported { added, known, skipped } = context.client.import(params.file).await?;
        Ok(ImportObject { added, known, skipped })
    }
}
