//! `timer`, `mute`, `unmute`, `block`, `unblock`, `blocked`, `requests`, `accept`, `settings`: what the user sets.

use crate::{
    Failure,
    cli::{Options, SettingsArgs, Span},
    command::ask,
    output::{duration, print, print_json},
    rpc::{
        Backend, Nothing, Purpose,
        chats::{ChatName, Chats},
        objects::ChatObject,
        preferences::{
            Accept, Block, BlockParams, Blocked, Decline, FullName, Mute, MuteParams, SetFullName, SetTimer,
            SetTimerParams, Settings, SwitchParams, SwitchSetting,
        },
        profile::Whoami,
    },
    sanitise::{Breaks, sanitise},
};
use serde_json::json;

pub(crate) async fn timer(options: &Options, chat: String, span: Option<Span>) -> Result<(), Failure> {
    let Some(span) = span else { return show_timer(options, &chat).await };
    let seconds = span.seconds();
    let set = ask::<SetTimer>(options, SetTimerParams { chat, seconds, wait: true }).await?;
    if options.json {
        return Ok(print_json(&set.message)?);
    }
    Ok(print(&timer_words(&set.message.chat, seconds))?)
}

async fn show_timer(options: &Options, chat: &str) -> Result<(), Failure> {
    let chats = ask::<Chats>(options, Nothing {}).await?.chats;
    let found = chats.into_iter().find(|found| found.chat == chat);
    let found = found.ok_or_else(|| waxwing_core::Error::UnknownChat(chat.to_owned()))?;
    if options.json {
        return Ok(print_json(&json!({ "chat": found.chat, "timer": found.timer }))?);
    }
    Ok(print(&timer_words(&found.chat, found.timer))?)
}

/// How long a chat's messages stay.
pub(crate) fn timer_words(chat: &str, seconds: Option<u32>) -> String {
    let chat = sanitise(chat, Breaks::Spaces);
    match seconds {
        None => format!("New messages in the chat with {chat} stay."),
        Some(seconds) => {
            format!("New messages in the chat with {chat} disappear {} after they were read.", duration(seconds))
        }
    }
}

pub(crate) async fn mute(options: &Options, chat: String, until_ms: Option<u64>, muted: bool) -> Result<(), Failure> {
    ask::<Mute>(options, MuteParams { chat: chat.clone(), muted, until_ms }).await?;
    done(options, json!({ "chat": chat, "muted": muted }), if muted { "Muted" } else { "Not muted any more" })
}

pub(crate) async fn block(options: &Options, user: String, blocked: bool) -> Result<(), Failure> {
    ask::<Block>(options, BlockParams { user: user.clone(), blocked }).await?;
    let words = if blocked { "Blocked: nothing of theirs arrives any more" } else { "Not blocked any more" };
    done(options, json!({ "user": user, "blocked": blocked }), words)
}

pub(crate) async fn blocked(options: &Options) -> Result<(), Failure> {
    let blocked = ask::<Blocked>(options, Nothing {}).await?;
    if options.json {
        return Ok(print_json(&blocked)?);
    }
    if blocked.users.is_empty() {
        return Ok(print("Nobody is blocked.")?);
    }
    Ok(blocked.users.iter().try_for_each(|user| print(&sanitise(user, Breaks::Spaces)))?)
}

pub(crate) async fn requests(options: &Options) -> Result<(), Failure> {
    let chats = ask::<Chats>(options, Nothing {}).await?.chats;
    let waiting: Vec<&ChatObject> = chats.iter().filter(|chat| chat.request && !chat.blocked).collect();
    if options.json {
        return Ok(waiting.iter().try_for_each(print_json)?);
    }
    if waiting.is_empty() {
        return Ok(print("No requests.")?);
    }
    for chat in waiting {
        print(&request_line(chat))?;
    }
    Ok(print(
        "'waxwing accept NAME' shows what was written; 'waxwing decline NAME' leaves a group or room; 'waxwing block USER' ends it.",
    )?)
}

