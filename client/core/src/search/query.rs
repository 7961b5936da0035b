//! The language of searches: `from:bob in:#gaming before:2026-01-01 after:2025-06-30 word pre* "a phrase" -not`.
//!
//! All words must be there. `before:` ends and `after:` begins with that day here. Anything can be typed: what has no
//! meaning as a filter is a word.

use crate::{export::IMPORTED, store::chats::ChatId};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use std::fmt::Write as _;

/// So much earlier than it claims to be written a message may have come, in milliseconds: clocks differ.
const MARGIN: u64 = 2 * 86_400_000;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// The chat's name.
    pub(super) chat: Option<String>,
    /// The author's username.
    from: Option<String>,
    /// Not written before this time; milliseconds since 1970.
    pub(super) after: Option<u64>,
    /// Written before this time.
    pub(super) before: Option<u64>,
    /// Words and phrases, lower case, for weighing what is found.
    pub(super) terms: Vec<String>,
    /// The same for the index: text, whether it is a beginning, whether it must not be there.
    words: Vec<Word>,
}

#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    prefix: bool,
    not: bool,
}

impl Query {
    /// Reads what a user has typed; the error says what is wrong with it.
    pub(super) fn parse(asked: &str, zone: &TimeZone) -> Result<Self, String> {
        let mut query = Self::default();
        for piece in pieces(asked) {
            let (not, piece) = match piece.strip_prefix('-') {
                Some(rest) if !rest.is_empty() => (true, rest),
                _ => (false, piece.as_str()),
            };
            match piece.split_once(':') {
                Some(("from", name)) if !not => query.from = Some(name_in(name, "from:bob")?),
                Some(("in", name)) if !not => query.chat = Some(name_in(name, "in:bob")?),
                Some(("before", day)) if !not => query.before = Some(time(day, zone)?),
                Some(("after", day)) if !not => query.after = Some(time(day, zone)?),
                _ => query.add(piece, not),
            }
        }
        let nothing = query.terms.is_empty() && query.from.is_none() && query.chat.is_none();
        if nothing && query.words.is_empty() && query.after.is_none() && query.before.is_none() {
            return Err("nothing to search for: give a word, \"a phrase\", pre*, from:bob or in:bob".into());
        }
        Ok(query)
    }

    fn add(&mut self, piece: &str, not: bool) {
        let quoted = piece.len() >= 2 && piece.starts_with('"') && piece.ends_with('"');
        let (text, prefix) = match quoted {
            true => (piece.trim_matches('"'), false),
            false => (piece.trim_end_matches('*'), piece.ends_with('*')),
        };
        // The index knows letters and digits only.
        if !text.chars().any(char::is_alphanumeric) {
            return;
        }
        if !not {
            self.terms.push(text.to_lowercase());
        }
        self.words.push(Word { text: text.to_owned(), prefix, not });
    }

    /// The same in FTS5's language; none if the index is not needed. Nothing that was typed is understood by FTS5 itself.
    /// `known` are the months that messages are of.
    pub(super) fn expression(&self, chat: Option<ChatId>, known: &[String]) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        if let Some(chat) = chat {
            parts.push(format!("chat : c{chat}"));
        }
        if let Some(from) = &self.from {
            // What was imported is said to be by that user, and shows that it is.
            let (proven, imported) = (author(from), author(&format!("{from}{IMPORTED}")));
            parts.push(format!("author : ({proven} OR {imported})"));
        }
        let of = |word: &Word| {
            let star = if word.prefix { " *" } else { "" };
            format!("text : \"{}\"{star}", word.text.replace('"', "\"\""))
        };
        parts.extend(self.words.iter().filter(|word| !word.not).map(of));
        parts.extend(self.months(known));
        if parts.is_empty() {
            return None;
        }
        let mut expression = parts.join(" AND ");
        for word in self.words.iter().filter(|word| word.not) {
            expression = format!("({expression}) NOT {}", of(word));
        }
        Some(expression)
    }

    /// That a message is of one of the days that are asked for: of the months between them, and of days of the months in which
    /// they begin and end. None if all known months are asked for as a whole.
    fn months(&self, known: &[String]) -> Option<String> {
        // A message's day is when it was written, or when it came if that was earlier.
        let first = match self.after {
            Some(after) => date(after.saturating_sub(MARGIN))?,
            None => Date::MIN,
        };
        let last = match self.before {
            Some(before) => date(before.saturating_sub(1))?,
            None => Date::MAX,
        };
        let (mut tokens, mut whole) = (Vec::new(), 0);
        for month in known {
            let Some((begin, end)) = days(month) else { continue };
            if first <= begin && end <= last {
                whole += 1;
                tokens.push(format!("m{month}"));
            } else if begin <= last && first <= end {
                let days = begin.series(1.day()).take_while(|day| *day <= end);
                let asked = days.filter(|day| first <= *day && *day <= last);
                tokens.extend(asked.map(|day| format!("d{month}{:02}", day.day())));
            }
        }
        match tokens.is_empty() {
            _ if whole == known.len() => None,
            // No message is of such a day.
            true => Some("month : m000000".to_owned()),
            false => Some(format!("month : ({})", tokens.join(" OR "))),
        }
    }
}

