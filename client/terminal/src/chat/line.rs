//! Lines that are typed or piped in, and lines that are printed: nothing moves a cursor.

use crate::Failure;
use std::io::{self, IsTerminal as _};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Typed in a terminal.
    Typed,
    /// From a pipe or a file.
    Piped,
}

impl Reading {
    /// What standard input is.
    pub(crate) fn of_this_terminal() -> Self {
        if io::stdin().is_terminal() { Self::Typed } else { Self::Piped }
    }
}

/// The lines that come in.
pub(crate) struct TypedLines(Lines<BufReader<Stdin>>);

impl TypedLines {
    pub(crate) fn open() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// Waits for the next line; none at the end of the input. May be cancelled and called again, nothing typed is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.0.next_line().await?)
    }
}
