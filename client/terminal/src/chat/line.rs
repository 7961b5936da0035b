//! A screen of lines with a line being typed below them: a line editor in a terminal, plain reading elsewhere.

use crate::{Failure, output};
use rustyline_async::{Readline, ReadlineError, ReadlineEvent, SharedWriter};
use std::io::{self, IsTerminal as _, Write as _};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// With a line editor, which keeps what is typed below what comes in.
    Editor,
    /// Plain lines typed in a terminal.
    Plain,
    /// Plain lines from a pipe or a file.
    Piped,
}

impl Reading {
    /// What this process's terminal can do; `plain` forbids the line editor.
    pub(crate) fn of_this_terminal(plain: bool) -> Self {
        match (io::stdin().is_terminal(), io::stdout().is_terminal()) {
            (false, _) => Self::Piped,
            (true, true) if !plain && !dialoguer::console::is_dumb() => Self::Editor,
            (true, _) => Self::Plain,
        }
    }
}

/// What came from the keyboard.
pub(crate) enum Keyed {
    /// A line.
    Line(String),
    /// Ctrl+C.
    Interrupt,
    /// Ctrl+D, or the end of the input.
    End,
}

/// The lines on the screen and the line being typed.
pub(crate) enum LineScreen {
    Editor { editor: Box<Readline>, writer: SharedWriter, prompt: String },
    Plain(Lines<BufReader<Stdin>>),
}

impl LineScreen {
    pub(crate) fn open(reading: Reading, prompt: String) -> Result<Self, Failure> {
        if reading != Reading::Editor {
            return Ok(Self::Plain(BufReader::new(tokio::io::stdin()).lines()));
        }
        let (mut editor, writer) = Readline::new(prompt.clone()).map_err(failure)?;
        // The typed line comes back as a message with its time and mark.
        editor.should_print_line_on(false, false);
        Ok(Self::Editor { editor: Box::new(editor), writer, prompt })
    }

    /// Waits for the next line; may be cancelled and called again, nothing typed is lost.
    pub(crate) async fn next(&mut self) -> Result<Keyed, Failure> {
        match self {
            Self::Editor { editor, .. } => match editor.readline().await {
                Ok(ReadlineEvent::Line(line)) => {
                    editor.add_history_entry(line.clone());
                    Ok(Keyed::Line(line))
                }
                Ok(ReadlineEvent::Eof) | Err(ReadlineError::Closed) => Ok(Keyed::End),
                Ok(ReadlineEvent::Interrupted) => Ok(Keyed::Interrupt),
                Err(error) => Err(failure(error)),
            },
            Self::Plain(lines) => Ok(lines.next_line().await?.map_or(Keyed::End, Keyed::Line)),
        }
    }

    /// Shows a line above the one being typed.
    pub(crate) fn print(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::Plain(_) => Ok(output::print(line)?),
            Self::Editor { editor, writer, .. } => {
                let line = format!("{line}\n");
                match writer.write_all(line.as_bytes()) {
                    // Its buffer is full: let it print first. The line itself is in it already.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        editor.flush().map_err(failure)?;
                        Ok(writer.write(b"").map(drop)?)
                    }
                    written => Ok(written?),
                }
            }
        }
    }

    /// Changes what stands in front of the line being typed.
    pub(crate) fn set_prompt(&mut self, wanted: String) -> Result<(), Failure> {
        match self {
            Self::Editor { editor, prompt, .. } if *prompt != wanted => {
                editor.update_prompt(&wanted).map_err(failure)?;
                *prompt = wanted;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Shows what was printed last and gives the terminal back.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Editor { mut editor, .. } => editor.flush().map_err(failure),
            Self::Plain(_) => Ok(()),
        }
    }
}

fn failure(error: ReadlineError) -> Failure {
    match error {
        ReadlineError::IO(error) => Failure::Io(error),
        ReadlineError::Closed => Failure::Io(io::ErrorKind::UnexpectedEof.into()),
    }
}
