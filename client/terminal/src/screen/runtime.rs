//! Brings the screen together with the terminal, the profile and time: inputs go into the model, effects come out of it
//! and are done, and then it is drawn. The first picture comes before the network is asked for anything.

use super::{
    model::{Hit, Link, Model},
    picture::{Graphics, Pictures},
    settings::Settings,
    terminal::Screen,
    update::{Answer, Effect, Input, PINNED, Page},
    window::{Key, PAGE, Wanted, key},
};
use crate::{
    Failure,
    command::{
        may_recover,
        preferences::{HIDDEN, SHOWN, nick},
        users::user_lines,
    },
    file_commands, group_commands,
    prompt::Interrupts,
    rpc::{
        Backend, Happening, Nothing,
        chats::{ChatName, Chats, MarkRead, OpenChat},
        deeds::{
            self, Delete, DeleteParams, Edit, EditParams, PageParams, Pin, PinParams, Pinned, React, ReactParams, Which,
        },
        files::Thumbnail,
        messages::{Queue, QueueParams},
        objects,
        preferences::{
            Accept, Block, BlockParams, Decline, Mute, MuteParams, SetDraft, SetDraftParams, SetTimer, SetTimerParams,
            Switch, SwitchParams, SwitchSetting, Typing as TellTyping, TypingParams,
        },
        presence::{PresentUsers, SetPresence, SetPresenceParams, Users, UsersParams},
        profile::{Status, Whoami},
        search::{FoundObject, HitObject, Search, SearchParams},
        trust::{ShowIdentity, UserParams, Verify, VerifyParams},
    },
    sanitise::{Breaks, sanitise},
};
use crossterm::event::{Event as Typed, EventStream};
use futures_util::{
    StreamExt as _,
    future::LocalBoxFuture,
    stream::{FuturesUnordered, Stream},
};
use jiff::tz::TimeZone;
use std::{
    collections::VecDeque,
    future::poll_fn,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};
use waxwing_core::{Chat, Error, Presence};

/// Things that are taken in before the next picture.
const AT_ONCE: usize = 256;

/// How long leaving waits for what was typed to be on disk.
const LEAVING: Duration = Duration::from_secs(3);

/// What a search shows at most.
const FOUND: usize = 100;

/// How long the shell may take to stop the process.
const STOPPING: Duration = Duration::from_millis(300);

/// What is being asked; whether it has to be done before one leaves.
type Working<'a> = FuturesUnordered<LocalBoxFuture<'a, (bool, Result<Answer, Failure>)>>;

