//! The terminal while the screen has it: raw, on its other page, with mouse and bracketed paste. However the screen ends,
//! by leaving, a signal, a panic or a suspension, the terminal is as it was found.

use super::{
    model::Model,
    picture::{self, Room},
    view,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossterm::{
    cursor::Show,
    event::{
        DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
        EnableMouseCapture,
    },
    execute, queue,
    style::Print,
    terminal::{
        BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode, window_size,
    },
};
use ratatui::{Terminal, backend::CrosstermBackend};
use rustix::process::{Signal, kill_current_process_group};
use std::{
    collections::HashMap,
    io::{self, Stdout, Write as _},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// See the module.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: bool,
    /// The pictures that the terminal has, and into what room it fits them.
    sent: HashMap<u32, Room>,
}

impl Screen {
    pub(super) fn open(mouse: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                give_back();
                report(panic);
            }));
        });
        take(mouse)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()));
        Ok(Self { terminal: terminal.inspect_err(|_| give_back())?, mouse, sent: HashMap::new() })
    }

    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// How many pixels a cell is wide and high, where the terminal tells that.
    pub(super) fn cell() -> Option<(u16, u16)> {
        let size = window_size().ok()?;
        Some((size.width.checked_div(size.columns)?, size.height.checked_div(size.rows)?))
    }

    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        let gone: Vec<u32> = self.sent.keys().copied().filter(|id| !model.pictures.has(*id)).collect();
        for id in gone {
            self.sent.remove(&id);
            queue!(io::stdout(), Print(picture::forgotten(id)))?;
        }
        for (id, room, sequence) in model.pictures.unsent(|id| self.sent.get(&id).copied()) {
            queue!(io::stdout(), Print(sequence))?;
            self.sent.insert(id, room);
        }
        self.terminal.draw(|frame| view::draw(model, frame))?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// Whatever stands there now, everything is drawn with the next picture.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    pub(super) fn ring() -> io::Result<()> {
        write_now("\u{7}")
    }

    /// Tells the terminal to notify the desktop, in the way that it most likely knows; others pass over it. Both texts must be
    /// sanitised.
    pub(super) fn notify(title: &str, body: &str) -> io::Result<()> {
        // What ends the sequence or parts its fields is no longer in them.
        let field = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>().replace(';', ",");
        let (title, body) = (field(title), field(body));
        let term = std::env::var("TERM").unwrap_or_default();
        let fields = ["rxvt", "foot", "st-"].iter().any(|name| term.starts_with(name));
        let vte = std::env::var_os("VTE_VERSION").is_some();
        match fields || vte {
            true => write_now(&format!("\u{1b}]777;notify;{title};{body}\u{1b}\\")),
            false => write_now(&format!("\u{1b}]9;{title}: {body}\u{1b}\\")),
        }
    }

    /// Puts a text that the user chose into the clipboard, where the terminal lets programs do that.
    pub(super) fn copy(text: &str) -> io::Result<()> {
        write_now(&format!("\u{1b}]52;c;{}\u{1b}\\", STANDARD.encode(text)))
    }

    /// Gives the terminal to the shell and stops, until the shell lets the process go on.
    pub(super) fn stop(&mut self) {
        give_back();
        // Where there is no shell to come back from, nothing stops.
        let _ = kill_current_process_group(Signal::TSTP);
    }

    /// The process goes on: the terminal is ours again.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        TAKEN.store(false, Ordering::SeqCst);
        take(self.mouse)?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        for id in self.sent.keys() {
            // Best effort, as all of this.
            let _ = queue!(io::stdout(), Print(picture::forgotten(*id)));
        }
        give_back();
    }
}

fn write_now(sequence: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(sequence.as_bytes())?;
    stdout.flush()
}

fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let taken = execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)
        .and_then(|()| if mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) });
    taken.inspect_err(|_| give_back())
}

/// Best effort: nobody can be told if a terminal that is gone cannot be restored.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            DisableMouseCapture,
            DisableFocusChange,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}
