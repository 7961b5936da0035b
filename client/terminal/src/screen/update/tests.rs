use super::*;
use crate::screen::{
    keys::KeyTable,
    model::Link,
    settings::{ScreenTable, Settings},
    window::{Window, key, tests::message},
};
use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEventKind};
use jiff::tz::TimeZone;
use std::time::Duration;
use waxwing_core::{Connection, Content, MessageState};

/// 2023-11-14, 22:13:20 UTC, like the first of the test messages.
pub(in crate::screen) const NOW: u64 = 1_700_000_000_000;

/// What the tests press and see.
pub(in crate::screen) struct Stage {
    pub(in crate::screen) model: Model,
    pub(in crate::screen) effects: Vec<Effect>,
}

pub(in crate::screen) fn chat(name: &str, unread: u64, last: Option<Message>) -> Chat {
    let last = last.map(|last| Message { chat: name.into(), ..last });
    Chat { name: name.into(), last, unread, ..Chat::default() }
}

impl Stage {
    /// Alice's screen, online, with chats of bob, carol and dave.
    pub(in crate::screen) fn new(size: (u16, u16), settings: &str) -> Self {
        let table: ScreenTable = toml::from_str(settings).unwrap();
        let colours = !settings.contains("colourless");
        let settings = Settings::new(&table, &KeyTable::default(), colours).unwrap();
        Self::with(size, settings)
    }

    pub(in crate::screen) fn with(size: (u16, u16), settings: Settings) -> Self {
        let mut model = Model::new("alice".into(), settings, TimeZone::UTC, size, NOW);
        model.link = Link::Online;
        let mut stage = Self { model, effects: Vec::new() };
        let last = |number| Some(message(number, "x", "hi", MessageState::Received));
        let chats = vec![chat("bob", 0, last(3)), chat("carol", 2, last(2)), chat("dave", 0, last(1))];
        stage.give(Input::Answer(Answer::Chats(Ok(chats))));
        stage
    }

    pub(in crate::screen) fn give(&mut self, input: Input) -> &mut Self {
        let effects = self.model.update(input, self.model.now);
        // That one is there, and typing, is told beside everything else.
        let beside = |effect: &Effect| matches!(effect, Effect::Typing { .. } | Effect::Presence(_));
        self.effects.extend(effects.into_iter().filter(|effect| !beside(effect)));
        self
    }

    pub(in crate::screen) fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) -> &mut Self {
        self.give(Input::Key(KeyEvent::new(code, modifiers)))
    }

    pub(in crate::screen) fn write(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '\n' => self.press(KeyCode::Enter, KeyModifiers::ALT),
                character => self.press(KeyCode::Char(character), KeyModifiers::NONE),
            };
        }
        self
    }

    pub(in crate::screen) fn enter(&mut self) -> &mut Self {
        self.press(KeyCode::Enter, KeyModifiers::NONE)
    }

    /// Opens a chat and answers its first page.
    pub(in crate::screen) fn open(&mut self, name: &str, messages: Vec<Message>, first: bool) -> &mut Self {
        let effects = self.model.open_chat(name);
        self.effects.extend(effects);
        let messages = messages.into_iter().map(|message| Message { chat: name.into(), ..message }).collect();
        self.give(Input::Answer(Answer::Page {
            chat: name.into(),
            wanted: Wanted::Newest,
            page: Ok((messages, first, true)),
        }))
    }

    pub(in crate::screen) fn taken(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn window(&self) -> &Window {
        self.model.window().unwrap()
    }

    /// The texts that show, from above.
    fn shown(&self) -> Vec<String> {
        let rows = self.model.rows_shown(self.window());
        rows.iter().map(|(_, row)| row.to_string().trim().to_owned()).collect()
    }
}

fn stage() -> Stage {
    let mut stage = Stage::new((80, 24), "");
    stage.open("bob", received(1..=3), true);
    stage.taken();
    stage
}

fn received(numbers: std::ops::RangeInclusive<u32>) -> Vec<Message> {
    numbers.map(|number| message(number, "bob", &format!("text {number}"), MessageState::Received)).collect()
}

fn queue(chat: &str, text: &str) -> Effect {
    Effect::Queue { chat: chat.into(), text: text.into(), reply_to: None }
}

const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const ALT: KeyModifiers = KeyModifiers::ALT;
const NONE: KeyModifiers = KeyModifiers::NONE;