/// Shows the screen until the user leaves; [`Error::Locked`] if the profile is to be locked. With `start` it opens with that
/// chat.
pub(crate) async fn run(backend: &Backend, start: Option<&str>, settings: Settings) -> Result<(), Failure> {
    let mut happenings = backend.happenings().await?;
    let me = backend.call::<Whoami>(Nothing {}).await?.username;
    let chats = chats(backend).await?;
    let online = backend.call::<Status>(Nothing {}).await?.online;
    let mut continued = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
    let mut interrupts = Interrupts::new();
    let mut screen = Screen::open(settings.mouse)?;
    let mut model = Model::new(me, settings, TimeZone::system(), screen.size()?, now());
    let variable = |name: &str| std::env::var(name).ok();
    let graphics = Graphics::of(model.settings.images, model.settings.colours, variable, Screen::cell());
    model.pictures = Pictures::new(graphics);
    model.chats = chats;
    model.note_looks();
    if online {
        model.link = Link::Online;
    }
    let mut doing = Doing { backend, working: Working::new(), texts: VecDeque::new(), sending: false, due: 0 };
    let first =
        start.map(|start| model.chat_called(start)).or_else(|| model.chats.first().map(|chat| chat.name.clone()));
    let effects = first.map(|first| model.open_chat(&first)).unwrap_or_default();
    doing.start(effects);
    // Where another process holds the profile, it knows already.
    doing.start([Effect::Present]);
    screen.draw(&model)?;
    backend.go_online();
    let mut typed = EventStream::new();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut next = tokio::select! {
            typed = typed.next() => match typed {
                Some(typed) => input(typed?),
                None => return Err(Failure::Io(std::io::ErrorKind::UnexpectedEof.into())),
            },
            happening = happenings.next() => happened(happening)?,
            Some(answer) = doing.working.next(), if !doing.working.is_empty() => doing.answered(answer)?,
            _ = tick.tick() => Input::Tick,
            _ = continued.recv() => {
                screen.resume()?;
                let (columns, rows) = screen.size()?;
                Input::Resize(columns, rows)
            }
            () = backend.must_lock() => return Err(Error::Locked.into()),
            () = interrupts.wait() => {
                doing.start(model.leave_chat());
                doing.start([Effect::Presence(Presence::Gone)]);
                doing.settle().await;
                return Err(Failure::Interrupted);
            }
        };
        // Many things at once are one picture.
        for count in 1.. {
            if matches!(next, Input::Key(_) | Input::Paste(_) | Input::Mouse(_)) {
                backend.touch();
            }
            for effect in model.update(next, now()) {
                match effect {
                    Effect::Leave => {
                        doing.start([Effect::Presence(Presence::Gone)]);
                        doing.settle().await;
                        return Ok(());
                    }
                    Effect::Redraw => screen.clear()?,
                    Effect::Suspend => suspend(&mut screen, &mut continued).await?,
                    Effect::Ring => Screen::ring()?,
                    Effect::Notify { title, body } => Screen::notify(&title, &body)?,
                    Effect::Copy(text) => Screen::copy(&text)?,
                    effect => doing.start([effect]),
                }
            }
            if count == AT_ONCE {
                break;
            }
            next = if let Some(happening) = happenings.next_now() {
                happened(happening)?
            } else if let Some(answer) = ready(&mut doing.working).await {
                doing.answered(answer)?
            } else if let Some(typed) = ready(&mut typed).await {
                input(typed?)
            } else {
                break;
            };
        }
        screen.draw(&model)?;
    }
}

/// The next one, if it is here already. Asked in the task's own name: a stream wakes whoever has asked it last.
async fn ready<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| {
        Poll::Ready(match stream.poll_next_unpin(context) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        })
    })
    .await
}

async fn suspend(screen: &mut Screen, continued: &mut Signal) -> Result<(), Failure> {
    screen.stop();
    let _ = timeout(STOPPING, continued.recv()).await;
    Ok(screen.resume()?)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn input(typed: Typed) -> Input {
    match typed {
        Typed::Key(key) => Input::Key(key),
        Typed::Paste(text) => Input::Paste(text),
        Typed::Mouse(event) => Input::Mouse(event),
        Typed::Resize(columns, rows) => Input::Resize(columns, rows),
        Typed::FocusGained => Input::Focus(true),
        Typed::FocusLost => Input::Focus(false),
    }
}

fn happened(happening: Happening) -> Result<Input, Failure> {
    match happening {
        Happening::Event(event) => Ok(Input::Event(event)),
        Happening::Missed => Ok(Input::Missed),
        Happening::Locked => Err(Error::Locked.into()),
        Happening::Ended => Err(Failure::HolderEnded),
    }
}

/// What is being asked of the profile.
struct Doing<'a> {
    backend: &'a Backend,
    working: Working<'a>,
    /// Messages to queue. One goes after the other, so that they stay in the order in which they were typed.
    texts: VecDeque<(String, String, Option<Key>)>,
    sending: bool,
    /// How much of what is being asked has to be done before one leaves.
    due: usize,
}

impl<'a> Doing<'a> {
    fn start(&mut self, effects: impl IntoIterator<Item = Effect>) {
        let backend = self.backend;
        for effect in effects {
            if let Effect::Queue { chat, text, reply_to } = effect {
                self.texts.push_back((chat, text, reply_to));
                continue;
            }
            let asks = Effect::is_question(&effect);
            self.due += usize::from(!asks);
            self.working.push(Box::pin(async move { (!asks, answer(backend, effect).await) }));
        }
        self.next_text();
    }

