use crate::rpc::trust::IdentityObject;
use crate::screen::{
    blocks::found,
    model::{Hit, Link, Model, Overlay},
    picture::{Graphics, Pictures},
    update::{
        Answer, Effect, Input,
        tests::{NOW, Stage, chat},
    },
    window::tests::message,
};
use crossterm::event::{KeyCode, KeyModifiers};
use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    style::{Color, Modifier},
};
use std::time::Duration;
use waxwing_core::{
    Chat, Connection, Content, Event, File, Message, MessageState, Picture, Presence, Present, Reaction, Reply,
    Snippet, Transfer,
};

fn screen(model: &Model) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| super::draw(model, frame)).unwrap();
    terminal
}

/// The screen as text.
fn text(model: &Model) -> String {
    screen(model).backend().to_string()
}

/// The screen as text, with a second picture of where which style begins.
fn styled(model: &Model) -> String {
    let terminal = screen(model);
    let buffer = terminal.backend().buffer();
    let mut lines = vec![text(model)];
    let mut legend: Vec<(Color, Color, Modifier)> = Vec::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            let style = (cell.fg, cell.bg, cell.modifier);
            let index = legend.iter().position(|known| *known == style).unwrap_or_else(|| {
                legend.push(style);
                legend.len() - 1
            });
            line.push(char::from_digit(index as u32, 36).unwrap_or('?'));
        }
        lines.push(line);
    }
    for (index, (fg, bg, modifier)) in legend.iter().enumerate() {
        lines.push(format!("{}: {fg:?} on {bg:?} {modifier:?}", char::from_digit(index as u32, 36).unwrap_or('?')));
    }
    lines.join("\n")
}

/// A conversation with something of everything.
fn conversation(size: (u16, u16), settings: &str) -> Stage {
    let mut stage = Stage::new(size, settings);
    let day = 24 * 60;
    let said = |number: u32, from: &str, text: &str| {
        let state = if from == "alice" { MessageState::Delivered } else { MessageState::Received };
        message(number, from, text, state)
    };
    let messages = vec![
        said(1, "bob", "Did you hear the waxwings this morning? The whole rowan was full of them."),
        said(2, "bob", "There must have been sixty."),
        said(9, "alice", "I did! They left nothing but stones."),
        said(
            10,
            "bob",
            "@alice then look what else is in the garden:\n  a nuthatch\n  two tree creepers 🐦\n漢字 and Grüße",
        ),
        Message { content: Content::Unreadable("the key is missing".into()), ..said(11, "bob", "") },
        said(day, "bob", "evil \u{1b}[2J\u{202e}txet\u{200b} @alice"),
        said(day + 1, "alice", "Nice try."),
        Message {
            reply_to: Some(Reply {
                author: "alice".into(),
                id: said(9, "", "").id,
                excerpt: Some("I did! They left nothing but stones.".into()),
            }),
            edited_at: Some(NOW),
            reactions: vec![
                Reaction { emoji: "🎉".into(), by: vec!["alice".into(), "bob".into()] },
                Reaction { emoji: "evil\u{1b}[2J emoji that is long".into(), by: vec!["bob".into()] },
            ],
            pinned: true,
            ..said(day + 1, "bob", "And the seeds.")
        },
        Message { content: Content::Deleted { by: "bob".into() }, ..said(day + 1, "bob", "") },
        message(day + 1, "alice", "Seen?", MessageState::Read),
        message(day + 2, "alice", "Does this arrive?", MessageState::Failed("bob's identity has changed".into())),
        message(day + 3, "alice", "And this?", MessageState::Sent),
        message(day + 4, "alice", "Waiting for the train.", MessageState::Queued),
    ];
    stage.model.now = NOW + u64::from(day) * 60_000 + 600_000;
    stage.open("bob", messages, true);
    stage.model.entry_mut("bob").unwrap().full_name = Some("Bob Marlowe".into());
    stage.model.entry_mut("dave").unwrap().mentions = 1;
    stage.model.entry_mut("dave").unwrap().unread = 3;
    stage.model.identities.insert("bob".into(), identity("verified"));
    let added = Event::DeviceAdded { username: "bob".into(), device: "00".into(), name: None, since: 0 };
    stage.give(Input::Event(added));
    stage
}

