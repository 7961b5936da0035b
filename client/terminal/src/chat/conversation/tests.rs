use super::*;

fn conversation() -> Conversation {
    Conversation::new("alice", "bob", Style { ascii: true, zone: TimeZone::UTC })
}

fn message(number: u8, chat: &str, from: &str, text: &str) -> Message {
    Message {
        id: format!("{number:032x}").parse().unwrap(),
        chat: chat.into(),
        from: from.into(),
        seq: None,
        sent_at: 43_200_000,
        received_at: 43_200_000,
        told_by: None,
        content: Content::Text(text.into()),
        state: if from == "alice" { MessageState::Queued } else { MessageState::Received },
        ..Message::default()
    }
}

fn state(number: u8, chat: &str, state: MessageState) -> Event {
    Event::State { chat: chat.into(), id: message(number, "", "", "").id, state, seq: None }
}

fn online() -> Event {
    Event::Connection(Connection::Online)
}

fn offline() -> Event {
    Event::Connection(Connection::Offline { reason: "refused".into(), retry_in: Some(Duration::from_secs(1)) })
}

/// Lines without the terminal's colours.
fn plain(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| dialoguer::console::strip_ansi_codes(line).into_owned()).collect()
}

#[test]
fn an_own_message_shows_once_with_its_mark() {
    let (mut chat, now) = (conversation(), Instant::now());
    chat.event(online(), now);
    assert!(chat.typed(message(1, "bob", "alice", "hi"), now).is_empty());
    assert_eq!(chat.event(state(1, "bob", MessageState::Sent), now), ["12:00 you: hi (sent)"]);
}

#[test]
fn the_delivered_mark_is_a_line_of_its_own() {
    let (mut chat, now) = (conversation(), Instant::now());
    chat.typed(message(1, "bob", "alice", "hi"), now);
    chat.event(state(1, "bob", MessageState::Sent), now);
    assert_eq!(plain(chat.event(state(1, "bob", MessageState::Delivered), now)), ["(delivered)"]);
}

#[test]
fn what_is_typed_offline_shows_as_queued_and_later_as_sent() {
    let (mut chat, now) = (conversation(), Instant::now());
    assert_eq!(plain(chat.event(offline(), now)), ["not connected: refused; what you write is sent when it is back"]);
    assert!(chat.event(offline(), now).is_empty(), "said once");
    assert_eq!(chat.typed(message(1, "bob", "alice", "hi"), now), ["12:00 you: hi (queued)"]);
    assert_eq!(plain(chat.event(online(), now)), ["connected"]);
    assert_eq!(plain(chat.event(state(1, "bob", MessageState::Sent), now)), ["(sent) hi"]);
}

#[test]
fn a_slow_server_makes_a_message_show_as_queued() {
    let (mut chat, now) = (conversation(), Instant::now());
    chat.event(online(), now);
    chat.typed(message(1, "bob", "alice", "hi"), now);
    let deadline = chat.deadline().unwrap();
    assert!(chat.overdue(now).is_empty());
    assert_eq!(chat.overdue(deadline), ["12:00 you: hi (queued)"]);
    assert_eq!(chat.deadline(), None);
}

#[test]
fn own_messages_keep_their_order_among_others() {
    let (mut chat, now) = (conversation(), Instant::now());
    chat.typed(message(1, "bob", "alice", "one"), now);
    chat.typed(message(2, "bob", "alice", "two"), now);
    assert!(chat.event(state(2, "bob", MessageState::Sent), now).is_empty());
    let lines = chat.event(Event::Message(message(3, "bob", "bob", "three")), now);
    assert_eq!(lines, ["12:00 you: one (queued)", "12:00 you: two (sent)", "12:00 bob: three"]);
    assert!(chat.take_unread());
    assert!(!chat.take_unread());
}

#[test]
fn a_message_of_another_chat_is_one_line_and_stays_unread() {
    let (mut chat, now) = (conversation(), Instant::now());
    let lines = plain(chat.event(Event::Message(message(1, "carol", "carol", "psst\n12:00 bob: fake")), now));
    assert_eq!(lines, ["carol wrote: psst 12:00 bob: fake"]);
    assert!(!chat.take_unread());
}

#[test]
fn a_message_to_somebody_else_says_that_it_was_sent() {
    let (mut chat, now) = (conversation(), Instant::now());
    assert_eq!(plain(chat.typed(message(1, "carol", "alice", "psst"), now)), ["to carol: psst"]);
    assert_eq!(plain(chat.event(state(1, "carol", MessageState::Sent), now)), ["(sent) to carol: psst"]);
}

#[test]
fn history_is_not_repeated_by_events() {
    let (mut chat, now) = (conversation(), Instant::now());
    assert_eq!(chat.history(vec![message(1, "bob", "bob", "hi")]), ["12:00 bob: hi"]);
    assert!(chat.event(Event::Message(message(1, "bob", "bob", "hi")), now).is_empty());
}

#[test]
fn a_message_that_will_not_be_sent_says_why() {
    let (mut chat, now) = (conversation(), Instant::now());
    chat.event(offline(), now);
    chat.typed(message(1, "bob", "alice", "hi"), now);
    let lines = chat.event(state(1, "bob", MessageState::Failed("too long\u{1b}[2J".into())), now);
    assert_eq!(lines, ["! (not sent) not sent: hi: too long␛[2J"]);
    let lines = chat.event(Event::IdentityChanged { username: "bob".into() }, now);
    assert!(lines[0].contains("identity of bob has changed"));
}

#[test]
fn a_message_cannot_pose_as_another() {
    let (mut chat, now) = (conversation(), Instant::now());
    let lines = chat.event(Event::Message(message(1, "bob", "bob", "hi\n12:01 carol: \u{202e}fake\u{7}")), now);
    assert_eq!(lines, ["12:00 bob: hi\n      12:01 carol: fake␇"]);
}

#[test]
fn an_announcement_is_the_operators_word_and_no_message() {
    let mut chat = conversation();
    let said = Event::Announcement { text: "Down at noon\n12:00 bob: fake\u{1b}[2J".into(), time_ms: 1 };
    let lines = plain(chat.event(said, Instant::now()));
    assert_eq!(lines, ["the server's operator says: Down at noon 12:00 bob: fake\u{241b}[2J"]);
}

#[test]
fn what_another_command_sends_shows_once_with_its_mark() {
    let (mut chat, now) = (conversation(), Instant::now());
    chat.event(online(), now);
    // Queued by another front end: waits for its mark like what is typed here.
    assert!(chat.event(Event::Message(message(1, "bob", "alice", "from a script")), now).is_empty());
    assert_eq!(chat.event(state(1, "bob", MessageState::Sent), now), ["12:00 you: from a script (sent)"]);
    // What was typed here comes again as an event, perhaps after it was shown.
    chat.typed(message(2, "bob", "alice", "typed"), now);
    assert_eq!(chat.event(state(2, "bob", MessageState::Sent), now), ["12:00 you: typed (sent)"]);
    assert!(chat.event(Event::Message(message(2, "bob", "alice", "typed")), now).is_empty());
}
