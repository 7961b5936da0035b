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
            Accept, Block, BlockParams, Blocked, Mute, MuteParams, SetTimer, SetTimerParams, Settings, SwitchParams,
            SwitchSetting,
        },
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
        print(&request_line(&chat.chat, chat.full_name.as_deref(), chat.unread))?;
    }
    Ok(print("'waxwing accept USER' shows what they wrote; 'waxwing block USER' ends it.")?)
}

/// A stranger who waits.
pub(crate) fn request_line(name: &str, full_name: Option<&str>, unread: u64) -> String {
    let full_name = full_name.map(|name| format!(" ({})", sanitise(name, Breaks::Spaces))).unwrap_or_default();
    let count = if unread == 1 { "1 message waits".to_owned() } else { format!("{unread} messages wait") };
    format!("{}{full_name}: {count}", sanitise(name, Breaks::Spaces))
}

pub(crate) async fn accept(options: &Options, chat: String) -> Result<(), Failure> {
    ask::<Accept>(options, ChatName { chat: chat.clone() }).await?;
    done(options, json!({ "chat": chat, "accepted": true }), "Accepted: their messages come with 'waxwing receive'")
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
        "read-receipts       {}\ndelivered-receipts  {}\nrequests            {}\ntyping              {}",
        word(settings.read_receipts),
        word(settings.delivered_receipts),
        word(settings.requests),
        word(settings.typing),
    ))?)
}

fn done(options: &Options, object: serde_json::Value, words: &str) -> Result<(), Failure> {
    Ok(if options.json { print_json(&object) } else { print(&format!("{words}.")) }?)
}