fn identity(verification: &str) -> IdentityObject {
    IdentityObject {
        username: "bob".into(),
        fingerprint: "ab".repeat(32),
        safety_number: (0..12).map(|group| format!("{:05}", group * 8_123)).collect::<Vec<_>>().join(" "),
        qr: "waxwing-safety-number".into(),
        verification: verification.into(),
        changed: None,
    }
}

#[test]
fn a_conversation_at_80_by_24() {
    insta::assert_snapshot!(text(&conversation((80, 24), "").model));
}

#[test]
fn a_conversation_at_200_by_60() {
    insta::assert_snapshot!(text(&conversation((200, 60), "").model));
}

#[test]
fn a_conversation_in_each_palette() {
    for (name, settings) in
        [("terminal", ""), ("dark", "theme = 'dark'"), ("light", "theme = 'light'"), ("no_colour", "# colourless")]
    {
        insta::assert_snapshot!(format!("palette_{name}"), styled(&conversation((80, 24), settings).model));
    }
}

#[test]
fn it_is_of_use_in_tiny_terminals() {
    for (columns, rows) in [(40, 12), (24, 7), (12, 4)] {
        let mut stage = conversation((columns, rows), "");
        stage.write("some words to send");
        insta::assert_snapshot!(format!("tiny_{columns}x{rows}"), text(&stage.model));
    }
}

#[test]
fn nothing_is_there_yet() {
    let mut stage = Stage::new((80, 24), "");
    stage.give(Input::Answer(Answer::Chats(Ok(Vec::new()))));
    stage.model.link = Link::Connecting;
    insta::assert_snapshot!("no_chats", text(&stage.model));
    stage.open("erin", Vec::new(), true);
    insta::assert_snapshot!("a_chat_that_begins", text(&stage.model));
}

#[test]
fn who_is_there_and_who_could_be_taken_for_somebody_else() {
    let mut stage = Stage::new((80, 24), "");
    let group = |name: &str, title: &str, looks_like: &str| Chat {
        title: Some(title.into()),
        looks_like: Some(looks_like.into()),
        ..chat(name, 0, None)
    };
    let stranger = Chat { request: true, looks_like: Some("bob".into()), ..chat("b0b", 1, None) };
    let invited = Chat { request: true, invited_by: Some("mallory".into()), ..chat("+00000000000c", 1, None) };
    let groups =
        [group("+00000000000a", "Birds", "+00000000000b"), group("+00000000000b", "B\u{456}rds", "+00000000000a")];
    let chats = [chat("bob", 0, None), chat("carol", 0, None), stranger, invited].into_iter().chain(groups);
    stage.give(Input::Answer(Answer::Chats(Ok(chats.collect()))));
    for (chat, username, presence) in [
        ("bob", "bob", Presence::Here),
        ("+00000000000a", "bob", Presence::Here),
        ("+00000000000a", "carol", Presence::Away),
    ] {
        stage.give(Input::Event(Event::Presence(Present { chat: chat.into(), username: username.into(), presence })));
    }
    let waves =
        Message { chat: "+00000000000a".into(), ..message(1, "b0b", "/me waves to @alice", MessageState::Received) };
    stage.open("+00000000000a", vec![waves], true);
    let shown = text(&stage.model);
    for words in [
        "● 2 online",
        " ● bob",
        " ◐ carol",
        "by mallory",
        "Birds (+00000000000a)",
        "* b0b waves to @alice",
        "  ! not bob",
    ] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    stage.open("b0b", Vec::new(), true);
    let shown = text(&stage.model);
    assert!(shown.contains("b0b  ! not bob") && shown.contains("It is not bob: the names only look alike."), "{shown}");
    stage.open("+00000000000c", Vec::new(), true);
    let shown = text(&stage.model);
    assert!(shown.contains("mallory, whom you do not know yet, invites you into a group."), "{shown}");
}

