//! The checker is worth what it finds: a good history with one thing planted in it, kind by kind.

use super::*;
use crate::history::Incident;

const CHAT: &str = "#room";

fn sending(device: &str, text: &str, at: u64) -> Sending {
    Sending {
        device: device.into(),
        user: device.split('.').next().unwrap().into(),
        chat: CHAT.into(),
        text: text.into(),
        invoked: at,
        returned: at + 1,
        settled: at + 1,
        outcome: Outcome::Sent,
        probe: false,
    }
}

fn line(user: &str, text: &str, seq: u64, mine: bool) -> Line {
    let state = if mine { "sent" } else { "received" };
    Line {
        kind: "text".into(),
        id: text.into(),
        from: user.into(),
        text: text.into(),
        seq: Some(seq),
        state: state.into(),
    }
}

/// Three users, four devices, six messages; all is well.
fn good() -> History {
    let devices = ["alice.1", "alice.2", "bob.1", "carol.1"];
    let sendings: Vec<Sending> = [
        ("alice.1", "a", 10),
        ("bob.1", "b", 20),
        ("alice.2", "c", 30),
        ("carol.1", "d", 40),
        ("bob.1", "e", 50),
        ("alice.1", "f", 60),
    ]
    .into_iter()
    .map(|(device, text, at)| sending(device, text, at))
    .collect();
    let views = devices
        .iter()
        .map(|device| {
            let user = device.split('.').next().unwrap();
            let lines = sendings.iter().zip(1..);
            let lines = lines.map(|(sent, seq)| line(&sent.user, &sent.text, seq, sent.user == user)).collect();
            View { device: (*device).into(), user: user.into(), chat: CHAT.into(), lines }
        })
        .collect();
    History { sendings, views, ..History::default() }
}

fn view<'a>(history: &'a mut History, device: &str) -> &'a mut Vec<Line> {
    &mut history.views.iter_mut().find(|view| view.device == device).unwrap().lines
}

fn forget(history: &mut History, device: &str, text: &str) {
    view(history, device).retain(|line| line.text != text);
}

fn found(history: &History) -> Vec<Invariant> {
    let mut found: Vec<_> = check(history).into_iter().map(|violation| violation.invariant).collect();
    found.dedup();
    found
}

#[test]
fn a_good_history_is_good() {
    assert!(check(&good()).is_empty(), "{:?}", check(&good()));
}

#[test]
fn each_single_loss_is_found_wherever_it_is() {
    for device in ["alice.1", "alice.2", "bob.1", "carol.1"] {
        for text in ["a", "b", "c", "d", "e", "f"] {
            let mut history = good();
            forget(&mut history, device, text);
            assert_eq!(found(&history), [Invariant::I1], "{text} at {device}");
            let violation = check(&history).remove(0);
            assert_eq!(violation.texts, [text]);
            assert!(violation.what.contains(device), "{}", violation.what);
        }
    }
}

#[test]
fn a_message_that_was_shown_as_sent_and_that_nobody_has_is_found() {
    let mut history = good();
    for device in ["alice.1", "alice.2", "bob.1", "carol.1"] {
        forget(&mut history, device, "d");
    }
    assert_eq!(found(&history), [Invariant::I1]);
    // The same where only the sender's device says that it was sent.
    let mut history = good();
    history.sendings[3].outcome = Outcome::Queued;
    for device in ["alice.1", "alice.2", "bob.1"] {
        forget(&mut history, device, "d");
    }
    assert_eq!(found(&history), [Invariant::I1]);
}

#[test]
fn each_single_double_is_found() {
    for device in ["alice.1", "alice.2", "bob.1", "carol.1"] {
        for place in 0..6 {
            let mut history = good();
            let lines = view(&mut history, device);
            let mut double = lines[place].clone();
            double.id = "another".into();
            double.seq = Some(7);
            lines.push(double);
            assert!(found(&history).contains(&Invariant::I2), "{place} at {device}");
            // The same id with other words is one, too.
            let mut history = good();
            let lines = view(&mut history, device);
            lines[5].id = lines[place].id.clone();
            assert_eq!(found(&history).contains(&Invariant::I2), place != 5, "{place} at {device}");
        }
    }
}

#[test]
fn each_single_swap_is_found() {
    for device in ["alice.1", "alice.2", "bob.1", "carol.1"] {
        for place in 0..5 {
            let mut history = good();
            view(&mut history, device).swap(place, place + 1);
            assert!(found(&history).contains(&Invariant::I3), "{place} at {device}");
        }
    }
}

#[test]
fn an_order_that_is_wrong_for_all_alike_is_found_by_who_wrote_it() {
    let mut history = good();
    for device in ["alice.1", "alice.2", "bob.1", "carol.1"] {
        let lines = view(&mut history, device);
        lines.swap(1, 4);
        (lines[1].seq, lines[4].seq) = (Some(2), Some(5));
    }
    assert_eq!(found(&history), [Invariant::I3]);
}

