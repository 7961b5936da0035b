//! Colours in fenced code: words, texts, numbers and comments, as nearly all languages have them in common.
//!
//! The invariant: every piece of the code comes out once and in its order, in time that grows with its length alone, whoever
//! wrote it. It knows no grammar and no colours, and does not sanitise.
//!
//! A highlighter with grammars (syntect) would be larger than all the rest of the client's tree and take longer to load than the
//! screen does; a few lines of somebody's code in a chat need no more than this.

/// What a piece of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// All else.
    Plain,
    /// A word of the language.
    Keyword,
    /// A text, quotes included.
    Text,
    Number,
    Comment,
}

/// How a language writes what we tell apart.
struct Language {
    /// What it is called behind the fence.
    names: &'static [&'static str],
    keywords: &'static [&'static str],
    /// What begins a comment that ends with its line.
    line: &'static [&'static str],
    /// What begins and ends a comment of several lines.
    block: Option<(&'static str, &'static str)>,
    quotes: &'static [char],
    /// Quotes of texts that may hold line breaks; three of them in Python.
    long_quote: Option<&'static str>,
    /// Whether its words are written in either case.
    any_case: bool,
}

const C_LIKE: Language = Language {
    names: &[],
    keywords: &[],
    line: &["//"],
    block: Some(("/*", "*/")),
    quotes: &['"', '\''],
    long_quote: None,
    any_case: false,
};

const SHELL_LIKE: Language = Language { line: &["#"], block: None, ..C_LIKE };