    fn answered(&mut self, (due, answer): (bool, Result<Answer, Failure>)) -> Result<Input, Failure> {
        self.due -= usize::from(due);
        let answer = answer?;
        if matches!(answer, Answer::Queued { .. }) {
            self.sending = false;
            self.next_text();
        }
        Ok(Input::Answer(answer))
    }

    fn next_text(&mut self) {
        if !self.sending
            && let Some((chat, text, reply_to)) = self.texts.pop_front()
        {
            let backend = self.backend;
            (self.sending, self.due) = (true, self.due + 1);
            self.working.push(Box::pin(async move { (true, queue(backend, chat, text, reply_to).await) }));
        }
    }

    /// Waits until what was typed and decided is on disk.
    async fn settle(&mut self) {
        let settled = async {
            while self.due > 0
                && let Some(answer) = self.working.next().await
            {
                if self.answered(answer).is_err() {
                    break;
                }
            }
        };
        let _ = timeout(LEAVING, settled).await;
    }
}

async fn queue(backend: &Backend, chat: String, text: String, reply_to: Option<Key>) -> Result<Answer, Failure> {
    let reply_to = reply_to.map(|message| which(&chat, &message));
    let queued = backend.call::<Queue>(QueueParams { chat: chat.clone(), text: text.clone(), reply_to }).await;
    let done = told(match queued {
        Ok(queued) => queued.message.try_into(),
        Err(failure) => Err(failure),
    })?;
    Ok(Answer::Queued { chat, text, done })
}

