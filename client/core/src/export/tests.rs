use super::*;
use crate::{
    MessageId,
    store::{self, messages::NewMessage},
};
use waxwing_e2ee::local::LocalKey;

fn profile() -> Connection {
    store::open_in_memory(&LocalKey::generate(&mut crate::random())).unwrap()
}

/// A chat with bob, in which he and alice take turns.
fn filled(texts: &[&str]) -> Connection {
    let mut db = profile();
    fill(&mut db, texts.iter().map(|text| (*text).to_owned()));
    db
}

fn fill(db: &mut Connection, texts: impl Iterator<Item = String>) {
    store::in_transaction(db, |tx| {
        let chat = chats::ensure(tx, "bob")?.chat;
        for (index, text) in texts.enumerate() {
            let index = index as u64;
            let mine = index.is_multiple_of(2);
            let mut id = [7; 16];
            id[..8].copy_from_slice(&index.to_be_bytes());
            messages::insert(
                tx,
                &NewMessage {
                    chat,
                    id: MessageId(id),
                    author: if mine { "alice" } else { "bob" },
                    mine,
                    seq: Some(index + 1),
                    sent_at: 1_700_000_000_000 + 60_000 * index,
                    received_at: 1_700_000_000_500 + 60_000 * index,
                    content: &Content::Text(text),
                    state: if mine { &MessageState::Sent } else { &MessageState::Received },
                    reply_to: None,
                    lifetime: None,
                },
            )?;
        }
        Ok::<_, Error>(())
    })
    .unwrap();
}

/// The whole export, and how long the longest page was.
fn exported(db: &Connection, format: ExportFormat) -> (String, usize) {
    let request = ExportRequest { chat: None, since: None, format };
    let (mut all, mut longest, mut cursor) = (String::new(), 0, None);
    loop {
        let page = page(db, "alice", &request, cursor).unwrap();
        longest = longest.max(page.text.len());
        all.push_str(&page.text);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return (all, longest),
        }
    }
}

fn imported(db: &mut Connection, document: &str) -> Result<Imported, Error> {
    let mut done = Imported::default();
    let found = ImportFile::read(document.as_bytes(), |_| Ok(()))?;
    let mut position = messages::lowest_position(db)? - found.texts as i64 - 1;
    ImportFile::read(document.as_bytes(), |batch| {
        let length = batch.len() as i64;
        let one = store::in_transaction(db, |tx| import(tx, batch, position))?;
        position += length;
        done.added += one.added;
        done.known += one.known;
        Ok(())
    })?;
    Ok(done)
}

fn texts(db: &Connection) -> Vec<(String, String)> {
    let chat = chats::by_name(db, "bob").unwrap().unwrap().chat;
    let all = messages::newest(db, chat, usize::MAX >> 1).unwrap();
    let text = |message: Message| match message.content {
        Content::Text(text) => (message.from, text),
        other => panic!("{other:?}"),
    };
    all.into_iter().map(text).collect()
}

const EVIL: &str = "<script>alert(1)</script> & \"x\" 'y'\n\u{202e}live\u{2066} \u{1b}[2J\u{7} # *no* [a](b) `c`";

#[test]
fn what_goes_out_as_json_comes_back_marked_and_once() {
    let here = filled(&["hello", "hi", EVIL]);
    let (document, _) = exported(&here, ExportFormat::Json);
    let value: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&value["format"], &value["version"]), (&"waxwing-export".into(), &1.into()));
    assert_eq!(value["chats"][0]["messages"][2]["text"], EVIL);
    assert!(!document.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{document}");

    let mut there = profile();
    assert_eq!(imported(&mut there, &document).unwrap().added, 3);
    let expected: Vec<_> = [("alice", "hello"), ("bob", "hi"), ("alice", EVIL)]
        .iter()
        .map(|(from, text)| (format!("{from} (imported)"), (*text).to_owned()))
        .collect();
    assert_eq!(texts(&there), expected);
    assert_eq!(imported(&mut there, &document).unwrap(), Imported { added: 0, known: 3, skipped: 0 });
    assert!(messages::unreceived(&there, 10).unwrap().is_empty());
    let chat = chats::by_name(&there, "bob").unwrap().unwrap().chat;
    assert_eq!(messages::counts(&there, chat).unwrap(), (0, 0, 0));

    // Exported again it still says that it is imported, once.
    let (again, _) = exported(&there, ExportFormat::Json);
    let value: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(value["chats"][0]["messages"][0]["from"], "alice");
    assert_eq!(value["chats"][0]["messages"][0]["imported"], true);
    assert_eq!(imported(&mut profile(), &again).unwrap().added, 3);
}