const LANGUAGES: &[Language] = &[
    Language {
        names: &["rust", "rs"],
        keywords: &[
            "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern", "false",
            "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return",
            "self", "Self", "static", "struct", "super", "trait", "true", "type", "unsafe", "use", "where", "while",
        ],
        quotes: &['"'],
        ..C_LIKE
    },
    Language {
        names: &["python", "py", "python3"],
        keywords: &[
            "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
            "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
            "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
        ],
        long_quote: Some("\"\"\""),
        ..SHELL_LIKE
    },
    Language {
        names: &["javascript", "js", "jsx", "mjs", "typescript", "ts", "tsx"],
        keywords: &[
            "abstract",
            "any",
            "as",
            "async",
            "await",
            "boolean",
            "break",
            "case",
            "catch",
            "class",
            "const",
            "continue",
            "default",
            "delete",
            "do",
            "else",
            "enum",
            "export",
            "extends",
            "false",
            "finally",
            "for",
            "from",
            "function",
            "if",
            "implements",
            "import",
            "in",
            "instanceof",
            "interface",
            "let",
            "new",
            "null",
            "number",
            "of",
            "private",
            "public",
            "readonly",
            "return",
            "static",
            "string",
            "super",
            "switch",
            "this",
            "throw",
            "true",
            "try",
            "type",
            "typeof",
            "undefined",
            "var",
            "void",
            "while",
            "yield",
        ],
        long_quote: Some("`"),
        ..C_LIKE
    },
    Language {
        names: &["c", "h", "cpp", "c++", "cc", "hpp", "cxx", "objc"],
        keywords: &[
            "auto",
            "bool",
            "break",
            "case",
            "catch",
            "char",
            "class",
            "const",
            "constexpr",
            "continue",
            "default",
            "delete",
            "do",
            "double",
            "else",
            "enum",
            "extern",
            "false",
            "float",
            "for",
            "goto",
            "if",
            "inline",
            "int",
            "long",
            "namespace",
            "new",
            "nullptr",
            "operator",
            "private",
            "protected",
            "public",
            "register",
            "return",
            "short",
            "signed",
            "sizeof",
            "static",
            "struct",
            "switch",
            "template",
            "this",
            "throw",
            "true",
            "try",
            "typedef",
            "typename",
            "union",
            "unsigned",
            "using",
            "virtual",
            "void",
            "volatile",
            "while",
        ],
        ..C_LIKE
    },
    Language {
        names: &["java", "kotlin", "kt", "kts", "scala", "csharp", "cs", "c#", "swift", "dart"],
        keywords: &[
            "abstract",
            "async",
            "await",
            "boolean",
            "break",
            "byte",
            "case",
            "catch",
            "char",
            "class",
            "const",
            "continue",
            "data",
            "default",
            "do",
            "double",
            "else",
            "enum",
            "extends",
            "false",
            "final",
            "finally",
            "float",
            "for",
            "fun",
            "func",
            "guard",
            "if",
            "implements",
            "import",
            "in",
            "int",
            "interface",
            "internal",
            "is",
            "let",
            "long",
            "namespace",
            "new",
            "nil",
            "null",
            "object",
            "open",
            "override",
            "package",
            "private",
            "protected",
            "public",
            "return",
            "sealed",
            "static",
            "string",
            "struct",
            "super",
            "switch",
            "this",
            "throw",
            "throws",
            "true",
            "try",
            "using",
            "val",
            "var",
            "void",
            "when",
            "while",
            "yield",
        ],
        ..C_LIKE
    },
    Language {
        names: &["go", "golang"],
        keywords: &[
            "break",
            "case",
            "chan",
            "const",
            "continue",
            "default",
            "defer",
            "else",
            "false",
            "for",
            "func",
            "go",
            "goto",
            "if",
            "import",
            "interface",
            "map",
            "nil",
            "package",
            "range",
            "return",
            "select",
            "struct",
            "switch",
            "true",
            "type",
            "var",
        ],
        long_quote: Some("`"),
        ..C_LIKE
    },
    Language {
        names: &["sh", "bash", "zsh", "fish", "shell", "console"],
        keywords: &[
            "alias", "break", "case", "cd", "continue", "do", "done", "echo", "elif", "else", "esac", "eval", "exit",
            "export", "fi", "for", "function", "if", "in", "local", "printf", "read", "readonly", "return", "set",
            "shift", "source", "then", "trap", "unset", "until", "while",
        ],
        ..SHELL_LIKE
    },
    Language {
        names: &["ruby", "rb", "elixir", "ex", "perl", "pl", "r"],
        keywords: &[
            "BEGIN",
            "END",
            "alias",
            "and",
            "begin",
            "break",
            "case",
            "class",
            "def",
            "defmodule",
            "do",
            "else",
            "elsif",
            "end",
            "ensure",
            "false",
            "fn",
            "for",
            "function",
            "if",
            "in",
            "module",
            "my",
            "next",
            "nil",
            "not",
            "or",
            "our",
            "package",
            "require",
            "rescue",
            "return",
            "self",
            "sub",
            "super",
            "then",
            "true",
            "unless",
            "until",
            "use",
            "when",
            "while",
            "yield",
        ],
        ..SHELL_LIKE
    },
    Language {
        names: &["sql", "mysql", "sqlite", "postgres", "postgresql"],
        keywords: &[
            "add",
            "all",
            "alter",
            "and",
            "as",
            "asc",
            "begin",
            "between",
            "by",
            "case",
            "check",
            "column",
            "commit",
            "constraint",
            "create",
            "default",
            "delete",
            "desc",
            "distinct",
            "drop",
            "else",
            "end",
            "exists",
            "foreign",
            "from",
            "full",
            "group",
            "having",
            "if",
            "in",
            "index",
            "inner",
            "insert",
            "into",
            "is",
            "join",
            "key",
            "left",
            "like",
            "limit",
            "not",
            "null",
            "on",
            "or",
            "order",
            "outer",
            "primary",
            "references",
            "right",
            "rollback",
            "select",
            "set",
            "table",
            "then",
            "trigger",
            "union",
            "unique",
            "update",
            "values",
            "view",
            "when",
            "where",
            "with",
        ],
        line: &["--"],
        any_case: true,
        ..C_LIKE
    },
    Language { names: &["json", "jsonc", "json5"], keywords: &["false", "null", "true"], ..C_LIKE },
    Language {
        names: &[
            "toml",
            "yaml",
            "yml",
            "ini",
            "conf",
            "cfg",
            "dockerfile",
            "docker",
            "make",
            "makefile",
            "nix",
            "properties",
        ],
        keywords: &[
            "CMD",
            "COPY",
            "ENTRYPOINT",
            "ENV",
            "EXPOSE",
            "FROM",
            "RUN",
            "USER",
            "WORKDIR",
            "false",
            "no",
            "null",
            "off",
            "on",
            "true",
            "yes",
        ],
        ..SHELL_LIKE
    },
    Language {
        names: &["lua", "haskell", "hs"],
        keywords: &[
            "and", "break", "case", "class", "data", "deriving", "do", "else", "elseif", "end", "false", "for",
            "function", "if", "import", "in", "instance", "let", "local", "module", "newtype", "nil", "not", "of",
            "or", "repeat", "return", "then", "true", "type", "until", "where", "while",
        ],
        line: &["--"],
        block: None,
        ..C_LIKE
    },
    Language { names: &["html", "xml", "svg"], line: &[], block: Some(("<!--", "-->")), ..C_LIKE },
    Language { names: &["css", "scss", "less"], keywords: &["important", "media", "import"], ..C_LIKE },
];

/// The pieces of a code; in a language that is not known it is one piece.
pub(crate) fn tokens<'a>(language: Option<&str>, code: &'a str) -> Vec<(Token, &'a str)> {
    let wanted = language.map(str::to_ascii_lowercase).unwrap_or_default();
    let Some(language) = LANGUAGES.iter().find(|language| language.names.contains(&wanted.as_str())) else {
        return vec![(Token::Plain, code)];
    };
    let (mut pieces, mut at, mut plain_from) = (Vec::new(), 0, 0);
    let mut piece = |token, from: usize, to: usize| {
        if let Some(text) = code.get(from..to).filter(|text| !text.is_empty()) {
            pieces.push((token, text));
        }
    };
    let mut before = None;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let (token, length) = next(language, before, rest);
        before = rest.get(..length).and_then(|text| text.chars().next_back());
        // What is nothing special is one piece with what was nothing special before it.
        if token != Token::Plain {
            piece(Token::Plain, plain_from, at);
            piece(token, at, at + length);
            plain_from = at + length;
        }
        at += length;
    }
    piece(Token::Plain, plain_from, code.len());
    pieces
}

