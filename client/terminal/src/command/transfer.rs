//! `export` and `import`: files in, files out. A file appears under its name only when it is whole.

use crate::{
    Failure,
    cli::{ExportArgs, Options},
    command::ask,
    output::{print, print_json},
    rpc::{
        Backend, Nothing, Purpose,
        chats::Chats,
        transfer::{Export, ExportParams, Import, ImportParams},
    },
    sanitise::{Breaks, sanitise},
};
use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use waxwing_core::ExportFormat;

#[derive(Serialize)]
struct ExportedObject {
    messages: u64,
    files: Vec<PathBuf>,
}

pub(crate) async fn export(options: &Options, arguments: ExportArgs) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let exported = write(&backend, options.json, arguments).await;
    backend.close().await;
    exported
}

async fn write(backend: &Backend, json: bool, arguments: ExportArgs) -> Result<(), Failure> {
    let ExportArgs { chat, format, since, output, .. } = arguments;
    let params = ExportParams { chat, since_ms: since, format: format.into(), cursor: None };
    let Some(output) = output else {
        if json {
            let next = "give --output FILE, or leave --json out: --format json writes JSON to standard output";
            return Err(Failure::usage("--json says what was written, so the export needs a file", next));
        }
        let mut out = BufWriter::new(io::stdout().lock());
        pages(backend, params, &mut out).await?;
        return Ok(out.flush()?);
    };
    let mut done = ExportedObject { messages: 0, files: Vec::new() };
    let into_folder = output.is_dir() || output.as_os_str().to_string_lossy().ends_with('/');
    if into_folder {
        fs::create_dir_all(&output).map_err(|error| cannot("make", &output, &error))?;
        let names = match &params.chat {
            Some(chat) => vec![chat.clone()],
            None => backend.call::<Chats>(Nothing {}).await?.chats.into_iter().map(|chat| chat.chat).collect(),
        };
        for name in names {
            let file = output.join(format!("{name}.{}", extension(params.format)));
            let params = ExportParams { chat: Some(name), ..params.clone() };
            done.messages += into_file(backend, params, &file).await?;
            done.files.push(file);
        }
    } else {
        done.messages = into_file(backend, params, &output).await?;
        done.files.push(output);
    }
    if json {
        return Ok(print_json(&done)?);
    }
    for file in &done.files {
        print(&format!("wrote {}", sanitise(&file.display().to_string(), Breaks::Spaces)))?;
    }
    Ok(print(&format!("{} messages", done.messages))?)
}

/// Writes all pages; returns how many messages they have.
async fn pages(backend: &Backend, mut params: ExportParams, out: &mut impl Write) -> Result<u64, Failure> {
    let mut messages = 0;
    loop {
        let page = backend.call::<Export>(params.clone()).await?;
        out.write_all(page.text.as_bytes())?;
        messages += page.messages;
        match page.next {
            Some(next) => params.cursor = Some(next),
            None => return Ok(messages),
        }
    }
}

async fn into_file(backend: &Backend, params: ExportParams, file: &Path) -> Result<u64, Failure> {
    if file.symlink_metadata().is_ok() {
        let said = format!("the file {} exists already", file.display());
        return Err(Failure::usage(said, "name another file, or remove this one"));
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let mut out = BufWriter::new(made.map_err(|error| cannot("write", &part, &error))?);
    let unfinished = Unfinished(&part);
    let messages = pages(backend, params, &mut out).await?;
    let written = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|out: File| out.sync_all());
    written.map_err(|error| cannot("write", &part, &error))?;
    // Unlike a rename it never replaces what somebody put there meanwhile.
    fs::hard_link(&part, file).map_err(|error| cannot("write", file, &error))?;
    drop(unfinished);
    Ok(messages)
}

/// A file that goes away again.
struct Unfinished<'a>(&'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Best effort: what is left is named as what it is.
        let _ = fs::remove_file(self.0);
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(
        format!("cannot {what} {}: {error}", path.display()),
        "check the path, its rights and the free space",
    )
}

fn extension(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Json => "json",
        ExportFormat::Markdown => "md",
        ExportFormat::Html => "html",
    }
}

pub(crate) async fn import(options: &Options, file: PathBuf) -> Result<(), Failure> {
    let file = fs::canonicalize(&file).map_err(|error| cannot("read", &file, &error))?;
    let done = ask::<Import>(options, ImportParams { file }).await?;
    if options.json {
        return Ok(print_json(&done)?);
    }
    print(&format!("{} messages imported, {} were here already", done.added, done.known))?;
    if done.skipped > 0 {
        print(&format!("{} entries of the file are no texts and were left out", done.skipped))?;
    }
    Ok(())
}