/// Does one thing that needs the profile.
async fn answer(backend: &Backend, effect: Effect) -> Result<Answer, Failure> {
    Ok(match effect {
        Effect::Chats => Answer::Chats(told(chats(backend).await)?),
        Effect::Page { chat, wanted } => {
            let page = told(page(backend, &chat, &wanted).await)?;
            Answer::Page { chat, wanted, page }
        }
        Effect::Open { name, text } => {
            let opened = backend.call::<OpenChat>(ChatName { chat: name.clone() }).await.map(|found| found.chat);
            let later = opened.as_ref().err().is_some_and(may_recover);
            Answer::Opened { name, text, done: told(opened)?.map_err(|words| (words, later)) }
        }
        Effect::Identity(name) => {
            let done = told(backend.call::<ShowIdentity>(UserParams { user: name.clone() }).await)?;
            Answer::Identity { name, done }
        }
        Effect::Verify { name, fingerprint, verified } => {
            let params = VerifyParams { user: name.clone(), fingerprint, verified };
            let done = told(backend.call::<Verify>(params).await)?;
            Answer::Identity { name, done }
        }
        Effect::MarkRead(chat) => silent(backend.call::<MarkRead>(ChatName { chat }).await)?,
        // What becomes of a message comes back as an event.
        Effect::Edit { chat, message, text } => {
            let params = EditParams { message: which(&chat, &message), text, wait: false };
            silent(backend.call::<Edit>(params).await)?
        }
        Effect::Delete { chat, message } => {
            let params = DeleteParams { message: which(&chat, &message), wait: false };
            silent(backend.call::<Delete>(params).await)?
        }
        Effect::React { chat, message, emoji, add } => {
            let params = ReactParams { message: which(&chat, &message), emoji, add, wait: false };
            silent(backend.call::<React>(params).await)?
        }
        Effect::Pin { chat, message, pinned } => {
            let params = PinParams { message: which(&chat, &message), pinned, wait: false };
            silent(backend.call::<Pin>(params).await)?
        }
        Effect::SetDraft { chat, draft } => {
            match backend.call::<SetDraft>(SetDraftParams { chat, draft }).await {
                // Nobody wrote there yet: the draft stays in memory.
                Err(Failure::Core(Error::UnknownChat(_))) => Answer::Done,
                set => silent(set)?,
            }
        }
        Effect::Typing { chat, typing } => {
            // Nobody misses it if it cannot be told.
            let _ = told(backend.call::<TellTyping>(TypingParams { chat, typing }).await)?;
            Answer::Done
        }
        Effect::SetTimer { chat, seconds } => {
            let set = backend.call::<SetTimer>(SetTimerParams { chat, seconds, wait: false }).await;
            match told(set.and_then(|set| set.message.try_into()))? {
                Ok(message) => Answer::Written(message),
                Err(words) => Answer::Failed(words),
            }
        }
        Effect::Mute { chat, muted, until } => {
            let done = backend.call::<Mute>(MuteParams { chat, muted, until_ms: until }).await;
            said(done, if muted { "muted" } else { "not muted any more" })?
        }
        Effect::Block { user, blocked } => {
            let done = backend.call::<Block>(BlockParams { user, blocked }).await;
            said(done, if blocked { "blocked: nothing of theirs arrives any more" } else { "not blocked any more" })?
        }
        Effect::Accept(chat) => match told(backend.call::<Accept>(ChatName { chat: chat.clone() }).await)? {
            Ok(_) => Answer::Accepted(chat),
            Err(words) => Answer::Failed(words),
        },
        Effect::Decline(chat) => match told(backend.call::<Decline>(ChatName { chat: chat.clone() }).await)? {
            Ok(_) => Answer::Grouped { chat, done: group_commands::Done { left: true, ..Default::default() } },
            Err(words) => Answer::Failed(words),
        },
        Effect::Group { chat, command } => match told(command.run(backend, &chat).await)? {
            Ok(done) => Answer::Grouped { chat, done },
            Err(words) => Answer::Failed(words),
        },
        Effect::File { chat, command } => match told(command.run(backend, &chat).await)? {
            Ok(file_commands::Done { written: Some(message), .. }) => Answer::Written(message),
            Ok(file_commands::Done { lines, .. }) => {
                Answer::Grouped { chat, done: group_commands::Done { lines, ..Default::default() } }
            }
            Err(words) => Answer::Failed(words),
        },
        Effect::Picture { chat, message } => {
            // It may come from anybody: it is opened beside everything else, and what cannot be opened is not shown.
            let found = backend.call::<Thumbnail>(which(&chat, &message)).await;
            let picture = match told(found)? {
                Ok(found) => spawn_blocking(move || found.picture()).await.unwrap_or_default(),
                Err(_) => None,
            };
            Answer::Picture { chat, message, picture }
        }
        Effect::Paths(before) => {
            let typed = before.clone();
            let candidates = spawn_blocking(move || file_commands::paths(&typed)).await.unwrap_or_default();
            Answer::Paths { before, candidates }
        }
        Effect::Users { chat, all } => {
            let asked = UsersParams { chat: (!all).then(|| chat.clone()) };
            match told(backend.call::<Users>(asked).await)? {
                Ok(list) => {
                    let done = group_commands::Done { lines: user_lines(&list, all), ..Default::default() };
                    Answer::Grouped { chat, done }
                }
                Err(words) => Answer::Failed(words),
            }
        }
        Effect::Present => match told(backend.call::<PresentUsers>(Nothing {}).await)? {
            Ok(list) => Answer::Present(list.present.into_iter().map(Into::into).collect()),
            Err(words) => Answer::Failed(words),
        },
        Effect::Presence(presence) => {
            // Nobody misses it if it cannot be told.
            let _ = told(backend.call::<SetPresence>(SetPresenceParams { presence: presence.into() }).await)?;
            Answer::Done
        }
        Effect::Hide(hidden) => {
            let switched = SwitchParams { switch: Switch::Presence, on: !hidden };
            said(backend.call::<SwitchSetting>(switched).await, if hidden { HIDDEN } else { SHOWN })?
        }
        Effect::Nick(name) => match told(nick(backend, name).await)? {
            Ok(words) => Answer::Said(words),
            Err(words) => Answer::Failed(words),
        },
        Effect::Pins(chat) => {
            let pinned = backend.call::<Pinned>(ChatName { chat }).await;
            let pinned = told(pinned.and_then(|pinned| objects::messages(pinned.messages)))?;
            let done = pinned.map(|messages| messages.into_iter().map(Hit::whole).collect());
            Answer::Found { title: PINNED.to_owned(), done }
        }
        Effect::Search(query) => {
            let found = backend.call::<Search>(SearchParams { query: query.clone(), limit: FOUND }).await;
            Answer::Found { title: query, done: told(found.and_then(hits))? }
        }
        // These are done where the terminal is.
        Effect::Queue { .. }
        | Effect::Ring
        | Effect::Notify { .. }
        | Effect::Copy(_)
        | Effect::Redraw
        | Effect::Suspend
        | Effect::Leave => Answer::Done,
    })
}