/// A stranger who waits.
pub(crate) fn request_line(chat: &ChatObject) -> String {
    let (name, unread) = (sanitise(&chat.chat, Breaks::Spaces), chat.unread);
    let full_name =
        chat.full_name.as_deref().map(|name| format!(" ({})", sanitise(name, Breaks::Spaces))).unwrap_or_default();
    let count = if unread == 1 { "1 message waits".to_owned() } else { format!("{unread} messages wait") };
    let alike = chat.looks_like.as_deref().map_or_else(String::new, |other| {
        format!(" (not {}: the names only look alike)", sanitise(other, Breaks::Spaces))
    });
    match &chat.invited_by {
        Some(by) => format!("{name}: {} invites you into {}", sanitise(by, Breaks::Spaces), kind_in_words(&chat.chat)),
        None => format!("{name}{full_name}{alike}: {count}"),
    }
}

/// What somebody is invited into; what it is called is not told before it is accepted, unless everybody may know it.
pub(crate) fn kind_in_words(name: &str) -> String {
    match name.starts_with('#') {
        true => format!("the room {}", sanitise(name, Breaks::Spaces)),
        false => "a group".to_owned(),
    }
}

pub(crate) async fn decline(options: &Options, chat: String) -> Result<(), Failure> {
    ask::<Decline>(options, ChatName { chat: chat.clone() }).await?;
    done(options, json!({ "chat": chat, "declined": true }), "Declined")
}

pub(crate) async fn accept(options: &Options, chat: String) -> Result<(), Failure> {
    ask::<Accept>(options, ChatName { chat: chat.clone() }).await?;
    done(options, json!({ "chat": chat, "accepted": true }), "Accepted: their messages come with 'waxwing receive'")
}

/// What is said when the user hides.
pub(crate) const HIDDEN: &str = "nobody sees whether you are online, and you see nobody";
/// What is said when that ends.
pub(crate) const SHOWN: &str = "others see that you are online";

pub(crate) async fn set_nick(options: &Options, name: Option<String>) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let words = nick(&backend, name).await;
    let full_name = backend.call::<Whoami>(Nothing {}).await;
    backend.close().await;
    let (words, full_name) = (words?, full_name?.full_name);
    Ok(if options.json { print_json(&FullName { full_name }) } else { print(&words) }?)
}

/// Sets the name that others see beside the username, if one is given; says what they see.
pub(crate) async fn nick(backend: &Backend, name: Option<String>) -> Result<String, Failure> {
    let full_name = match name {
        Some(name) => backend.call::<SetFullName>(FullName { full_name: Some(name) }).await?.full_name,
        None => backend.call::<Whoami>(Nothing {}).await?.full_name,
    };
    Ok(match full_name {
        Some(name) => format!("others see you as {}", sanitise(&name, Breaks::Spaces)),
        None => "others see your username only".to_owned(),
    })
}

pub(crate) async fn settings(options: &Options, arguments: SettingsArgs) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let answer = async {
        if let (Some(switch), Some(state)) = (arguments.switch, arguments.state) {
            backend.call::<SwitchSetting>(SwitchParams { switch, on: state.is_on() }).await?;
        }
        backend.call::<Settings>(Nothing {}).await
    };
    let answer = answer.await;
    backend.close().await;
    let settings = answer?;
    if options.json {
        return Ok(print_json(&settings)?);
    }
    let word = |on| if on { "on" } else { "off" };
    Ok(print(&format!(
        "read-receipts       {}\ndelivered-receipts  {}\nrequests            {}\ntyping              {}\npresence            {}",
        word(settings.read_receipts),
        word(settings.delivered_receipts),
        word(settings.requests),
        word(settings.typing),
        word(settings.presence),
    ))?)
}

fn done(options: &Options, object: serde_json::Value, words: &str) -> Result<(), Failure> {
    Ok(if options.json { print_json(&object) } else { print(&format!("{words}.")) }?)
}