#[test]
fn enter_sends_what_was_typed_and_nothing_is_lost_if_it_cannot() {
    let mut stage = stage();
    stage.write("two\nlines").enter();
    assert_eq!(stage.taken(), [queue("bob", "two\nlines")]);
    assert!(stage.model.composer.is_empty());
    let refused = Answer::Queued { chat: "bob".into(), text: "two\nlines".into(), done: Err("disk full".into()) };
    stage.give(Input::Answer(refused));
    assert_eq!(stage.model.composer.text(), "two\nlines");
    assert!(stage.model.toast.as_ref().unwrap().grave);
}

#[test]
fn a_mistyped_command_is_never_sent_and_stays_to_be_corrected() {
    let mut stage = stage();
    stage.write("/qiut").enter();
    assert_eq!(stage.taken(), []);
    assert_eq!(stage.model.composer.text(), "/qiut");
    assert!(stage.model.toast.as_ref().unwrap().words.contains("no command /qiut"));
}

#[test]
fn commands_do_what_they_say() {
    let mut stage = stage();
    stage.write("/msg carol hello there").enter();
    assert_eq!(stage.taken(), [Effect::Open { name: "carol".into(), text: Some("hello there".into()) }]);
    let found = Answer::Opened { name: "carol".into(), text: Some("hello there".into()), done: Ok("carol".into()) };
    stage.give(Input::Answer(found));
    assert_eq!(stage.taken(), [queue("carol", "hello there")]);
    let nobody =
        Answer::Opened { name: "nob".into(), text: Some("x".into()), done: Err(("no such user".into(), false)) };
    stage.give(Input::Answer(nobody));
    assert_eq!(stage.model.composer.text(), "/msg nob x", "what was typed comes back");
    stage.press(KeyCode::Char('u'), CTRL).write("/verify").enter();
    assert_eq!(stage.taken(), [Effect::Identity("bob".into())]);
    stage.press(KeyCode::Esc, NONE).write("/quit").enter();
    assert_eq!(stage.taken(), [Effect::Leave]);
}

#[test]
fn ctrl_c_leaves_only_when_pressed_twice_in_a_row() {
    let mut stage = stage();
    stage.press(KeyCode::Char('c'), CTRL).write("x").press(KeyCode::Char('c'), CTRL);
    assert_eq!(stage.taken(), []);
    stage.press(KeyCode::Char('c'), CTRL);
    assert_eq!(stage.taken().last(), Some(&Effect::Leave));
}

#[test]
fn each_chat_keeps_what_was_typed_in_it() {
    let mut stage = stage();
    stage.write("for bob").press(KeyCode::Char('2'), ALT);
    assert_eq!((stage.model.open.as_deref(), stage.model.composer.text()), (Some("carol"), ""));
    stage.write("for carol").press(KeyCode::Char('1'), ALT);
    assert_eq!((stage.model.open.as_deref(), stage.model.composer.text()), (Some("bob"), "for bob"));
}

#[test]
fn what_comes_elsewhere_counts_and_what_is_looked_at_is_read() {
    let mut stage = stage();
    let to = |chat: &str, number, text: &str| {
        Input::Event(Event::Message(Message {
            chat: chat.into(),
            ..message(number, chat, text, MessageState::Received)
        }))
    };
    stage.give(to("dave", 9, "hi"));
    assert_eq!(stage.taken()[0], Effect::Ring);
    stage.give(to("dave", 10, "hi @alice"));
    assert_eq!(stage.taken(), [], "not for each of many");
    let dave = &stage.model.chats[0];
    assert_eq!((dave.name.as_str(), dave.unread, dave.mentions), ("dave", 2, 1));
    stage.give(to("bob", 11, "here"));
    assert_eq!(stage.taken(), [Effect::MarkRead("bob".into())]);
    stage.give(Input::Focus(false));
    stage.taken();
    stage.give(to("bob", 12, "nobody looks"));
    assert_eq!(stage.model.entry("bob").unwrap().unread, 1);
    stage.taken();
    stage.give(Input::Focus(true));
    assert!(stage.taken().contains(&Effect::MarkRead("bob".into())));
    stage.press(KeyCode::Char('a'), ALT);
    assert_eq!(stage.model.open.as_deref(), Some("dave"), "who is named comes first");
}

