//! Searching: `search`.

use super::{Context, Method, objects::MessageObject};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use waxwing_core::Snippet;

/// `search`
pub(crate) struct Search;

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchParams {
    /// word, pre*, "a phrase", -without, from:USER, in:CHAT, after:2026-01-31, before:2026-01-31.
    pub(crate) query: String,
    /// At most so many.
    pub(crate) limit: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FoundObject {
    /// The best first.
    pub(crate) hits: Vec<HitObject>,
    /// Whether there is more than was asked for.
    pub(crate) more: bool,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HitObject {
    /// The message.
    #[serde(flatten)]
    pub(crate) message: MessageObject,
    /// The part of its text that matches best.
    pub(crate) snippet: String,
    /// Where the words stand in it: first byte, and the one behind the last.
    pub(crate) matches: Vec<[usize; 2]>,
}

impl HitObject {
    /// The snippet as the core has it. What does not fit is left out.
    pub(crate) fn snippet(&self) -> Snippet {
        let fits = |range: &Range<usize>| self.snippet.get(range.clone()).is_some();
        let matches = self.matches.iter().map(|[begin, end]| *begin..*end).filter(fits).collect();
        Snippet { text: self.snippet.clone(), matches }
    }
}

impl Method for Search {
    const NAME: &'static str = "search";
    const SUMMARY: &'static str = "Searches all messages on this device";
    type Params = SearchParams;
    type Result = FoundObject;

    async fn run(context: &Context, params: SearchParams) -> Result<FoundObject, Failure> {
        let found = context.client.search(&params.query, params.limit).await?;
        let hits = found.hits.into_iter().map(|hit| HitObject {
            message: MessageObject::with_state(&hit.message),
            matches: hit.snippet.matches.iter().map(|range| [range.start, range.end]).collect(),
            snippet: hit.snippet.text,
        });
        Ok(FoundObject { hits: hits.collect(), more: found.more })
    }
}