/// What stands at the beginning of the rest, and how long it is: one character at least. Whatever is looked at is taken, so
/// that nothing is looked at twice.
fn next(language: &Language, before: Option<char>, rest: &str) -> (Token, usize) {
    let Some(first) = rest.chars().next() else { return (Token::Plain, 1) };
    // A # within a word begins none: `$#`, `#{x}`.
    let apart = first != '#' || before.is_none_or(char::is_whitespace);
    if apart && language.line.iter().any(|mark| rest.starts_with(mark)) {
        return (Token::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if let Some((begin, end)) = language.block.filter(|(begin, _)| rest.starts_with(begin)) {
        return (Token::Comment, enclosed(rest, begin, end));
    }
    if let Some(quote) = language.long_quote.filter(|quote| rest.starts_with(quote)) {
        return (Token::Text, enclosed(rest, quote, quote));
    }
    if language.quotes.contains(&first) {
        return (Token::Text, quoted(rest, first));
    }
    if !first.is_alphanumeric() && first != '_' {
        return (Token::Plain, first.len_utf8());
    }
    let is_number = first.is_ascii_digit();
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || (is_number && c == '.'));
    let length = rest.find(ends).unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or_default();
    let is_keyword = || match language.any_case {
        true => language.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)),
        false => language.keywords.contains(&word),
    };
    let token = match is_number {
        true => Token::Number,
        false if is_keyword() => Token::Keyword,
        false => Token::Plain,
    };
    (token, length)
}

/// Up to and with what ends it, else all.
fn enclosed(rest: &str, begin: &str, end: &str) -> usize {
    let inside = rest.get(begin.len()..).unwrap_or_default();
    inside.find(end).map_or(rest.len(), |at| begin.len() + at + end.len())
}

/// Up to and with the same quote, unless a backslash stands before it; at most to the end of the line.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each piece that is something, with a letter for what it is.
    fn marked(language: &str, code: &str) -> Vec<String> {
        let pieces = tokens(Some(language), code).into_iter().filter(|(token, _)| *token != Token::Plain);
        let letter = |token| match token {
            Token::Plain => ' ',
            Token::Keyword => 'k',
            Token::Text => 't',
            Token::Number => 'n',
            Token::Comment => 'c',
        };
        pieces.map(|(token, text)| format!("{}:{text}", letter(token))).collect()
    }

    #[test]
    fn words_texts_numbers_and_comments_are_told_apart() {
        assert_eq!(
            marked("rust", "fn main() { let life: &'a str = \"if \\\" 7\"; x1(0x2a, 1.5) } // fn 3"),
            ["k:fn", "k:let", "t:\"if \\\" 7\"", "n:0x2a", "n:1.5", "c:// fn 3"]
        );
        assert_eq!(marked("Python", "def f(): # if\n  \"\"\"a\n'b\"\"\""), ["k:def", "c:# if", "t:\"\"\"a\n'b\"\"\""]);
        assert_eq!(marked("sql", "SELECT 'it' FROM t -- x"), ["k:SELECT", "t:'it'", "k:FROM", "c:-- x"]);
        assert_eq!(marked("sh", "echo $# ${a#b} # done"), ["k:echo", "c:# done"]);
        assert_eq!(marked("c", "/* if\n1 */ int a = 'x';"), ["c:/* if\n1 */", "k:int", "t:'x'"]);
        assert_eq!(marked("json", "{\"a\": [1, true]}"), ["t:\"a\"", "n:1", "k:true"]);
        // What does not end goes to the end of its line, or of all.
        assert_eq!(marked("js", "a = \"b\nlet c /* d"), ["t:\"b", "k:let", "c:/* d"]);
    }

    #[test]
    fn a_language_that_is_not_known_is_plain() {
        for language in [None, Some("klingon"), Some(""), Some("rust,ignore")] {
            assert_eq!(tokens(language, "fn main() {}"), [(Token::Plain, "fn main() {}")]);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled(language in 0..LANGUAGES.len(), code in "[\"'`#/*\\-!<>a1 é\n\\\\]{0,200}") {
            let name = LANGUAGES[language].names[0];
            let pieces = tokens(Some(name), &code);
            prop_assert_eq!(&pieces.iter().map(|(_, text)| *text).collect::<String>(), &code);
            prop_assert!(pieces.iter().all(|(_, text)| !text.is_empty()));
        }
    }
}