#[test]
fn somebody_who_is_away_has_read_nothing_until_a_key_is_pressed() {
    let mut stage = stage();
    stage.model.now += Duration::from_secs(601).as_millis() as u64;
    stage.give(Input::Tick);
    assert!(stage.model.away);
    stage.give(Input::Event(Event::Message(message(9, "bob", "hello?", MessageState::Received))));
    assert!(!stage.taken().contains(&Effect::MarkRead("bob".into())));
    stage.press(KeyCode::Left, NONE);
    assert_eq!(stage.taken(), [Effect::MarkRead("bob".into())]);
}

#[test]
fn the_screen_stays_where_it_is_read_while_messages_come() {
    let mut stage = stage();
    stage.model.windows.clear();
    stage.model.open = None;
    stage.open("bob", received(1..=60), true);
    stage.press(KeyCode::PageUp, NONE);
    let before = stage.shown();
    stage.give(Input::Event(Event::Message(message(61, "bob", "new", MessageState::Received))));
    assert_eq!(stage.shown(), before);
    assert_eq!(stage.model.entry("bob").unwrap().unread, 1);
    stage.press(KeyCode::Esc, NONE);
    assert_eq!(stage.shown().last().unwrap(), "new");
    assert_eq!(stage.model.entry("bob").unwrap().unread, 0);
    // Back at the start the first row is the top one, however often one pages.
    for _ in 0..20 {
        stage.press(KeyCode::PageUp, NONE);
    }
    let shown = stage.shown();
    assert_eq!((shown.len(), shown[2].as_str()), (19, "text 1"), "{shown:?}");
    for _ in 0..20 {
        stage.press(KeyCode::PageDown, NONE);
    }
    assert_eq!(stage.window().anchor, Anchor::End);
}

#[test]
fn older_messages_come_before_they_are_needed_and_nothing_jumps() {
    let mut stage = stage();
    stage.model.windows.clear();
    stage.model.open = None;
    stage.open("bob", received(1_000..=1_119), false);
    assert!(!stage.taken().iter().any(|effect| matches!(effect, Effect::Page { wanted: Wanted::Before(_), .. })));
    let mut wanted = None;
    for _ in 0..40 {
        stage.press(KeyCode::PageUp, NONE);
        wanted = stage.taken().into_iter().find(|effect| matches!(effect, Effect::Page { .. }));
        if wanted.is_some() {
            break;
        }
    }
    let Some(Effect::Page { chat, wanted }) = wanted else { panic!("nothing older was asked for") };
    let before = stage.shown();
    stage.give(Input::Answer(Answer::Page { chat, wanted, page: Ok((received(880..=999), false, false)) }));
    assert_eq!(stage.shown(), before);
    stage.press(KeyCode::PageUp, NONE);
    assert_ne!(stage.shown(), before);
}

#[test]
fn reading_begins_with_the_first_of_much_that_is_new() {
    let mut stage = Stage::new((80, 24), "");
    stage.model.entry_mut("carol").unwrap().unread = 30;
    let messages = (1..=60).map(|number| message(number, "carol", &format!("text {number}"), MessageState::Received));
    stage.open("carol", messages.collect(), true);
    let shown = stage.shown();
    assert!(shown[0].contains(" new ") && shown.contains(&"text 31".to_owned()), "{shown:?}");
    assert!(!stage.taken().contains(&Effect::MarkRead("carol".into())), "not all of it was seen");
    stage.press(KeyCode::Esc, NONE);
    assert!(stage.taken().contains(&Effect::MarkRead("carol".into())));
}

#[test]
fn the_quick_switch_finds_chats_and_begins_new_ones() {
    let mut stage = stage();
    stage.press(KeyCode::Char('k'), CTRL);
    assert_eq!(stage.model.destinations()[0], Destination::Chat("carol".into()), "what is new comes first");
    stage.write("da").enter();
    assert_eq!(stage.model.open.as_deref(), Some("dave"));
    stage.taken();
    stage.press(KeyCode::Char('k'), CTRL).write("erin").enter();
    assert_eq!(stage.model.open.as_deref(), Some("erin"));
    let effects = stage.taken();
    assert!(effects.contains(&Effect::Open { name: "erin".into(), text: None }), "{effects:?}");
    // There is nobody of that name: the screen goes back, and what was typed meanwhile stays.
    stage.write("hi");
    let nobody = Answer::Opened { name: "erin".into(), text: None, done: Err(("no such user".into(), false)) };
    stage.give(Input::Answer(nobody));
    assert_ne!(stage.model.open.as_deref(), Some("erin"));
    assert_eq!(stage.model.composer.text(), "hi");
    assert!(stage.model.entry("erin").is_none());
}

