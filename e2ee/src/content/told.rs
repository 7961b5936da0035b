//! Answers to who asks what entries said: one member re-tells the messages of others.
//!
//! The invariant: an answer fits one message, and says for which entries it stands, so that who asked knows what is
//! still open. This module must not know who asks, or whether the teller is believed.

use super::{CONTENT, ContentError, File, TEXT, array, fields, optional};
use minicbor::{
    Decoder, Encoder, decode,
    encode::{Error, Write},
};

/// The longest username, in UTF-8 bytes.
const USERNAME: usize = 64;
/// What a message takes beside its text, at most.
const OVERHEAD: usize = 128;
/// What the messages of one answer take, at most: the rest is for what stands around them.
const ROOM: usize = CONTENT - 1024;

/// What a member says that the entries of a range said. An entry without a message was none that is shown, or one that
/// the teller does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The first entry's seq.
    pub from: u64,
    /// The last entry's seq; not below the first.
    pub to: u64,
    /// The messages, by rising seq; each within the range.
    pub messages: Vec<ToldMessage>,
}

/// A message of somebody, as another member tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldMessage {
    /// Its entry's seq.
    pub seq: u64,
    /// Its id.
    pub id: [u8; 16],
    /// The author's username.
    pub author: String,
    /// When it was written, by the author's clock: milliseconds since 1970.
    pub sent_at_ms: u64,
    /// The text, not made safe for a screen; of a file, its caption.
    pub text: String,
    /// The file, if it is one. It is told where its message was: to those who might have read that.
    pub file: Option<Box<File>>,
    /// What the author has made of it since, if the text is not the first one.
    pub edited: Option<Edited>,
}

/// The last edit of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edited {
    /// When, by the author's clock: milliseconds since 1970.
    pub at_ms: u64,
    /// The seq of its entry.
    pub seq: u64,
}

impl Told {
    /// As many answers as it takes to tell these messages of `from..=to`; together they stand for the whole range. What
    /// lies outside of the range or breaks a bound is left out, and of two messages with one seq the second.
    pub fn cut(from: u64, to: u64, mut messages: Vec<ToldMessage>) -> Vec<Self> {
        messages.retain(|message| (from..=to).contains(&message.seq) && message.keeps_the_rules());
        messages.sort_by_key(|message| message.seq);
        messages.dedup_by_key(|message| message.seq);
        let mut answers = Vec::new();
        let mut answer = Self { from, to, messages: Vec::new() };
        for message in messages {
            if !answer.messages.is_empty() && answer.room() + message.room() > ROOM {
                let rest = Self { from: message.seq, to, messages: Vec::new() };
                answer.to = message.seq.saturating_sub(1);
                answers.push(std::mem::replace(&mut answer, rest));
            }
            answer.messages.push(message);
        }
        answers.push(answer);
        answers
    }

    pub(super) fn check(&self) -> Result<(), ContentError> {
        if self.messages.iter().any(|message| message.text.len() > TEXT) {
            return Err(ContentError::TooLong);
        }
        let rising = self.messages.is_sorted_by(|one, next| one.seq < next.seq);
        let within = self.messages.iter().all(|one| (self.from..=self.to).contains(&one.seq) && one.keeps_the_rules());
        if self.from <= self.to && rising && within { Ok(()) } else { Err(ContentError::Malformed) }
    }

    /// At least as many bytes as the encoding of the messages has.
    pub(super) fn room(&self) -> usize {
        self.messages.iter().map(ToldMessage::room).sum()
    }

    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        e.array(3)?.u64(self.from)?.u64(self.to)?.array(self.messages.len() as u64)?;
        self.messages.iter().try_for_each(|message| message.write(e))
    }

    pub(super) fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        fields(d, 3, |d| {
            let (from, to) = (d.u64()?, d.u64()?);
            let count = d.array()?.ok_or(decode::Error::message("no length"))?;
            // Bounded by the bytes that are there, not by what the count claims.
            let mut messages = Vec::new();
            for _ in 0..count {
                messages.push(ToldMessage::read(d)?);
            }
            Ok(Self { from, to, messages })
        })
    }
}

impl ToldMessage {
    fn keeps_the_rules(&self) -> bool {
        let file = self.file.as_ref().is_none_or(|file| file.check().is_ok());
        (1..=USERNAME).contains(&self.author.len()) && self.text.len() <= TEXT && file
    }

    fn room(&self) -> usize {
        self.text.len() + self.file.as_ref().map_or(0, |file| file.room()) + OVERHEAD
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        let Self { seq, id, author, sent_at_ms, text, file, edited } = self;
        let fields = match (file, edited) {
            (_, Some(_)) => 7,
            (Some(_), None) => 6,
            (None, None) => 5,
        };
        e.array(fields)?.u64(*seq)?.bytes(id)?.str(author)?.u64(*sent_at_ms)?.str(text)?;
        match file {
            // The caption is the text, which older clients show.
            Some(file) => File { caption: String::new(), ..File::clone(file) }.write(e)?,
            None if edited.is_some() => drop(e.null()?),
            None => {}
        }
        if let Some(Edited { at_ms, seq }) = edited {
            e.array(2)?.u64(*at_ms)?.u64(*seq)?;
        }
        Ok(())
    }

    fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        let fields = d.array()?.filter(|fields| *fields >= 5).ok_or(decode::Error::message("fields are missing"))?;
        let mut message = Self {
            seq: d.u64()?,
            id: array(d)?,
            author: d.str()?.to_owned(),
            sent_at_ms: d.u64()?,
            text: d.str()?.to_owned(),
            file: None,
            edited: None,
        };
        if fields > 5 {
            message.file = optional(d, File::read)?.map(Box::new);
        }
        if let Some(file) = &mut message.file {
            file.caption.clone_from(&message.text);
        }
        if fields > 6 {
            message.edited = optional(d, |d| super::fields(d, 2, |d| Ok(Edited { at_ms: d.u64()?, seq: d.u64()? })))?;
        }
        for _ in 7..fields {
            d.skip()?;
        }
        Ok(message)
    }
}
