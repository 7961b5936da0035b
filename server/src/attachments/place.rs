//! Where attachments are to lie. Plain values.

use std::{fmt, path::PathBuf, str::FromStr};
use zeroize::Zeroizing;

/// The scheme of a bucket.
const SCHEME: &str = "s3://";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The folder `attachments` in the server's folder.
    #[default]
    Folder,
    /// A bucket.
    S3 {
        /// Its name.
        bucket: String,
        /// In front of all names of objects; may be empty.
        prefix: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => f.write_str("folder"),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "{SCHEME}{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "{SCHEME}{bucket}/{prefix}"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "folder" {
            return Ok(Self::Folder);
        }
        let wrong = || format!("{text:?} is neither \"folder\" nor a bucket such as \"s3://bucket/prefix\"");
        let (bucket, prefix) = {
            let rest = text.strip_prefix(SCHEME).ok_or_else(wrong)?.trim_end_matches('/');
            rest.split_once('/').unwrap_or((rest, ""))
        };
        let of_bucket = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let of_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let sound = (3..=63).contains(&bucket.len()) && bucket.bytes().all(of_bucket);
        let empty_part = prefix.split('/').any(|part| matches!(part, "" | "." | "..")) && !prefix.is_empty();
        match sound && prefix.len() <= 512 && prefix.bytes().all(of_prefix) && !empty_part {
            true => Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }),
            false => Err(wrong()),
        }
    }
}

/// A bucket and how to reach it.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// In front of all names of objects; may be empty.
    pub prefix: String,
    /// The store's URL; none: Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Certificates (PEM) to trust beside the usual ones.
    pub ca_file: Option<PathBuf>,
}

/// Who we are there. `Debug` shows nothing.
pub struct Keys {
    /// The access key's id.
    pub id: Zeroizing<String>,
    /// The access key.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["folder", "s3://waxwing", "s3://waxwing.example-1/some/where"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("s3://abc/x/".parse::<Place>().unwrap().to_string(), "s3://abc/x");
        for text in ["", "s3://", "s3://ab", "s3://Upper", "s3://abc//x", "s3://abc/../x", "s3://abc/ü", "https://abc"]
        {
            assert!(text.parse::<Place>().unwrap_err().contains("s3://bucket/prefix"), "{text}");
        }
    }
}
