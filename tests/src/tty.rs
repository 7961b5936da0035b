//! A program in a real pseudo-terminal: what it shows is what a terminal would show, what it reads are keys.

use crate::{DEADLINE, Outcome};
use anyhow::{Context, Result, bail};
use pty_process::{
    Size,
    blocking::{Command as PtyCommand, Pty},
};
use std::{
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// A running program with its terminal; killed when dropped.
pub struct Tty {
    pty: Arc<Pty>,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Says that the screen has changed; closed when the program has let go of the terminal.
    changes: Receiver<()>,
}

impl Tty {
    /// Starts it in a terminal of this size, with 256 colours.
    ///
    /// # Errors
    /// There is no pseudo-terminal, or the program cannot be started.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Result<Self> {
        let (pty, pts) = pty_process::blocking::open()?;
        pty.resize(Size::new(rows, columns))?;
        command.env("TERM", "xterm-256color");
        let child = PtyCommand::from(command).spawn(pts)?;
        let (pty, screen) = (Arc::new(pty), Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0))));
        let (sender, changes) = channel();
        let (reader, shown) = (pty.clone(), screen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            // An error is how a terminal says that nobody has it open any more.
            while let Ok(length @ 1..) = (&*reader).read(&mut bytes) {
                let read = bytes.get(..length).unwrap_or_default();
                shown.lock().unwrap_or_else(PoisonError::into_inner).process(read);
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { pty, child, screen, changes })
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys: characters, or the sequences that a terminal sends for others.
    ///
    /// # Errors
    /// Nobody reads.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok((&*self.pty).write_all(keys.as_bytes())?)
    }

    /// Makes the terminal larger or smaller.
    ///
    /// # Errors
    /// It is gone.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen_mut().set_size(rows, columns);
        Ok(self.pty.resize(Size::new(rows, columns))?)
    }

    /// What the terminal shows, line by line.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// Waits until the screen fulfils this, and says how it looks then.
    ///
    /// # Errors
    /// It does not before the deadline; says what it showed.
    pub fn wait_until(&mut self, what: &str, fulfils: impl Fn(&vt100::Screen) -> bool) -> Result<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            {
                let parser = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
                if fulfils(parser.screen()) {
                    return Ok(parser.screen().contents());
                }
            }
            if self.changes.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                bail!("the screen never showed {what}; it shows:\n{}", self.text());
            }
        }
    }

    /// Waits until the screen shows this text.
    ///
    /// # Errors
    /// It does not before the deadline.
    pub fn wait_for(&mut self, part: &str) -> Result<String> {
        self.wait_until(&format!("{part:?}"), |screen| screen.contents().contains(part))
    }

    /// Waits until the screen does not show this text any more.
    ///
    /// # Errors
    /// It still does at the deadline.
    pub fn wait_gone(&mut self, part: &str) -> Result<String> {
        self.wait_until(&format!("no {part:?}"), |screen| !screen.contents().contains(part))
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It has ended already.
    pub fn terminate(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?).context("pid")?;
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
    }

    /// Waits until it has ended; says how, and what is on the terminal then.
    ///
    /// # Errors
    /// It has not in time, or has left the terminal as a shell cannot use it.
    pub fn end(mut self, limit: Duration) -> Result<Outcome> {
        let deadline = Instant::now() + limit;
        loop {
            match self.changes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("not done in {limit:?}; it shows:\n{}", self.text()),
            }
        }
        let status = self.child.wait()?;
        let parser = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = parser.screen();
        let raw = screen.alternate_screen()
            || screen.bracketed_paste()
            || screen.hide_cursor()
            || screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
        if raw {
            bail!("the terminal was not given back; it shows:\n{}", screen.contents());
        }
        Ok(Outcome { code: status.code().unwrap_or(-1), stdout: screen.contents(), stderr: String::new() })
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