#[test]
fn a_search_goes_back_beyond_what_is_in_memory() {
    let mut stage = stage();
    stage.model.windows.clear();
    stage.model.open = None;
    stage.open("bob", received(500..=620), false);
    stage.taken();
    stage.press(KeyCode::Char('f'), CTRL).write("TEXT 61").enter();
    assert_eq!(stage.model.selected.as_ref().unwrap().0, received(619..=619)[0].id);
    stage.press(KeyCode::Char('u'), CTRL).write("text 3").enter();
    let wanted = stage.taken().into_iter().find_map(|effect| match effect {
        Effect::Page { wanted, .. } => Some(wanted),
        _ => None,
    });
    let page =
        Answer::Page { chat: "bob".into(), wanted: wanted.unwrap(), page: Ok((received(380..=499), false, false)) };
    stage.give(Input::Answer(page));
    assert_eq!(stage.model.selected.as_ref().unwrap().0, received(399..=399)[0].id);
    assert!(stage.shown().contains(&"▌ text 399".to_owned()));
}

#[test]
fn a_message_is_selected_by_keys_or_mouse_and_copied_without_what_harms() {
    let mut stage = stage();
    stage.give(Input::Event(Event::Message(message(4, "bob", "evil \u{1b}[2J\u{202e}", MessageState::Received))));
    stage.taken();
    stage.press(KeyCode::Up, NONE).press(KeyCode::Char('y'), NONE);
    assert_eq!(stage.taken(), [Effect::Copy("evil ␛[2J".into())]);
    stage.press(KeyCode::Up, NONE).press(KeyCode::Up, NONE).write("x");
    assert_eq!((stage.model.selected.clone(), stage.model.composer.text()), (None, "x"), "whoever writes, writes");
    let click = |column, row| {
        Input::Mouse(MouseEvent { kind: MouseEventKind::Down(MouseButton::Left), column, row, modifiers: NONE })
    };
    stage.give(click(30, 20));
    assert!(stage.model.selected.is_some());
    stage.give(click(3, 3));
    assert_eq!(stage.model.open.as_deref(), Some("carol"));
}

#[test]
fn tab_completes_and_a_paste_sends_nothing() {
    let mut stage = stage();
    stage.write("bo").press(KeyCode::Tab, NONE).write("look :rocket").press(KeyCode::Tab, NONE);
    assert_eq!(stage.model.composer.text(), "bob: look 🚀");
    stage.give(Input::Paste("\nand\n\u{1b}[31mmore\n".into()));
    assert_eq!(stage.taken(), []);
    assert_eq!(stage.model.composer.text(), "bob: look 🚀\nand\n[31mmore\n");
}

#[test]
fn the_connection_and_what_is_told_of_trust_show() {
    let mut stage = stage();
    let offline = Connection::Offline { reason: "refused\u{1b}".into(), retry_in: Some(Duration::from_secs(4)) };
    stage.give(Input::Event(Event::Connection(offline)));
    let again_at = Some(NOW + 4_000);
    assert_eq!(stage.model.link, Link::Offline { reason: "refused␛".into(), again_at });
    stage.give(Input::Event(Event::IdentityChanged { username: "bob".into() }));
    assert!(stage.taken().contains(&Effect::Identity("bob".into())));
    assert!(stage.shown().iter().any(|row| row.starts_with("! the identity of bob has changed")));
}

#[test]
fn a_message_that_failed_stays_with_its_reason() {
    let mut stage = stage();
    let mine = message(4, "alice", "mine", MessageState::Queued);
    stage.give(Input::Answer(Answer::Queued { chat: "bob".into(), text: "mine".into(), done: Ok(mine.clone()) }));
    assert_eq!(stage.shown().last().unwrap(), "mine …");
    let failed = MessageState::Failed("too long\u{1b}[2J".into());
    stage.give(Input::Event(Event::State { chat: "bob".into(), id: mine.id, state: failed, seq: None }));
    let shown = stage.shown();
    assert_eq!(shown[shown.len() - 2..], ["mine ✗", "not sent: too long␛[2J"]);
    let lost =
        Message { content: Content::Unreadable("no key".into()), ..message(5, "bob", "", MessageState::Received) };
    stage.give(Input::Event(Event::Message(lost)));
    assert!(stage.shown().last().unwrap().starts_with("⚠ [unreadable: no key]"));
}