/// The day of a time, in UTC; none beyond the calendar.
fn date(ms: u64) -> Option<Date> {
    let time = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(time.to_zoned(TimeZone::UTC).date())
}

/// The first and the last day of a month such as `202601`.
fn days(month: &str) -> Option<(Date, Date)> {
    let (year, month) = month.split_at_checked(4)?;
    let begin = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
    Some((begin, begin.last_of_month()))
}

/// What stands between spaces, or between quotation marks.
fn pieces(asked: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut quoted = false;
    for c in asked.chars() {
        match c {
            c if c.is_whitespace() && !quoted => pieces.push(String::new()),
            c => {
                quoted ^= c == '"';
                if let Some(piece) = pieces.last_mut() {
                    piece.push(c);
                }
            }
        }
    }
    if quoted {
        // A quotation mark without its end.
        if let Some(piece) = pieces.last_mut() {
            piece.push('"');
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn name_in(name: &str, example: &str) -> Result<String, String> {
    let name = name.trim_matches('"').trim_start_matches('@').to_lowercase();
    if name.is_empty() { Err(format!("a name is missing: write {example}")) } else { Ok(name) }
}

/// When a day begins here.
fn time(day: &str, zone: &TimeZone) -> Result<u64, String> {
    let date: Option<Date> = day.trim_matches('"').parse().ok();
    let start = date.and_then(|date| date.to_zoned(zone.clone()).ok());
    let start = start.ok_or_else(|| format!("'{day}' is no day: write it like 2026-01-31"))?;
    // Nothing was written before 1970.
    Ok(u64::try_from(start.timestamp().as_millisecond()).unwrap_or(0))
}

/// An author as the index has it.
fn author(name: &str) -> String {
    name.bytes().fold("a".to_owned(), |mut word, byte| {
        // Writing to a string cannot fail.
        let _ = write!(word, "{byte:02x}");
        word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(asked: &str) -> String {
        Query::parse(asked, &TimeZone::UTC).unwrap().expression(Some(7), &[]).unwrap()
    }

    #[test]
    fn words_phrases_beginnings_and_names_are_understood() {
        let asked = "from:@Bob in:alice hello \"see you\" wor* -\"not this\"";
        let query = Query::parse(asked, &TimeZone::UTC).unwrap();
        assert_eq!((query.chat.as_deref(), query.from.as_deref()), (Some("alice"), Some("bob")));
        assert_eq!(query.terms, ["hello", "see you", "wor"]);
        assert_eq!(
            query.expression(Some(7), &[]).unwrap(),
            "(chat : c7 AND author : (a626f62 OR a626f622028696d706f7274656429) AND text : \"hello\" AND text : \"see you\" AND text : \"wor\" *) \
             NOT text : \"not this\""
        );
    }

    #[test]
    fn nothing_that_is_typed_is_the_indexs_own_language() {
        assert_eq!(expression("a\"b"), "chat : c7 AND text : \"a\"\"b\"\"\"");
        assert_eq!(expression("NEAR(x) OR"), "chat : c7 AND text : \"NEAR(x)\" AND text : \"OR\"");
        assert_eq!(expression("text:x ^a {b}"), "chat : c7 AND text : \"text:x\" AND text : \"^a\" AND text : \"{b}\"");
        assert_eq!(expression("http://x:80 --- *"), "chat : c7 AND text : \"http://x:80\"");
    }

    #[test]
    fn days_begin_where_one_is() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let query = Query::parse("after:2026-01-01 before:2026-01-02", &zone).unwrap();
        assert_eq!((query.after, query.before), (Some(1_767_218_400_000), Some(1_767_304_800_000)));
        let known: Vec<String> =
            ["202510", "202511", "202512", "202601", "202602"].iter().map(|month| (*month).to_owned()).collect();
        let of = |asked: &str| Query::parse(asked, &zone).unwrap().expression(None, &known);
        // The day begins here when it still is the one before in UTC; what came before it claims to be written counts, too.
        assert_eq!(
            of("after:2026-01-01 before:2026-01-02").as_deref(),
            Some("month : (d20251229 OR d20251230 OR d20251231 OR d20260101)")
        );
        assert_eq!(of("tea before:2025-12-01").as_deref(), Some("text : \"tea\" AND month : (m202510 OR m202511)"));
        assert_eq!(
            of("tea after:2026-01-31").as_deref(),
            Some("text : \"tea\" AND month : (d20260128 OR d20260129 OR d20260130 OR d20260131 OR m202602)")
        );
        // Before and behind all that there is.
        assert_eq!(of("tea before:1990-01-01").as_deref(), Some("text : \"tea\" AND month : m000000"));
        assert_eq!(of("tea after:1990-01-01").as_deref(), Some("text : \"tea\""));
        assert_eq!((of("after:1990-01-01"), of("before:2030-01-01")), (None, None));
    }

    #[test]
    fn what_cannot_be_searched_says_why() {
        for (asked, why) in
            [("", "nothing"), ("  ", "nothing"), ("!!", "nothing"), ("from:", "from:bob"), ("after:x", "day")]
        {
            let error = Query::parse(asked, &TimeZone::UTC).unwrap_err();
            assert!(error.contains(why), "{asked}: {error}");
        }
    }
}