#[test]
fn what_lies_on_top() {
    let mut stage = conversation((80, 24), "");
    stage.press(KeyCode::F(1), KeyModifiers::NONE);
    insta::assert_snapshot!("help", text(&stage.model));
    stage.press(KeyCode::Esc, KeyModifiers::NONE).press(KeyCode::Char('k'), KeyModifiers::CONTROL).write("a");
    insta::assert_snapshot!("quick_switch", text(&stage.model));
    stage.press(KeyCode::Esc, KeyModifiers::NONE).press(KeyCode::Char('f'), KeyModifiers::CONTROL).write("the").enter();
    insta::assert_snapshot!("search", text(&stage.model));
    stage.press(KeyCode::Esc, KeyModifiers::NONE);
    let identity = Some(Box::new(identity("unverified")));
    stage.model.overlay = Some(Overlay::Verify { name: "bob".into(), identity });
    insta::assert_snapshot!("verify_80x24", text(&stage.model));
    stage.model.size = (200, 60);
    insta::assert_snapshot!("verify_200x60", text(&stage.model));
}

#[test]
fn formatted_text_and_an_answer_being_written() {
    let mut stage = Stage::new((80, 24), "");
    let text = "**Bold**, *italic* and `code`, see https://example.org/a?b.\n\n> quoted *words* that are long enough to go on in a second row of it\n\n1. one\n2. two\n   - deeper\n\n```rust\nfn main() {\n    println!(\"hi @alice\");\n}\n```";
    stage.open("bob", vec![message(1, "bob", text, MessageState::Received)], true);
    stage.press(KeyCode::Up, KeyModifiers::NONE).write("rYes, but");
    insta::assert_snapshot!(styled(&stage.model));
}

/// Messages with files of all sorts, hostile ones among them.
fn with_files(graphics: Graphics) -> Stage {
    let mut stage = Stage::new((80, 30), "");
    stage.model.pictures = Pictures::new(graphics);
    let sent = |number: u32, from: &str, file: File| {
        let state = if from == "alice" { MessageState::Queued } else { MessageState::Received };
        Message { content: Content::File(Box::new(file)), ..message(number, from, "", state) }
    };
    let file = |name: &str, media_type: &str| File {
        name: name.into(),
        media_type: media_type.into(),
        size: 2_345_678,
        ..File::default()
    };
    let picture = File {
        dimensions: Some((4032, 3024)),
        thumbnail: true,
        caption: "the *lagoon* at dusk".into(),
        ..file("evil\u{1b}[2J\u{202e}.png", "image/png")
    };
    let song =
        File { duration_ms: Some(191_500), saved: Some("/home/a/song.ogg".into()), ..file("song.ogg", "audio/ogg") };
    let messages = vec![
        sent(1, "bob", picture),
        sent(2, "bob", song),
        sent(
            3,
            "alice",
            file("a very long name of a report that nobody wants to read to its end.pdf", "application/pdf"),
        ),
    ];
    stage.open("bob", messages, true);
    stage
}