#[test]
fn a_selected_message_is_answered_changed_deleted_reacted_to_and_pinned() {
    let mut stage = stage();
    let mine = message(4, "alice", "mine", MessageState::Sent);
    stage.give(Input::Event(Event::Message(mine.clone())));
    stage.taken();
    let (own, theirs) = (key(&mine), key(&message(3, "bob", "", MessageState::Received)));
    let select = |stage: &mut Stage, up: usize| {
        for _ in 0..up {
            stage.press(KeyCode::Up, NONE);
        }
    };
    select(&mut stage, 2);
    stage.write("ryes").enter();
    assert_eq!(
        stage.taken(),
        [Effect::Queue { chat: "bob".into(), text: "yes".into(), reply_to: Some(theirs.clone()) }]
    );
    assert_eq!(stage.model.purpose, Purpose::Say);
    select(&mut stage, 1);
    stage.write("e!").enter();
    assert_eq!(stage.taken(), [Effect::Edit { chat: "bob".into(), message: own.clone(), text: "mine!".into() }]);
    select(&mut stage, 1);
    stage.write("e").press(KeyCode::Esc, NONE);
    assert_eq!((stage.model.composer.text(), stage.model.purpose.clone()), ("", Purpose::Say));
    select(&mut stage, 1);
    stage.write("d").press(KeyCode::Up, NONE).press(KeyCode::Down, NONE).write("d");
    assert_eq!(stage.taken(), [], "twice in a row");
    stage.write("d");
    assert_eq!(stage.taken(), [Effect::Delete { chat: "bob".into(), message: own }]);
    select(&mut stage, 2);
    stage.write("+1");
    let react = |add| Effect::React { chat: "bob".into(), message: theirs.clone(), emoji: "👍".into(), add };
    assert_eq!(stage.taken(), [react(true)]);
    let reaction = waxwing_core::Reaction { emoji: "👍".into(), by: vec!["alice".into()] };
    let changed = Message { reactions: vec![reaction], ..message(3, "bob", "text 3", MessageState::Received) };
    stage.give(Input::Event(Event::Changed(changed)));
    select(&mut stage, 2);
    stage.write("+thumbsup").enter();
    assert_eq!(stage.taken(), [react(false)], "once more takes it away");
    select(&mut stage, 2);
    stage.write("p");
    assert_eq!(stage.taken(), [Effect::Pin { chat: "bob".into(), message: theirs, pinned: true }]);
    select(&mut stage, 2);
    stage.write("d");
    assert!(stage.model.toast.as_ref().unwrap().grave, "not what others wrote");
}

#[test]
fn what_is_taken_back_is_gone_and_the_screen_stays() {
    let mut stage = stage();
    stage.press(KeyCode::Up, NONE);
    let last = message(3, "bob", "", MessageState::Received);
    stage.give(Input::Event(Event::Gone { chat: "bob".into(), id: last.id, from: "bob".into() }));
    assert_eq!(stage.shown().last().unwrap(), "text 2");
    assert_eq!(stage.model.selected, None);
}

#[test]
fn a_search_over_all_chats_goes_to_what_it_found() {
    let mut stage = stage();
    stage.write("/search lagoon from:carol").enter();
    assert_eq!(stage.taken(), [Effect::Search("lagoon from:carol".into())]);
    let found = |number| {
        crate::screen::model::Hit::whole(Message {
            chat: "carol".into(),
            ..message(number, "carol", "the lagoon", MessageState::Received)
        })
    };
    let other = Answer::Found { title: "older".into(), done: Ok(Vec::new()) };
    stage.give(Input::Answer(other));
    let hits = Ok(vec![found(500), found(20)]);
    stage.give(Input::Answer(Answer::Found { title: "lagoon from:carol".into(), done: hits }));
    stage.press(KeyCode::Down, NONE).enter();
    assert_eq!(stage.model.open.as_deref(), Some("carol"));
    let wanted = Wanted::Around(key(&found(20).message));
    assert!(stage.taken().contains(&Effect::Page { chat: "carol".into(), wanted: wanted.clone() }));
    let around = (1..=60).map(|number| message(number, "carol", &format!("text {number}"), MessageState::Received));
    let page = Answer::Page { chat: "carol".into(), wanted, page: Ok((around.collect(), true, false)) };
    stage.give(Input::Answer(page));
    assert!(stage.shown().contains(&"▌ text 20".to_owned()), "{:?}", stage.shown());
}

