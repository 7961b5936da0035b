//! Names in texts: `@alice` speaks to alice.
//!
//! It knows how a name looks, not whether anybody has it.

/// The names that a text speaks to, in its order, lower case. `@` counts only where a word could begin, so that e-mail
/// addresses are none; full stops and hyphens at the end belong to the sentence.
pub fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices('@').filter_map(move |(at, _)| name_at(text, at).map(|name| name.to_ascii_lowercase()))
}

/// The name behind the `@` at this byte, as it is written.
fn name_at(text: &str, at: usize) -> Option<&str> {
    let (before, rest) = (text.get(..at)?, text.get(at + 1..)?);
    if before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_.-@".contains(c)) {
        return None;
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c)).unwrap_or(rest.len());
    let name = rest.get(..end)?.trim_end_matches(['.', '-']);
    let foreign = rest.get(end..)?.chars().next().is_some_and(char::is_alphanumeric);
    ((3..=32).contains(&name.len()) && !foreign).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        names(text).collect()
    }

    #[test]
    fn names_are_found_where_a_word_could_begin() {
        assert_eq!(all("@alice, ask @Bob.. (@carol-) and @d.e_f-1!"), ["alice", "bob", "carol", "d.e_f-1"]);
        assert_eq!(all("grüß @alice und@bob mail@example.org @ab @@bob @bobü @"), ["alice"]);
        assert!(all(&format!("@{}", "x".repeat(33))).is_empty());
    }
}