#[test]
fn a_fork_is_found() {
    // Two halves show different messages at one place.
    let mut history = good();
    history.sendings.push(Sending { outcome: Outcome::Unknown, ..sending("bob.1", "g", 70) });
    history.sendings.push(Sending { outcome: Outcome::Unknown, ..sending("carol.1", "h", 70) });
    for (device, text) in [("alice.1", "g"), ("alice.2", "g"), ("bob.1", "g"), ("carol.1", "h")] {
        view(&mut history, device).push(line("?", text, 7, false));
    }
    assert!(found(&history).contains(&Invariant::I3) && found(&history).contains(&Invariant::I7));
    // One message at two places.
    let mut history = good();
    view(&mut history, "carol.1")[5].seq = Some(9);
    assert_eq!(found(&history), [Invariant::I3]);
}

#[test]
fn whatever_is_not_known_ends_in_one_outcome() {
    let mut history = good();
    history.sendings[3].outcome = Outcome::Unknown;
    assert!(found(&history).is_empty());
    let mut nobody = history.clone();
    for device in ["alice.1", "alice.2", "bob.1", "carol.1"] {
        forget(&mut nobody, device, "d");
    }
    assert!(found(&nobody).is_empty(), "{:?}", check(&nobody));
    // Some have it and some do not; the sender's own device claims nothing.
    view(&mut history, "carol.1")[3].state = "received".into();
    forget(&mut history, "bob.1", "d");
    assert_eq!(found(&history), [Invariant::I7]);
    // What failed is shown by nobody.
    let mut history = good();
    history.sendings[3].outcome = Outcome::Failed;
    assert_eq!(found(&history), [Invariant::I7]);
    // What was taken is not forgotten, and not waiting for ever.
    let mut history = good();
    history.sendings[3].outcome = Outcome::Queued;
    for device in ["alice.1", "alice.2", "bob.1"] {
        forget(&mut history, device, "d");
    }
    let mut waiting = history.clone();
    view(&mut waiting, "carol.1")[3].state = "queued".into();
    assert!(found(&waiting).contains(&Invariant::I7));
    let mut failed = history.clone();
    view(&mut failed, "carol.1")[3].state = "failed".into();
    assert!(found(&failed).is_empty(), "{:?}", check(&failed));
    forget(&mut history, "carol.1", "d");
    assert_eq!(found(&history), [Invariant::I7]);
}

#[test]
fn members_count_from_when_they_are_in_until_they_may_be_out() {
    let change =
        |inside, invoked, certain| Membership { chat: CHAT.into(), user: "carol".into(), inside, invoked, certain };
    // Put out between b and d, back before f.
    let mut history = good();
    history.sendings.retain(|sending| sending.device != "carol.1");
    history.views.iter_mut().for_each(|view| view.lines.retain(|line| line.text != "d"));
    history.memberships = vec![change(false, 25, 35), change(true, 53, 57)];
    assert_eq!(found(&history), [Invariant::I6], "it must not have read e");
    forget(&mut history, "carol.1", "e");
    assert!(found(&history).is_empty(), "{:?}", check(&history));
    // What raced with the removal may be there or not.
    forget(&mut history, "carol.1", "c");
    assert!(found(&history).is_empty());
    for text in ["b", "f"] {
        let mut history = history.clone();
        forget(&mut history, "carol.1", text);
        assert_eq!(found(&history), [Invariant::I1], "{text}");
    }
    // A message that was long on its way has no certain readers among those who changed.
    history.sendings[1].settled = 100;
    forget(&mut history, "carol.1", "b");
    assert!(found(&history).is_empty());
}

#[test]
fn an_old_copy_excuses_what_it_cannot_know_and_nothing_else() {
    let mut history = good();
    history.lapses.push(Lapse { device: "bob.1".into(), from: 15, to: 45 });
    for text in ["b", "c", "d"] {
        forget(&mut history, "bob.1", text);
    }
    assert!(found(&history).is_empty(), "{:?}", check(&history));
    let mut later = history.clone();
    forget(&mut later, "bob.1", "f");
    assert_eq!(found(&later), [Invariant::I1]);
    let mut before = history.clone();
    forget(&mut before, "bob.1", "a");
    assert_eq!(found(&before), [Invariant::I1]);
    // What the copy sent once more stands for it where it did so then, and for nobody else.
    let mut again = history.clone();
    view(&mut again, "bob.1").push(line("bob", "b", 9, true));
    assert!(found(&again).is_empty(), "{:?}", check(&again));
    view(&mut again, "alice.2").swap(1, 3);
    assert!(found(&again).contains(&Invariant::I3));
    // What it had sent stays sent.
    forget(&mut history, "carol.1", "b");
    assert_eq!(found(&history), [Invariant::I1]);
}

#[test]
fn probes_marks_and_incidents_have_their_own_names() {
    let mut history = good();
    history.sendings[5].probe = true;
    forget(&mut history, "bob.1", "f");
    assert_eq!(found(&history), [Invariant::I5]);
    let mut history = good();
    view(&mut history, "bob.1").push(Line {
        kind: "unreadable".into(),
        text: "no key".into(),
        ..line("?", "", 7, false)
    });
    assert_eq!(found(&history), [Invariant::I4]);
    let mut history = good();
    view(&mut history, "bob.1").push(line("alice", "invented", 7, false));
    assert_eq!(found(&history), [Invariant::I1]);
    let mut history = good();
    history.incidents.push(Incident { invariant: Invariant::Alive, what: "a panic".into() });
    assert_eq!(found(&history), [Invariant::Alive]);
}