#[test]
fn what_is_begun_is_kept_for_the_next_time() {
    let mut stage = stage();
    stage.write("half a").press(KeyCode::Char('2'), ALT);
    let draft = |draft: Option<&str>| Effect::SetDraft { chat: "bob".into(), draft: draft.map(str::to_owned) };
    assert!(stage.taken().contains(&draft(Some("half a"))));
    stage.press(KeyCode::Char('1'), ALT).write(" letter").enter();
    assert!(stage.taken().contains(&draft(None)));
    stage.write("more").press(KeyCode::Char('c'), CTRL).press(KeyCode::Char('c'), CTRL);
    assert_eq!(stage.taken(), [draft(Some("more")), Effect::Leave]);
}

#[test]
fn others_learn_that_something_is_typed_for_them_now_and_then() {
    let mut stage = stage();
    let told = |stage: &mut Stage, code, now| {
        let effects = stage.model.update(Input::Key(KeyEvent::new(code, NONE)), now);
        effects
            .into_iter()
            .filter_map(|effect| if let Effect::Typing { typing, .. } = effect { Some(typing) } else { None })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&mut stage, KeyCode::Char('a'), NOW), [true]);
    assert!(told(&mut stage, KeyCode::Char('b'), NOW + 1_000).is_empty());
    assert_eq!(told(&mut stage, KeyCode::Char('c'), NOW + 3_000), [true]);
    for _ in 0..2 {
        assert!(told(&mut stage, KeyCode::Backspace, NOW + 3_500).is_empty());
    }
    assert_eq!(told(&mut stage, KeyCode::Backspace, NOW + 3_500), [false]);
    assert!(told(&mut stage, KeyCode::Char('/'), NOW + 9_000).is_empty(), "a command is for nobody");
    stage.give(Input::Event(Event::Typing { chat: "bob".into(), username: "bob".into(), typing: true }));
    assert!(stage.model.typing.contains_key("bob"));
}

#[test]
fn a_new_chat_of_which_all_fits_is_read_when_it_is_opened() {
    let mut stage = stage();
    stage.give(Input::Event(Event::Message(Message {
        chat: "erin".into(),
        ..message(1, "erin", "hello", MessageState::Received)
    })));
    stage.open("erin", vec![message(1, "erin", "hello", MessageState::Received)], true);
    assert_eq!(stage.window().anchor, Anchor::End);
    assert!(stage.taken().contains(&Effect::MarkRead("erin".into())));
}

fn present(chat: &str, username: &str, presence: Presence) -> Input {
    Input::Event(Event::Presence(Present { chat: chat.into(), username: username.into(), presence }))
}

#[test]
fn who_is_there_is_known_from_any_chat_and_counted_in_each() {
    let mut stage = stage();
    stage.give(present("#birds", "bob", Presence::Here));
    stage.give(present("#birds", "alice", Presence::Here));
    stage.give(present("bob", "bob", Presence::Away));
    assert_eq!((stage.model.presence("bob"), stage.model.company("#birds")), (Presence::Here, 1));
    stage.give(present("#birds", "bob", Presence::Gone));
    assert_eq!((stage.model.presence("bob"), stage.model.company("#birds")), (Presence::Away, 0));
}

#[test]
fn the_profile_is_told_that_the_user_is_there_and_when_they_are_away() {
    let settings = Settings::new(&toml::from_str("away_minutes = 10").unwrap(), &KeyTable::default(), true).unwrap();
    let mut model = Model::new("alice".into(), settings, TimeZone::UTC, (80, 24), NOW);
    let mut told = Vec::new();
    for second in 0..700 {
        let effects = model.update(Input::Tick, NOW + second * 1000);
        told.extend(effects.into_iter().filter(|effect| matches!(effect, Effect::Presence(_))));
    }
    let here = told.iter().filter(|effect| **effect == Effect::Presence(Presence::Here)).count();
    assert_eq!((here, told.last()), (10, Some(&Effect::Presence(Presence::Away))));
    let back = model.update(Input::Key(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)), NOW + 700_000);
    assert!(back.contains(&Effect::Presence(Presence::Here)), "{back:?}");
}

#[test]
fn what_begins_with_a_slash_is_changed_as_it_would_be_typed() {
    let mut stage = stage();
    stage.open("carol", vec![message(1, "alice", "/etc/hosts", MessageState::Sent)], true);
    stage.press(KeyCode::Up, KeyModifiers::NONE).write("e");
    assert_eq!(stage.model.composer.text(), "//etc/hosts");
    stage.taken();
    stage.enter();
    assert!(matches!(&stage.taken()[..], [Effect::Edit { text, .. }] if text == "/etc/hosts"));
}
