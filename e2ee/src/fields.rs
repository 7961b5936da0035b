//! The one unambiguous byte encoding of everything that is signed, hashed or bound as associated data.
//!
//! Numbers are big-endian, arrays stand as they are, texts and other variable fields follow their length (8 bytes).
//! The invariant: two different lists of fields of one format never have the same bytes, and each list has one encoding
//! only. This module must not know what the fields mean.

/// Collects fields.
#[derive(Default)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// Begins with a label, which keeps encodings of different purposes apart.
    pub(crate) fn labelled(label: &str) -> Self {
        Self::default().text(label)
    }

    /// Appends bytes whose length the format fixes.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends bytes of any length.
    pub(crate) fn variable(self, bytes: &[u8]) -> Self {
        self.number(bytes.len() as u64).fixed(bytes)
    }

    /// Appends a text.
    pub(crate) fn text(self, text: &str) -> Self {
        self.variable(text.as_bytes())
    }

    /// Appends a number.
    pub(crate) fn number(self, number: u64) -> Self {
        self.fixed(&number.to_be_bytes())
    }

    /// The encoding.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields back; `None` wherever the bytes are not what [`Fields`] writes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next variable field, if it is not longer than `limit` bytes.
    pub(crate) fn variable(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= limit)?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next username: 1 to 64 bytes of UTF-8. What a username may consist of is the wire language's rule.
    pub(crate) fn username(&mut self) -> Option<&'a str> {
        let name = std::str::from_utf8(self.variable(64)?).ok()?;
        (!name.is_empty()).then_some(name)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