#[test]
fn files_say_what_they_are_and_how_far_they_have_come() {
    let mut stage = with_files(Graphics::Blocks { all_colours: false });
    let (bobs, hers) =
        (message(1, "bob", "", MessageState::Received).id, message(3, "bob", "", MessageState::Queued).id);
    let asked = stage.taken().into_iter().filter(|effect| matches!(effect, Effect::Picture { .. })).collect::<Vec<_>>();
    assert_eq!(asked, [Effect::Picture { chat: "bob".into(), message: (bobs, "bob".into()) }], "what shows, once");
    let pixels = (0..64_u8).flat_map(|at| [at * 4, 90, 255 - at * 3]).collect();
    let picture = Picture::new(8, 8, pixels);
    stage.give(Input::Answer(Answer::Picture { chat: "bob".into(), message: (bobs, "bob".into()), picture }));
    let moved =
        |done| Transfer { chat: "bob".into(), id: hers, from: "alice".into(), sending: true, done, total: 2_400_000 };
    stage.give(Input::Event(Event::Transfer(moved(900_000))));
    insta::assert_snapshot!("files", styled(&stage.model));
    // What does not move any more, or is there, is not on its way.
    stage.give(Input::Event(Event::Transfer(moved(2_400_000))));
    assert!(!text(&stage.model).contains('%'));
    stage.give(Input::Event(Event::Transfer(moved(7))));
    assert!(text(&stage.model).contains("0 %"));
    stage.model.now += 60_000;
    let now = stage.model.now;
    stage.model.update(Input::Tick, now);
    assert!(!text(&stage.model).contains('%'));
}

#[test]
fn a_picture_that_cannot_be_opened_is_not_asked_for_again() {
    let mut stage = with_files(Graphics::Blocks { all_colours: true });
    let key = (message(1, "bob", "", MessageState::Received).id, "bob".to_owned());
    stage.give(Input::Answer(Answer::Picture { chat: "bob".into(), message: key, picture: None }));
    stage.taken();
    stage.give(Input::Tick);
    assert!(stage.taken().is_empty() && !text(&stage.model).contains('▀'));
    // Without colours nothing is asked for at all.
    assert!(with_files(Graphics::Off).taken().iter().all(|effect| !matches!(effect, Effect::Picture { .. })));
}

#[test]
fn a_path_is_offered_for_what_is_still_typed() {
    let mut stage = Stage::new((80, 24), "");
    stage.open("bob", Vec::new(), true);
    stage.write("/file ~/ho").press(KeyCode::Tab, KeyModifiers::NONE);
    assert!(stage.taken().contains(&Effect::Paths("/file ~/ho".into())));
    let offer = |before: &str, names: &[&str]| {
        let candidates = names.iter().map(|name| (*name).to_owned()).collect();
        Input::Answer(Answer::Paths { before: before.into(), candidates })
    };
    stage.give(offer("/file ~/h", &["other"]));
    assert_eq!(stage.model.composer.text(), "/file ~/ho", "that was another text");
    stage.give(offer("/file ~/ho", &["holiday 1.png", "holiday 2.png"]));
    assert_eq!(stage.model.composer.text(), "/file ~/holiday 1.png");
    stage.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(stage.model.composer.text(), "/file ~/holiday 2.png");
    stage.model.composer.set("/file ~/my".into());
    stage.model.completion = None;
    stage.give(offer("/file ~/my", &["my files/"]));
    assert_eq!((stage.model.composer.text(), stage.model.completion.is_none()), ("/file ~/my files/", true));
    stage.model.composer.set(String::new());
    stage.give(Input::Paste("'/home/al/a b.png'".into()));
    assert_eq!(stage.model.composer.text(), "/file /home/al/a b.png");
    stage.give(Input::Paste(" and /more/text".into()));
    assert_eq!(stage.model.composer.text(), "/file /home/al/a b.png and /more/text");
}

#[test]
fn what_a_search_found_and_a_reaction_that_is_chosen() {
    let mut stage = conversation((80, 24), "");
    stage.write("/search waxwing").enter();
    let hit = |from: &str, text: &str| Hit {
        message: message(1, from, text, MessageState::Received),
        snippet: Snippet { text: text.into(), matches: found(text, "waxwing").collect() },
    };
    let hits = Ok(vec![hit("bob", "Did you hear the waxwings this morning?"), hit("carol", "a waxwing\u{1b}[2J!")]);
    stage.give(Input::Answer(Answer::Found { title: "waxwing".into(), done: hits }));
    stage.press(KeyCode::Down, KeyModifiers::NONE);
    insta::assert_snapshot!("found", text(&stage.model));
    stage
        .press(KeyCode::Esc, KeyModifiers::NONE)
        .press(KeyCode::Up, KeyModifiers::NONE)
        .press(KeyCode::Up, KeyModifiers::NONE);
    insta::assert_snapshot!("selected", text(&stage.model));
    stage.write("+");
    insta::assert_snapshot!("react", text(&stage.model));
    stage.model.entry_mut("bob").unwrap().request = true;
    stage.press(KeyCode::Esc, KeyModifiers::NONE);
    insta::assert_snapshot!("request", text(&stage.model));
}

