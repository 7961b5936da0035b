//! What is done to messages after they were written: edits, deletions, reactions, pins.
//!
//! The invariant: a message is meant by its author and its id together, since ids are chosen by whoever writes. Who may
//! do what to which message is others' business, and so is whether the message is there.

use super::{ContentError, TEXT, array, fields};
use minicbor::{
    Decoder, Encoder, decode,
    encode::{Error, Write},
};

/// The longest username, in UTF-8 bytes.
const USERNAME: usize = 64;
/// The longest reaction, in UTF-8 bytes: the longest emoji of today has 35.
pub const REACTION: usize = 64;
/// How many reactions one member can have on one message.
pub const REACTIONS: usize = 8;

pub(super) const EDIT_KIND: u64 = 67;
pub(super) const DELETE_KIND: u64 = 68;
pub(super) const REACT_KIND: u64 = 69;
pub(super) const PIN_KIND: u64 = 70;

/// A message of the same chat, perhaps of a former conversation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The author's username.
    pub author: String,
    /// The id that the author gave it.
    pub id: [u8; 16],
}

/// What the writer does to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message of the writer's own says this now.
    Edit {
        /// Its id.
        id: [u8; 16],
        /// The new text.
        text: String,
    },
    /// The message is taken back.
    Delete(Target),
    /// These are all the reactions that the writer has on the message from now on.
    React {
        /// Which message.
        to: Target,
        /// The reactions, each an emoji; none takes them back.
        reactions: Vec<String>,
    },
    /// The message is pinned, or not any more.
    Pin {
        /// Which message.
        to: Target,
        /// Whether it is.
        pinned: bool,
    },
}

impl Target {
    pub(super) fn keeps_the_rules(&self) -> bool {
        (1..=USERNAME).contains(&self.author.len())
    }

    /// Writes the author and the id, which are two fields of what they stand in.
    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        e.str(&self.author)?.bytes(&self.id)?.ok()
    }

    pub(super) fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        Ok(Self { author: d.str()?.to_owned(), id: array(d)? })
    }
}

impl Change {
    pub(super) fn check(&self) -> Result<(), ContentError> {
        let holds = match self {
            Self::Edit { text, .. } if text.len() > TEXT => return Err(ContentError::TooLong),
            Self::Edit { .. } => true,
            Self::Delete(to) | Self::Pin { to, .. } => to.keeps_the_rules(),
            Self::React { to, reactions } => {
                to.keeps_the_rules()
                    && reactions.len() <= REACTIONS
                    && reactions.iter().all(|reaction| (1..=REACTION).contains(&reaction.len()))
            }
        };
        if holds { Ok(()) } else { Err(ContentError::Malformed) }
    }

    /// At least as many bytes as the encoding has.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Edit { text, .. } => text.len() + 64,
            _ => USERNAME + 64 + REACTIONS * (REACTION + 4),
        }
    }

    /// Writes the kind and the field.
    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        match self {
            Self::Edit { id, text } => e.u64(EDIT_KIND)?.array(2)?.bytes(id)?.str(text)?.ok(),
            Self::Delete(target) => target.write(e.u64(DELETE_KIND)?.array(2)?),
            Self::React { to, reactions } => {
                to.write(e.u64(REACT_KIND)?.array(3)?)?;
                e.array(reactions.len() as u64)?;
                reactions.iter().try_for_each(|reaction| e.str(reaction)?.ok())
            }
            Self::Pin { to, pinned } => {
                to.write(e.u64(PIN_KIND)?.array(3)?)?;
                e.bool(*pinned)?.ok()
            }
        }
    }

    /// Reads the field of one of the kinds of this module.
    pub(super) fn read(kind: u64, d: &mut Decoder) -> Result<Self, decode::Error> {
        match kind {
            EDIT_KIND => fields(d, 2, |d| Ok(Self::Edit { id: array(d)?, text: d.str()?.to_owned() })),
            DELETE_KIND => fields(d, 2, |d| Ok(Self::Delete(Target::read(d)?))),
            REACT_KIND => fields(d, 3, |d| {
                let to = Target::read(d)?;
                let count = d.array()?.filter(|count| *count <= REACTIONS as u64);
                let count = count.ok_or(decode::Error::message("too many reactions"))?;
                let reactions = (0..count).map(|_| d.str().map(str::to_owned)).collect::<Result<_, _>>()?;
                Ok(Self::React { to, reactions })
            }),
            PIN_KIND => fields(d, 3, |d| Ok(Self::Pin { to: Target::read(d)?, pinned: d.bool()? })),
            _ => Err(decode::Error::message("no change")),
        }
    }
}
