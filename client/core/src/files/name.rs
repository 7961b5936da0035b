//! What a file is called on this disk, whatever its sender called it; and what its name says that it is.

/// The longest name, in bytes: leaves room for a number, and for a part file's marks.
const LONGEST: usize = 200;
/// What Windows takes for a device, with or without an ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// A name that is one component of a path on any system, shows as what it is, and is not hidden.
pub(super) fn safe(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim_matches(['.', ' ']).is_empty()).unwrap_or_default();
    let plain: String = last.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let trimmed = plain.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let mut name = shorten(trimmed);
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let port = |stem: &str| {
        let digits = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
        digits.is_some_and(|digit| {
            digit.chars().count() == 1 && digit.chars().all(|c| c.is_ascii_digit() || "¹²³".contains(c))
        })
    };
    if DEVICES.contains(&stem.as_str()) || port(&stem) {
        name.insert(0, '_');
    }
    if name.starts_with('-') {
        // Else a command would take it for an option.
        name.replace_range(..1, "_");
    }
    if name.trim_matches('_').is_empty() { "file".into() } else { name }
}

/// The name of another file beside one that is there: `a.txt`, `a (1).txt`, `a (2).txt` …
pub(super) fn numbered(name: &str, number: usize) -> String {
    match (number, split(name)) {
        (0, _) => name.to_owned(),
        (_, (stem, ending)) => format!("{stem} ({number}){ending}"),
    }
}

/// Letters and digits of all scripts, their usual accents, and marks that mean nothing to a shell's or a system's paths.
fn is_plain(c: char) -> bool {
    let filler = matches!(c, '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}');
    let accent = ('\u{300}'..='\u{36f}').contains(&c) && c != '\u{34f}';
    !filler && (c.is_alphanumeric() || accent || " ._-()[]+,=@#'!~".contains(c))
}

/// Stem and ending, the ending with its dot; none if it would be longer than any usual one.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 16 => name.split_at(dot),
        _ => (name, ""),
    }
}

fn shorten(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    let room = LONGEST - ending.len();
    let end = (0..=room.min(stem.len())).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{ending}", stem.get(..end).unwrap_or_default().trim_end_matches(['.', ' ']))
}

/// What a name says that its file is. Nothing is done by it but to show it.
pub(super) fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "avif" => "image/avif",
        "heic" => "image/heic",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "m4a" => "audio/mp4",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "mov" => "video/quicktime",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "json" => "application/json",
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_harmless_component() {
        let long = "x".repeat(4096);
        for (name, safely) in [
            ("notes.txt", "notes.txt"),
            ("Grüße, 第1回.pdf", "Grüße, 第1回.pdf"),
            ("../../.ssh/authorized_keys", "authorized_keys"),
            ("../../.ssh/x", "x"),
            ("/etc/passwd", "passwd"),
            ("C:\\x", "x"),
            ("C:evil.txt", "C_evil.txt"),
            ("\\\\server\\share\\a.exe", "a.exe"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            ("...", "file"),
            ("/", "file"),
            ("a/..", "a"),
            (".bashrc", "bashrc"),
            ("..hidden", "hidden"),
            ("a\0b", "a_b"),
            ("a\nb\u{1b}[2J", "a_b_[2J"),
            ("gpj.\u{202e}exe.txt", "gpj._exe.txt"),
            ("in\u{200b}visible\u{3164}", "in_visible_"),
            ("nul", "_nul"),
            ("NUL.txt", "_NUL.txt"),
            ("com1", "_com1"),
            ("LPT9.log", "_LPT9.log"),
            ("console.log", "console.log"),
            ("trailing. . ", "trailing"),
            ("a*b?c\"d<e>f|g:h", "a_b_c_d_e_f_g_h"),
            ("$(reboot)`x`;&.sh", "_(reboot)_x___.sh"),
            ("-rf", "_rf"),
        ] {
            assert_eq!(safe(name), safely, "{name:?}");
        }
        assert_eq!(safe(&long).len(), LONGEST);
        assert_eq!(safe(&format!("{long}.tar")), format!("{}.tar", "x".repeat(LONGEST - 4)));
        assert!(safe(&"é".repeat(300)).len() <= LONGEST);
    }

    #[test]
    fn further_files_are_numbered_before_their_ending() {
        assert_eq!(numbered("a.txt", 0), "a.txt");
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("README", 1), "README (1)");
        assert_eq!(media_type("A.JPG"), "image/jpeg");
        assert_eq!(media_type("Makefile"), "application/octet-stream");
    }
}