#[test]
fn offline_with_a_long_text_and_a_completion() {
    let mut stage = conversation((80, 24), "");
    let offline = Connection::Offline { reason: "no route".into(), retry_in: Some(Duration::from_secs(4)) };
    stage.give(Input::Event(Event::Connection(offline)));
    stage.model.entry_mut("bob").unwrap().queued = 2;
    stage.write("A letter of more than one line,\nwith a second one that is longer than the screen is wide, so it goes on\n:bir");
    stage.press(KeyCode::Tab, KeyModifiers::NONE);
    insta::assert_snapshot!(text(&stage.model));
}

#[test]
fn a_selected_message_and_what_is_new_below() {
    let mut stage = conversation((80, 24), "");
    stage.press(KeyCode::Up, KeyModifiers::NONE).press(KeyCode::Up, KeyModifiers::NONE);
    for _ in 0..6 {
        stage.press(KeyCode::Up, KeyModifiers::SHIFT);
    }
    stage.give(Input::Event(Event::Message(message(2_000, "bob", "still there?", MessageState::Received))));
    insta::assert_snapshot!(text(&stage.model));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever others write and however large the terminal is: no control, bidirectional or invisible character reaches
    /// it, nothing is drawn outside, and nothing panics.
    #[test]
    fn no_text_of_others_does_anything(
        texts in prop::collection::vec(any::<String>(), 1..6),
        name in any::<String>(),
        size in (1_u16..120, 1_u16..40),
        keys in prop::collection::vec(0_u8..12, 0..12),
    ) {
        let mut stage = Stage::new(size, "");
        let messages = texts.iter().enumerate().map(|(index, text)| {
            message(index as u32 + 1, if index % 2 == 0 { &name } else { "bob" }, text, MessageState::Received)
        });
        stage.open("bob", messages.collect(), true);
        stage.model.entry_mut("bob").unwrap().full_name = Some(name.clone());
        let announced = Event::Announcement { text: texts[0].clone(), time_ms: NOW };
        stage.give(Input::Event(announced));
        for key in keys {
            match key {
                0 => stage.press(KeyCode::Up, KeyModifiers::NONE),
                1 => stage.press(KeyCode::PageUp, KeyModifiers::NONE),
                2 => stage.press(KeyCode::PageDown, KeyModifiers::NONE),
                3 => stage.give(Input::Paste(texts[0].clone())),
                4 => stage.press(KeyCode::Tab, KeyModifiers::NONE),
                5 => stage.press(KeyCode::Char('k'), KeyModifiers::CONTROL),
                6 => stage.press(KeyCode::Char('f'), KeyModifiers::CONTROL),
                7 => stage.press(KeyCode::Esc, KeyModifiers::NONE),
                8 => stage.press(KeyCode::F(1), KeyModifiers::NONE),
                9 => stage.give(Input::Resize(size.1, size.0)),
                10 => stage.press(KeyCode::Up, KeyModifiers::SHIFT),
                _ => stage.press(KeyCode::Char('x'), KeyModifiers::NONE),
            };
            let terminal = screen(&stage.model);
            for cell in terminal.backend().buffer().content() {
                let bad = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
                prop_assert!(!cell.symbol().chars().any(bad), "{:?}", cell.symbol());
            }
        }
    }
}
