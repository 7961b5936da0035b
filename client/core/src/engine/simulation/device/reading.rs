//! What a simulated device makes of pages, entries and welcomes.

use super::{
    super::{
        super::{
            Ahead, joining,
            log::{self, Behind},
            order,
        },
        Fate, Plant, Violation,
        cipher::{Fault, Group, Inside, Sealed},
        server::{Ask, DEVICES, welcomed},
    },
    Bench, Device, Stop, acknowledge_inbox, author, broken,
};
use crate::{
    Content, Error, MessageId, MessageState,
    store::{
        self,
        chats::{self, ChatRow, Phase},
        commits, messages, outbox,
    },
};
use rusqlite::Connection as Database;
use waxwing_e2ee::content::{self, Body};
use waxwing_protocol::{InboxItem, InboxNotice, Page};

impl Device {
    /// The engine's `fetch`, from the answer on.
    pub(super) fn page(
        &mut self,
        bench: &mut Bench<'_, '_>,
        page: Option<Page>,
        killed: bool,
    ) -> Result<(), Violation> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let row = chats::load(bench.db, self.chat).unwrap();
        let Some(page) = page else {
            if row.phase == Phase::Active {
                self.go_outside(bench.db);
            }
            return Ok(());
        };
        if row.phase != Phase::Active {
            return Ok(());
        }
        let own_commit = commits::find(bench.db, self.chat).unwrap().map(|commit| commit.number);
        let behind = log::check_page(&page, &row, own_commit).map_err(|error| broken("a page", &error))?;
        if page.sent > row.number {
            return Err(Violation(format!("an old copy: {} sent, {} known", page.sent, row.number)));
        }
        if line.lane.ahead.last_key_value().is_some_and(|(last, _)| *last > page.head) {
            return Err(Violation("heard of entries that are not there".into()));
        }
        let (head, commits, sent) = (page.head, page.commits, page.sent);
        line.lane.fetched(page.entries);
        match behind {
            Behind::Kept => {}
            Behind::Beyond => {
                self.go_outside(bench.db);
                return Ok(());
            }
            Behind::Expired(upto) => {
                if !bench.server.expired {
                    return Err(Violation(format!(
                        "device {}: entries up to {upto} have expired, it says",
                        self.number
                    )));
                }
                let done = self.durably(bench, "skip", false, |tx, device, own| {
                    let mut row = chats::load(tx, device.chat)?;
                    Ok(log::pass_over(tx, own, &mut row, upto)?)
                })?;
                drop(done);
            }
        }
        self.advance(bench, killed)?;
        let row = self.row(bench.db);
        let Some(line) = &mut self.line else { return Ok(()) };
        if row.phase != Phase::Active {
            return Ok(());
        }
        if row.cursor == head && row.gap && row.commits < commits {
            self.go_outside(bench.db);
            return Ok(());
        }
        if row.cursor == head && row.commits != commits {
            return Err(Violation(format!("{} commits counted, {commits} there", row.commits)));
        }
        if row.cursor >= head {
            (line.behind, line.lane.synced) = (false, true);
            line.lane.submission.compared(sent);
        }
        Ok(())
    }

    /// The engine's `advance`.
    pub(super) fn advance(&mut self, bench: &mut Bench<'_, '_>, killed: bool) -> Result<(), Violation> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let row = chats::load(bench.db, self.chat).unwrap();
        if row.phase != Phase::Active || line.fetching {
            return Ok(());
        }
        let entries = line.lane.take_next(row.cursor);
        if !line.lane.ahead.is_empty() && line.lane.is_quiet() {
            line.behind = true;
        }
        let Some((last, _)) = entries.last() else { return Ok(()) };
        if bench.plant == Plant::AcknowledgesUnread
            && let Some(wire) = bench.server.wire(self.number)
        {
            wire.to_server.push_back(Ask::Acknowledge { seq: *last });
            // It arrives, whatever becomes of this process.
            while bench.server.serve(self.number, Fate::Done, &[u64::MAX >> 2; DEVICES as usize])? {}
        }
        let done = self.durably(bench, "read", killed, |tx, device, _| device.read(tx, row, entries));
        let Some((confirmed, cursor, outside)) = done? else { return Ok(()) };
        let Some(line) = &mut self.line else { return Ok(()) };
        line.lane.submission.confirmed(confirmed);
        if let Some(wire) = bench.server.wire(self.number) {
            wire.to_server.push_back(Ask::Acknowledge { seq: cursor });
        }
        if outside {
            self.go_outside(bench.db);
        }
        Ok(())
    }

    /// The engine's `Reader`: the highest confirmed number, the cursor, and whether this device is out.
    fn read(&mut self, tx: &Database, mut row: ChatRow, entries: Vec<(u64, Ahead)>) -> Result<(u64, u64, bool), Stop> {
        let (mut confirmed, mut outside) = (0, false);
        let wrong = |what: String| Stop::Failed(Error::ServerMisbehaves(what));
        for (seq, entry) in entries {
            let (payload, is_commit) = match entry {
                Ahead::Own { number } => {
                    let hash = order::own_entry(tx, self.chat, number)?;
                    row.cursor = seq;
                    if commits::is(tx, self.chat, number)? {
                        row.commits += 1;
                        commits::delete(tx, self.chat)?;
                        self.group.iter_mut().for_each(Group::accepted);
                    } else if outbox::contains(tx, self.chat, number)? {
                        log::settle(tx, self.chat, number, seq)?;
                    } else {
                        return Err(wrong(format!("{seq} is called ours, number {number}, and is not")));
                    }
                    confirmed = confirmed.max(number);
                    if let Some(hash) = hash {
                        store::order::push(tx, self.chat, seq, &hash)?;
                    }
                    continue;
                }
                Ahead::Application { payload } => (payload, false),
                Ahead::Commit { payload } => (payload, true),
            };
            let Some(group) = &mut self.group else { return Err(wrong("no group".into())) };
            let author = Sealed::from_bytes(&payload.0).map_or(0, |sealed| sealed.device);
            let inside = match group.receive(&payload.0) {
                Ok(inside) => inside,
                // There were commits among what expired.
                Err(Fault::NotThisEpoch) if row.gap => {
                    outside = true;
                    break;
                }
                Err(fault) => return Err(wrong(format!("device {} cannot read {seq}: {fault:?}", self.number))),
            };
            row.cursor = seq;
            row.commits += u64::from(is_commit);
            if row.gap {
                row.gap = false;
                chats::set_gap(tx, self.chat, false)?;
            }
            match inside {
                Inside::Commit { .. } if !group.is_inside() => {
                    outside = true;
                    break;
                }
                Inside::Commit { .. } => {}
                Inside::Message(content) => self.show(tx, &row, author, &content)?,
            }
            store::order::push(tx, self.chat, seq, &order::entry_hash(&payload.0))?;
        }
        chats::set_progress(tx, self.chat, row.cursor, row.commits, row.others)?;
        store::order::prune(tx, self.chat, row.cursor)?;
        Ok((confirmed, row.cursor, outside))
    }

    fn show(&self, tx: &Database, row: &ChatRow, from: u8, bytes: &[u8]) -> Result<(), Stop> {
        let said = content::decode(bytes).map_err(|error| Error::BadInput(error.to_string()))?;
        let author = author(from);
        if let Some(seen) = &said.seen
            && order::compare(tx, row, row.cursor, seen, &author, false)?.is_some()
        {
            return Err(Error::ServerMisbehaves(format!("another order is shown to {author}")).into());
        }
        if messages::is_known(tx, self.chat, &author, MessageId(said.id))? {
            return Ok(());
        }
        let Body::Text(text) = said.body else { return Ok(()) };
        let new = messages::NewMessage {
            chat: self.chat,
            id: MessageId(said.id),
            author: &author,
            mine: false,
            seq: Some(row.cursor),
            sent_at: 1,
            received_at: 1,
            content: &Content::Text(text),
            state: &MessageState::Received,
            reply_to: None,
            lifetime: None,
        };
        messages::insert(tx, &new)?;
        Ok(())
    }

    pub(super) fn item(&mut self, bench: &mut Bench<'_, '_>, item: InboxItem) -> Result<(), Violation> {
        let Some(line) = &mut self.line else { return Ok(()) };
        if item.seq <= line.inbox_seq {
            return Ok(());
        }
        line.inbox_seq = item.seq;
        match item.notice {
            InboxNotice::Welcome { .. } => line.welcomes.push_back((item, None)),
            _ => acknowledge_inbox(bench.server, self.number, item.seq),
        }
        Ok(())
    }

    /// The engine's `accept`: reads up to the welcome's place with the group that is here, then comes in.
    pub(super) fn take_welcome(&mut self, bench: &mut Bench<'_, '_>, killed: bool) -> Result<(), Violation> {
        let Some(line) = self.line.as_mut().filter(|line| !line.fetching) else { return Ok(()) };
        let Some((item, tried)) = line.welcomes.pop_front() else { return Ok(()) };
        let InboxNotice::Welcome { seq, commits, payload, .. } = &item.notice else { return Ok(()) };
        let row = chats::load(bench.db, self.chat).unwrap();
        if row.phase == Phase::Active && row.cursor < *seq && tried != Some(row.cursor) {
            line.behind = true;
            line.welcomes.push_front((item, Some(row.cursor)));
            return Ok(());
        }
        let members = welcomed(payload);
        if let (true, Some(members)) = (row.phase != Phase::Active && row.cursor < *seq, members) {
            let conversation = self.conversation;
            let done = self.durably(bench, "join", killed, |tx, device, own| {
                device.group = Some(Group::new(device.number, *commits, members));
                Ok(joining::came_in(tx, own, &row, &conversation, *seq, *commits)?)
            })?;
            if done.is_none() {
                return Ok(());
            }
            if let Some(line) = &mut self.line {
                line.behind = true;
                line.lane.ahead.clear();
            }
        }
        acknowledge_inbox(bench.server, self.number, item.seq);
        Ok(())
    }
}