async fn chats(backend: &Backend) -> Result<Vec<Chat>, Failure> {
    backend.call::<Chats>(Nothing {}).await?.chats.into_iter().map(Chat::try_from).collect()
}

/// A message of a chat, as methods name it.
fn which(chat: &str, (id, from): &Key) -> Which {
    Which { id: id.to_string(), chat: Some(chat.to_owned()), from: Some(from.clone()) }
}

/// A page, of which only what stands on the wanted side is told. A place is a message, since the screen forgets and
/// fetches again at any of them.
async fn page(backend: &Backend, chat: &str, wanted: &Wanted) -> Result<Page, Failure> {
    let (around, limit) = match wanted {
        Wanted::Newest => (None, PAGE),
        Wanted::Before((id, from)) | Wanted::After((id, from)) | Wanted::Around((id, from)) => {
            (Some(which(chat, &(*id, from.clone()))), 2 * PAGE)
        }
    };
    let params = PageParams { chat: chat.to_owned(), before: None, after: None, around, limit };
    let page = match backend.call::<deeds::Page>(params).await {
        // Nobody wrote there yet.
        Err(Failure::Core(Error::UnknownChat(_))) => return Ok((Vec::new(), true, true)),
        page => page?,
    };
    let mut messages = objects::messages(page.messages)?;
    let at = |wanted: &Key| messages.iter().position(|message| key(message) == *wanted);
    match wanted {
        Wanted::Newest | Wanted::Around(_) => {}
        Wanted::Before(key) => messages.truncate(at(key).unwrap_or(0)),
        Wanted::After(key) => drop(messages.drain(..at(key).map_or(0, |at| at + 1))),
    }
    Ok((messages, page.older.is_none(), page.newer.is_none()))
}

fn hits(found: FoundObject) -> Result<Vec<Hit>, Failure> {
    let hit = |hit: HitObject| -> Result<Hit, Failure> {
        Ok(Hit { snippet: hit.snippet(), message: hit.message.try_into()? })
    };
    found.hits.into_iter().map(hit).collect()
}

/// What is only said if it failed.
fn silent<T>(done: Result<T, Failure>) -> Result<Answer, Failure> {
    Ok(told(done)?.map_or_else(Answer::Failed, |_| Answer::Done))
}

fn said<T>(done: Result<T, Failure>, words: &str) -> Result<Answer, Failure> {
    Ok(told(done)?.map_or_else(Answer::Failed, |_| Answer::Said(words.to_owned())))
}

/// Errors that the screen says are words; those that end it stay errors.
fn told<T>(done: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(failure @ Failure::Core(Error::Locked | Error::Closed)) => Err(failure),
        Err(failure @ (Failure::Core(_) | Failure::Holder { .. } | Failure::Usage { .. })) => {
            let said = sanitise(&failure.to_string(), Breaks::Spaces);
            Ok(Err(failure.next().map_or(said.clone(), |next| format!("{said}; {next}"))))
        }
        Err(failure) => Err(failure),
    }
}
