use super::*;

const A: ChatId = 1;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn said(own: There, ask: bool) -> Said {
    Said { own, ask, others: Vec::new() }
}

fn company() -> Company {
    Company { name: "bob".into(), ..Company::default() }
}

fn told(events: Vec<Event>) -> Vec<(String, Presence)> {
    let one = |event| match event {
        Event::Presence(present) => (present.username, present.presence),
        event => panic!("{event:?}"),
    };
    events.into_iter().map(one).collect()
}

#[test]
fn who_asks_is_answered_and_who_says_nothing_is_forgotten() {
    let (mut chat, members, now) = (company(), names(&["al", "bob"]), Instant::now());
    chat.take("al", ("bob", 1), &said(There::Here, true), &members, There::Here, now);
    assert_eq!(told(chat.news(now)), [("bob".to_owned(), Presence::Here)]);
    let soon = now + Duration::from_secs(1);
    assert_eq!(chat.say("al", &members, There::Here, soon), Some(said(There::Here, false)));
    // Told once, until something changes.
    assert_eq!(told(chat.news(soon)), []);
    chat.take("al", ("bob", 2), &said(There::Away, false), &members, There::Here, soon);
    assert_eq!(told(chat.news(soon)), [("bob".to_owned(), Presence::Away)]);
    let later = soon + BEAT.mul_f64(BELIEVED) + Duration::from_secs(1);
    assert_eq!(told(chat.news(later)), [("bob".to_owned(), Presence::Gone)]);
    // Nobody is there to hear it.
    assert_eq!(chat.say("al", &members, There::Here, later), None);
}

#[test]
fn whose_front_end_says_nothing_answers_nobody() {
    let (mut chat, members, now) = (company(), names(&["al", "bob"]), Instant::now());
    chat.take("al", ("bob", 1), &said(There::Here, true), &members, There::Unsaid, now);
    assert_eq!(chat.next, None);
    assert_eq!(told(chat.news(now)), [("bob".to_owned(), Presence::Here)]);
}

#[test]
fn a_repetition_by_the_server_brings_nobody_back() {
    let (mut chat, members, now) = (company(), names(&["al", "bob"]), Instant::now());
    for (there, at) in [(There::Here, 7), (There::Gone, 8), (There::Here, 7), (There::Here, 8)] {
        chat.take("al", ("bob", at), &said(there, true), &members, There::Here, now);
    }
    assert_eq!(told(chat.news(now)), []);
}

#[test]
fn where_many_are_one_answers_for_all() {
    let (mut chat, now) = (company(), Instant::now());
    let members: Vec<String> = (0..20).map(|number| format!("user{number:02}")).collect();
    let me = "user03";
    chat.take(me, ("user05", 1), &said(There::Away, false), &members, There::Here, now);
    chat.take(me, ("user09", 1), &said(There::Unsaid, true), &members, There::Here, now);
    assert!(matches!(chat.next, Some((_, Cause::Answer))));
    let answer = chat.say(me, &members, There::Here, now + LATEST).unwrap();
    assert_eq!((answer.others.len(), answer.others[3], answer.others[5]), (20, There::Here, There::Away));
    // The newcomer knows both then, and somebody else who would have answered keeps quiet.
    let (mut newcomer, mut other) = (company(), company());
    newcomer.take("user09", (me, 2), &answer, &members, There::Unsaid, now);
    let here = told(newcomer.news(now));
    assert_eq!(here, [(me.to_owned(), Presence::Here), ("user05".to_owned(), Presence::Away)]);
    other.take("user05", ("user09", 1), &said(There::Unsaid, true), &members, There::Away, now);
    other.take("user05", (me, 2), &answer, &members, There::Away, now);
    assert!(matches!(other.next, Some((_, Cause::Beat))));
    // Who is told of wrongly speaks up.
    let mut wronged = company();
    wronged.take("user07", ("user09", 1), &said(There::Unsaid, true), &members, There::Here, now);
    wronged.take("user07", (me, 2), &answer, &members, There::Here, now);
    assert!(matches!(wronged.next, Some((_, Cause::Answer))));
}

#[test]
fn who_asks_without_end_is_not_answered_without_end() {
    let (mut chat, members, mut now) = (company(), names(&["al", "bob"]), Instant::now());
    let mut answers = 0;
    for at in 0..100 {
        chat.take("al", ("bob", at + 1), &said(There::Here, true), &members, There::Here, now);
        now += Duration::from_millis(100);
        answers += usize::from(chat.say("al", &members, There::Here, now).is_some());
    }
    assert!((2..=5).contains(&answers), "{answers}");
}

#[test]
fn another_device_that_goes_does_not_take_the_user_along() {
    let (mut chat, members, now) = (company(), names(&["al", "bob"]), Instant::now());
    chat.take("al", ("bob", 1), &said(There::Here, false), &members, There::Here, now);
    chat.take("al", ("al", 1), &said(There::Gone, false), &members, There::Here, now);
    assert_eq!(chat.say("al", &members, There::Here, now + PAUSE), Some(said(There::Here, false)));
    // And one that is there speaks for one that is away.
    chat.take("al", ("al", 2), &said(There::Here, false), &members, There::Away, now);
    assert_eq!(chat.say("al", &members, There::Away, now + PAUSE + BEAT), None);
}

#[test]
fn a_large_group_is_told_more_rarely() {
    assert_eq!(beat(2), BEAT);
    assert_eq!(beat(250), Duration::from_secs(500));
    assert!(answer_after(250, u64::MAX) <= LATEST && answer_after(2, 999) < Duration::from_millis(100));
}

#[test]
fn what_was_known_goes_with_the_connection() {
    let (mut all, members, now) = (Presences::new(true), names(&["al", "bob"]), Instant::now());
    let chat = all.chats.entry(A).or_insert_with(company);
    chat.take("al", ("bob", 5), &said(There::Here, true), &members, There::Here, now);
    assert_eq!(told(chat.news(now)), [("bob".to_owned(), Presence::Here)]);
    assert_eq!(told(all.forget(now)), [("bob".to_owned(), Presence::Gone)]);
    assert_eq!(all.deadline(), None);
    // Nor does the server bring it back afterwards.
    let chat = all.chats.get_mut(&A).unwrap();
    chat.take("al", ("bob", 5), &said(There::Here, true), &members, There::Here, now);
    assert_eq!(told(chat.news(now)), []);
}
