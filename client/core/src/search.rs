//! Searching the whole history on this device: what was asked for, what is found, and in which order.
//!
//! The invariant: the work is bounded, however long the history and however common the words: of more matches than
//! [`CANDIDATES`] only the newest are weighed. It must not know how results are shown.

mod query;

use crate::{
    Content, Error, Message, address,
    store::{chats, messages, words},
};
use query::Query;
use rusqlite::Connection;
use std::ops::Range;

/// How many matches are weighed.
const CANDIDATES: usize = 400;
/// Characters of a message of middle length.
const MIDDLE: f64 = 80.0;

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whether there is more than was asked for.
    pub more: bool,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The message.
    pub message: Message,
    /// The part of its text that matches best.
    pub snippet: Snippet,
}

/// A piece of a text, with what was found in it. It comes from others: sanitise it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// The piece; `…` where something was cut off.
    pub text: String,
    /// Where the words stand in it that were asked for: bytes.
    pub matches: Vec<Range<usize>>,
}

/// Finds at most `limit` messages. `asked` is in the language of [`query`].
pub(crate) fn search(db: &Connection, asked: &str, limit: usize, zone: &jiff::tz::TimeZone) -> Result<Found, Error> {
    let query = Query::parse(asked, zone).map_err(Error::BadInput)?;
    let mut chat = None;
    if let Some(name) = &query.chat {
        let name = address::resolve(db, name)?;
        chat = Some(chats::by_name(db, &name)?.ok_or(Error::UnknownChat(name))?.chat);
    }
    let expression = query.expression(chat, &words::months(db)?);
    let span = (query.after, query.before);
    let mut candidates = words::candidates(db, expression.as_deref(), span, CANDIDATES.max(limit) + 1)?;
    let more = candidates.len() > limit;
    candidates.truncate(CANDIDATES.max(limit));
    if !query.terms.is_empty() {
        // Of equal weight the newer comes first: the sort keeps their order.
        let mut weighed: Vec<(f64, i64)> =
            candidates.iter().map(|candidate| (weight(&query.terms, &candidate.text), candidate.position)).collect();
        weighed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        candidates.truncate(0);
        return finish(db, expression.as_deref(), weighed.into_iter().map(|(_, position)| position), limit, more);
    }
    let positions: Vec<i64> = candidates.into_iter().map(|candidate| candidate.position).collect();
    finish(db, expression.as_deref(), positions.into_iter(), limit, more)
}

fn finish(
    db: &Connection,
    expression: Option<&str>,
    positions: impl Iterator<Item = i64>,
    limit: usize,
    more: bool,
) -> Result<Found, Error> {
    let mut hits = Vec::new();
    for position in positions.take(limit) {
        let message = messages::load(db, position)?;
        let marked = match expression {
            Some(expression) => words::snippet(db, expression, position)?,
            None => None,
        };
        let snippet = match (marked, &message.content) {
            (Some(marked), _) => Snippet::from_marked(&marked),
            (None, Content::Text(text)) => Snippet { text: text.chars().take(80).collect(), matches: Vec::new() },
            (None, Content::File(file)) => {
                let text = format!("{} {}", file.caption, file.name);
                Snippet { text: text.trim_start().chars().take(80).collect(), matches: Vec::new() }
            }
            (None, _) => Snippet::default(),
        };
        hits.push(Hit { message, snippet });
    }
    Ok(Found { hits, more })
}

/// How well a text fits: how often the words stand in it, for its length. All of them do, so how rare each is does not
/// matter.
fn weight(terms: &[String], text: &str) -> f64 {
    let lower = text.to_lowercase();
    let length = f64::from(u32::try_from(lower.len()).unwrap_or(u32::MAX)) / MIDDLE;
    let norm = 1.2 * (0.25 + 0.75 * length);
    let of = |term: &String| {
        // What only differs by accents is found as well, and counts once.
        let count = u32::try_from(lower.matches(term.as_str()).count().max(1)).unwrap_or(u32::MAX);
        let count = f64::from(count);
        count / (count + norm)
    };
    terms.iter().map(of).sum()
}

impl Snippet {
    /// From a text in which [`words::BEGIN`] and [`words::END`] stand around what was found. A message that has such
    /// characters itself loses them.
    fn from_marked(marked: &str) -> Self {
        let mut snippet = Self::default();
        let mut begun = None;
        for c in marked.chars() {
            match c {
                words::BEGIN => begun = Some(snippet.text.len()),
                words::END => {
                    if let Some(begun) = begun.take().filter(|begun| *begun < snippet.text.len()) {
                        snippet.matches.push(begun..snippet.text.len());
                    }
                }
                c => snippet.text.push(c),
            }
        }
        snippet
    }
}

#[cfg(test)]
mod tests;