#[test]
fn imported_messages_stand_where_they_were_written() {
    let mut db = filled(&["one", "two", "three"]);
    let (document, _) = exported(&filled(&["x"]), ExportFormat::Json);
    let between =
        document.replace("00000000000000000707", "ffffffffffffffff0707").replace("22:13:20.000", "22:13:50.000");
    assert_eq!(imported(&mut db, &between).unwrap().added, 1);
    let order: Vec<_> = texts(&db).into_iter().map(|(_, text)| text).collect();
    assert_eq!(order, ["one", "x", "two", "three"]);
}

#[test]
fn long_histories_keep_their_order_and_pages_stay_short() {
    let mut db = profile();
    fill(&mut db, (0..1800).map(|number| format!("message {number}")));
    let (document, longest) = exported(&db, ExportFormat::Json);
    assert!(longest < 200 * 1024, "a page of {longest} bytes");
    let mut there = profile();
    assert_eq!(imported(&mut there, &document).unwrap().added, 1800);
    let order: Vec<_> = texts(&there).into_iter().map(|(_, text)| text).collect();
    assert_eq!(order, (0..1800).map(|number| format!("message {number}")).collect::<Vec<_>>());
    for format in [ExportFormat::Html, ExportFormat::Markdown] {
        let (text, _) = exported(&db, format);
        let at = |number: usize| text.find(&format!("message {number}")).unwrap();
        assert!(at(499) < at(500) && at(500) < at(1799));
    }
}

#[test]
fn a_malformed_file_is_refused_with_its_place() {
    let (good, _) = exported(&filled(&["hello", "hi"]), ExportFormat::Json);
    let bad = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        imported(&mut profile(), &good.replacen(from, to, 1)).unwrap_err()
    };
    let said = |error: Error| error.to_string();
    assert!(matches!(bad("\"hi\"", "\"hi\",,"), Error::BadImport { line: 12, .. }), "{good}");
    assert!(said(bad("waxwing-export", "other")).contains("no export of Waxwing"));
    assert!(said(bad("\"version\": 1", "\"version\": 2")).contains("version 2"));
    assert!(said(bad("\"from\":\"bob\"", "\"from\":\"bob\\n\\u001b\"")).contains("not a username"));
    assert!(said(bad("\"chat\": \"bob\"", "\"chat\": \"../bob\"")).contains("not a username"));
    assert!(said(bad("2023-11-14T22:13:20.000Z", "yesterday")).contains("not a time"));
    assert!(said(bad("00000000000000000707", "zz")).contains("hexadecimal"));
    let cut = imported(&mut profile(), &good[..good.len() - 9]).unwrap_err();
    assert!(matches!(cut, Error::BadImport { .. }), "{cut}");
    let mut db = profile();
    assert!(imported(&mut db, &format!("{good}x")).is_err());
    assert!(chats::all(&db).unwrap().is_empty(), "something of a bad file was imported");
}

#[test]
fn html_and_markdown_take_nothing_that_was_written_as_markup() {
    let db = filled(&[EVIL, "plain"]);
    let (page, _) = exported(&db, ExportFormat::Html);
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot; &#39;y&#39;<br>"));
    assert!(page.contains("<code>U+202E</code>live<code>U+2066</code> <code>U+001B</code>[2J"));
    let (text, _) = exported(&db, ExportFormat::Markdown);
    assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
    assert!(text.contains("  \n> ⟨U+202E⟩live"), "{text}");
    assert!(text.contains("\\# \\*no\\* \\[a\\](b) \\`c\\`"), "{text}");
    for output in [page, text] {
        assert!(!output.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{2069}').contains(&c)));
    }
}
