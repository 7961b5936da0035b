//! Many appends and acknowledgements in one transaction: what they touch is read under lock in a few statements, judged in
//! memory in the order of their arrival, and written in a few statements (in `write`). It owns the rules of the log (seqs and numbers
//! without gaps, commits one after the other, checks in their order, only what all devices have goes). It must not know
//! queues or what a commit means.

mod roster;
mod write;

use super::conversation::recipients;
use super::inbox::Notice;
use super::rooms::push_names;
use super::row::{bytes, padded, push_list, signed, unsigned};
use crate::store::{Append, AppendBody, AppendOutcome, Join, StoreError};
use roster::RosterChange;
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use waxwing_protocol::{Bytes, ConversationId, DeviceId, InboxNotice};

/// How many of its latest send numbers the server can still answer a device for.
const SEND_WINDOW: u64 = 256;
/// Between one commit and the next.
const COMMIT_PAUSE_MS: u64 = 1000;

/// id, creator, created_seq, head, tail, commits, committed_ms.
type ConversationRow = (Vec<u8>, Vec<u8>, i64, i64, i64, i64, i64);
/// conversation, device, start_seq, cursor_seq, sent, left_at, join_digest, join_ms.
type MemberRow = (Vec<u8>, Vec<u8>, i64, i64, i64, Option<i64>, Option<Vec<u8>>, Option<i64>);
/// conversation, device, number, seq, time_ms.
type ReceiptRow = (Vec<u8>, Vec<u8>, i64, i64, i64);

/// A device has everything of a conversation up to `seq`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) device: DeviceId,
    pub(super) conversation: ConversationId,
    pub(super) seq: u64,
}

/// A locked conversation.
struct Conversation {
    creator: Vec<u8>,
    created_seq: i64,
    head: u64,
    tail: i64,
    commits: u64,
    committed_ms: u64,
    members: BTreeMap<DeviceId, Member>,
    changed: bool,
    acknowledged: bool,
}

/// A device that is in a conversation, or has left it and not read that yet.
struct Member {
    start: u64,
    cursor: u64,
    sent: u64,
    left_at: Option<u64>,
    /// The commit by which it let itself in (its digest and time), which is at `start` + 1.
    join: Option<([u8; 32], u64)>,
    changed: bool,
}

impl Conversation {
    fn is_in(&self, device: &DeviceId) -> bool {
        self.members.get(device).is_some_and(|member| member.left_at.is_none())
    }
}

/// An accepted append.
struct Accepted<'a> {
    append: &'a Append,
    seq: u64,
    recipients: Vec<DeviceId>,
}

impl<'a> Accepted<'a> {
    fn payload(&self) -> &'a Bytes {
        self.append.body.payload()
    }
}

/// An open transaction's appends.
pub(super) struct Batch<'a> {
    conversations: BTreeMap<ConversationId, Conversation>,
    /// What earlier send numbers became: (seq, time).
    receipts: HashMap<(ConversationId, DeviceId, u64), (u64, u64)>,
    /// Devices that a welcome here names or that let themselves in, and whose accounts are in the conversation, with the
    /// highest number that they ever sent there.
    eligible: BTreeMap<(ConversationId, DeviceId), u64>,
    /// What commits here do to which accounts take part.
    rosters: HashMap<(ConversationId, DeviceId, u64), RosterChange>,
    accepted: Vec<Accepted<'a>>,
    /// Welcomes, to be posted before the commit.
    pub(super) notices: Vec<Notice>,
    /// Devices that have read their own removal. Their receipts stay: should one come back, it goes on counting.
    gone: Vec<(ConversationId, DeviceId)>,
    /// Stretches of logs that all devices have: (first, last).
    dropped: Vec<(ConversationId, i64, i64)>,
}

impl<'a> Batch<'a> {
    /// Locks the conversations, in the order of their ids, and reads what judging needs.
    pub(super) async fn load(
        transaction: &mut Transaction<'_, MySql>,
        appends: &[Append],
        acknowledgements: &[Acknowledgement],
    ) -> Result<Self, StoreError> {
        let appended = appends.iter().map(|append| append.conversation);
        let ids: BTreeSet<ConversationId> =
            appended.chain(acknowledgements.iter().map(|one| one.conversation)).collect();
        let mut batch = Self {
            conversations: conversations(transaction, &ids).await?,
            receipts: HashMap::new(),
            eligible: BTreeMap::new(),
            rosters: HashMap::new(),
            accepted: Vec::with_capacity(appends.len()),
            notices: Vec::new(),
            gone: Vec::new(),
            dropped: Vec::new(),
        };
        batch.load_members(transaction).await?;
        batch.load_receipts(transaction, appends).await?;
        batch.load_rosters(transaction, appends).await?;
        batch.load_eligible(transaction, appends).await?;
        Ok(batch)
    }

    async fn load_members(&mut self, transaction: &mut Transaction<'_, MySql>) -> Result<(), StoreError> {
        if self.conversations.is_empty() {
            return Ok(());
        }
        let mut select = QueryBuilder::<MySql>::new(
            "SELECT conversation, device, start_seq, cursor_seq, sent, left_at, join_digest, join_ms \
             FROM membership WHERE conversation IN ",
        );
        push_list(&mut select, self.conversations.keys().map(|id| &id.0[..]));
        let rows: Vec<MemberRow> = select.build_query_as().fetch_all(&mut **transaction).await?;
        for (id, device, start, cursor, sent, left_at, digest, join_ms) in rows {
            let Some(conversation) = self.conversations.get_mut(&ConversationId(bytes(&id, "membership")?)) else {
                continue;
            };
            let member = Member {
                start: unsigned(start, "membership")?,
                cursor: unsigned(cursor, "membership")?,
                sent: unsigned(sent, "membership")?,
                left_at: left_at.map(|seq| unsigned(seq, "membership")).transpose()?,
                join: match digest.zip(join_ms) {
                    Some((digest, join_ms)) => Some((bytes(&digest, "membership")?, unsigned(join_ms, "membership")?)),
                    None => None,
                },
                changed: false,
            };
            conversation.members.insert(DeviceId(bytes(&device, "membership")?), member);
        }
        Ok(())
    }

    /// What became of those numbers of the batch that were used before.
    async fn load_receipts(
        &mut self,
        transaction: &mut Transaction<'_, MySql>,
        appends: &[Append],
    ) -> Result<(), StoreError> {
        let again: Vec<&Append> = appends
            .iter()
            .filter(|append| {
                let conversation = self.conversations.get(&append.conversation);
                let sender = conversation.and_then(|found| found.members.get(&append.device));
                sender.is_some_and(|sender| append.number <= sender.sent)
            })
            .collect();
        if again.is_empty() {
            return Ok(());
        }
        let mut select =
            QueryBuilder::<MySql>::new("SELECT conversation, device, number, seq, time_ms FROM receipt WHERE ");
        let mut any = select.separated(" OR ");
        for append in padded(&again) {
            any.push("(conversation = ").push_bind_unseparated(&append.conversation.0[..]);
            any.push_unseparated(" AND device = ").push_bind_unseparated(&append.device.0[..]);
            any.push_unseparated(" AND slot = ").push_bind_unseparated(signed(append.number % SEND_WINDOW));
            any.push_unseparated(")");
        }
        let rows: Vec<ReceiptRow> = select.build_query_as().fetch_all(&mut **transaction).await?;
        for (id, device, number, seq, time_ms) in rows {
            let id = ConversationId(bytes(&id, "receipt")?);
            let key = (id, DeviceId(bytes(&device, "receipt")?), unsigned(number, "receipt")?);
            self.receipts.insert(key, (unsigned(seq, "receipt")?, unsigned(time_ms, "receipt")?));
        }
        Ok(())
    }

    async fn load_eligible(
        &mut self,
        transaction: &mut Transaction<'_, MySql>,
        appends: &[Append],
    ) -> Result<(), StoreError> {
        for append in appends {
            let named = match &append.body {
                AppendBody::Application(_) | AppendBody::Passing(_) => continue,
                AppendBody::Commit(handshake) => recipients(handshake).unwrap_or_default(),
                AppendBody::Join(_) => BTreeSet::from([append.device]),
            };
            if named.is_empty() {
                continue;
            }
            // Commits are rare (one a second and conversation), so they may cost a statement each.
            let entered = match &append.body {
                AppendBody::Commit(handshake) => handshake.roster.as_ref().map_or(&[][..], |roster| &roster.entered),
                AppendBody::Application(_) | AppendBody::Passing(_) | AppendBody::Join(_) => &[],
            };
            let id = &append.conversation.0[..];
            let mut select = QueryBuilder::<MySql>::new(
                "SELECT d.id, COALESCE((SELECT MAX(r.number) FROM receipt r WHERE r.device = d.id AND r.conversation = ",
            );
            select.push_bind(id).push("), 0) FROM device d JOIN account a ON a.id = d.account WHERE d.id IN ");
            push_list(&mut select, named.iter().map(|device| &device.0[..]));
            select.push(" AND (EXISTS (SELECT 1 FROM participant p WHERE p.account = a.id AND p.conversation = ");
            select.push_bind(id).push(") OR (a.deleted_ms IS NULL AND a.username IN ");
            push_names(&mut select, entered);
            select.push("))");
            let rows: Vec<(Vec<u8>, i64)> = select.build_query_as().fetch_all(&mut **transaction).await?;
            for (device, sent) in rows {
                let device = DeviceId(bytes(&device, "device")?);
                self.eligible.insert((append.conversation, device), unsigned(sent, "receipt")?);
            }
        }
        Ok(())
    }

    /// Decides about one append, and remembers what it changes.
    pub(super) fn judge(&mut self, append: &'a Append) -> AppendOutcome {
        if let AppendBody::Join(join) = &append.body {
            return self.judge_join(append, join);
        }
        let id = append.conversation;
        let Some(conversation) = self.conversations.get_mut(&id) else { return AppendOutcome::UnknownConversation };
        let sender = conversation.members.get(&append.device).filter(|member| member.left_at.is_none());
        let Some(sender) = sender else { return AppendOutcome::UnknownConversation };
        let expected = sender.sent + 1;
        if append.number != expected {
            // What it has acknowledged it knows; what it sent before it came in anew it was not told.
            let untold = |(seq, _): &&(u64, u64)| *seq > sender.cursor || *seq <= sender.start;
            let known = self.receipts.get(&(id, append.device, append.number)).filter(untold);
            let answer = |&(seq, time_ms): &(u64, u64)| AppendOutcome::Accepted { seq, time_ms };
            return known.map_or(AppendOutcome::OutOfOrder { expected }, answer);
        }
        if append.commits != conversation.commits {
            return AppendOutcome::Stale { commits: conversation.commits };
        }
        let mut added = BTreeSet::new();
        if let AppendBody::Commit(handshake) = &append.body {
            let named = recipients(handshake);
            let stays = |device| named.as_ref().is_some_and(|named| named.contains(device));
            let removes = handshake.removed.iter().any(|device| conversation.is_in(device) && !stays(device));
            if let Some(retry_after_ms) = pause(conversation, append.now_ms).filter(|_| !removes) {
                return AppendOutcome::Busy { retry_after_ms };
            }
            let allowed = |named: &BTreeSet<DeviceId>| {
                let new = |device| {
                    self.eligible.contains_key(&(id, device))
                        && (!conversation.is_in(&device) || handshake.removed.contains(&device))
                };
                !handshake.removed.contains(&append.device) && named.iter().copied().all(new)
            };
            let Some(named) = named.filter(allowed) else { return AppendOutcome::BadRecipients };
            match self.rosters.get(&(id, append.device, append.number)) {
                Some(roster) if roster.is_bad => return AppendOutcome::BadRecipients,
                Some(roster) if roster.is_too_large => return AppendOutcome::TooManyMembers,
                _ => {}
            }
            added = named;
        }

        let (seq, time_ms) = (conversation.head + 1, append.now_ms);
        conversation.head = seq;
        conversation.changed = true;
        let present = conversation.members.iter().filter(|(_, member)| member.left_at.is_none());
        // A device that starts anew after this entry has no use for it.
        let hears = |device: &DeviceId| *device != append.device && !added.contains(device);
        let recipients = present.map(|(device, _)| *device).filter(hears).collect();
        if let Some(sender) = conversation.members.get_mut(&append.device) {
            sender.sent = append.number;
            sender.changed = true;
        }
        self.receipts.insert((id, append.device, append.number), (seq, time_ms));
        self.accepted.push(Accepted { append, seq, recipients });
        if let AppendBody::Commit(handshake) = &append.body {
            conversation.commits += 1;
            conversation.committed_ms = time_ms;
            let roster = self.rosters.get(&(id, append.device, append.number));
            for device in handshake.removed.iter().chain(roster.into_iter().flat_map(|roster| &roster.leaving)) {
                let present = conversation.members.get_mut(device).filter(|member| member.left_at.is_none());
                if let Some(member) = present {
                    member.left_at = Some(seq);
                    member.changed = true;
                }
            }
            for device in &added {
                // One that comes back goes on counting its sends.
                let before = conversation.members.get(device).map_or(0, |member| member.sent);
                let sent = before.max(self.eligible.get(&(id, *device)).copied().unwrap_or(0));
                let member = Member { start: seq, cursor: seq, sent, left_at: None, join: None, changed: true };
                conversation.members.insert(*device, member);
            }
            if let Some(welcome) = handshake.welcome.as_ref().filter(|_| !added.is_empty()) {
                let (commits, payload) = (conversation.commits, welcome.payload.clone());
                let notice = InboxNotice::Welcome { conversation: id, seq, commits, payload };
                let (devices, sender) = (added.into_iter().collect(), Some(append.device));
                self.notices.push(Notice { devices, notice, sender, now_ms: time_ms });
            }
        }
        AppendOutcome::Accepted { seq, time_ms }
    }

    /// Decides about a commit by which a device lets itself in.
    fn judge_join(&mut self, append: &'a Append, join: &Join) -> AppendOutcome {
        let id = append.conversation;
        let Some(conversation) = self.conversations.get_mut(&id) else { return AppendOutcome::UnknownConversation };
        let Some(&sent) = self.eligible.get(&(id, append.device)) else { return AppendOutcome::UnknownConversation };
        let digest = join.digest();
        let member = conversation.members.get(&append.device).filter(|member| member.left_at.is_none());
        if let Some(Member { start, join: Some((before, time_ms)), .. }) = member
            && *before == digest
        {
            return AppendOutcome::Accepted { seq: start + 1, time_ms: *time_ms };
        }
        if append.commits != conversation.commits {
            return AppendOutcome::Stale { commits: conversation.commits };
        }
        if let Some(retry_after_ms) = pause(conversation, append.now_ms) {
            return AppendOutcome::Busy { retry_after_ms };
        }

        let (seq, time_ms) = (conversation.head + 1, append.now_ms);
        (conversation.head, conversation.changed) = (seq, true);
        (conversation.commits, conversation.committed_ms) = (conversation.commits + 1, time_ms);
        // What it sent in this batch is not in `eligible` yet.
        let sent = conversation.members.remove(&append.device).map_or(sent, |before| before.sent.max(sent));
        let present = conversation.members.iter().filter(|(_, member)| member.left_at.is_none());
        let recipients = present.map(|(device, _)| *device).collect();
        let join = Some((digest, time_ms));
        let member = Member { start: seq - 1, cursor: seq, sent, left_at: None, join, changed: true };
        conversation.members.insert(append.device, member);
        self.accepted.push(Accepted { append, seq, recipients });
        AppendOutcome::Accepted { seq, time_ms }
    }

    /// Raises the cursors, and finds what all devices of a conversation have then. Comes after the appends.
    pub(super) fn acknowledge(&mut self, acknowledgements: &[Acknowledgement]) {
        for Acknowledgement { device, conversation: id, seq } in acknowledgements {
            let Some(conversation) = self.conversations.get_mut(id) else { continue };
            let Some(member) = conversation.members.get_mut(device) else { continue };
            let raised = (*seq).min(member.left_at.unwrap_or(conversation.head));
            if raised <= member.cursor {
                continue;
            }
            member.cursor = raised;
            member.changed = true;
            if member.left_at == Some(raised) {
                conversation.members.remove(device);
                self.gone.push((*id, *device));
            }
            conversation.acknowledged = true;
        }
        for (id, conversation) in self.conversations.iter_mut().filter(|(_, one)| one.acknowledged) {
            let cursors = conversation.members.values().map(|member| member.cursor);
            let had_by_all = signed(cursors.min().unwrap_or(conversation.head));
            if had_by_all >= conversation.tail {
                self.dropped.push((*id, conversation.tail, had_by_all));
                conversation.tail = had_by_all + 1;
                conversation.changed = true;
            }
        }
    }
}

/// How long a commit has to wait, if at all. Nobody waits because a clock was set back.
fn pause(conversation: &Conversation, now_ms: u64) -> Option<u32> {
    let end = conversation.committed_ms.saturating_add(COMMIT_PAUSE_MS);
    if conversation.commits == 0 || now_ms.saturating_add(COMMIT_PAUSE_MS) < conversation.committed_ms {
        return None;
    }
    let wait = end.checked_sub(now_ms)?.min(COMMIT_PAUSE_MS);
    u32::try_from(wait).ok().filter(|wait| *wait > 0)
}

async fn conversations(
    transaction: &mut Transaction<'_, MySql>,
    ids: &BTreeSet<ConversationId>,
) -> Result<BTreeMap<ConversationId, Conversation>, StoreError> {
    // The hint keeps small tables from being scanned, which would lock the rows of others.
    let mut select = QueryBuilder::<MySql>::new(
        "SELECT id, creator, created_seq, head, tail, commits, committed_ms \
         FROM conversation FORCE INDEX (PRIMARY) WHERE id IN ",
    );
    push_list(&mut select, ids.iter().map(|id| &id.0[..]));
    select.push(" ORDER BY id FOR UPDATE");
    let rows: Vec<ConversationRow> = select.build_query_as().fetch_all(&mut **transaction).await?;
    let conversation = |(id, creator, created_seq, head, tail, commits, committed_ms): ConversationRow| {
        let conversation = Conversation {
            creator,
            created_seq,
            head: unsigned(head, "conversation")?,
            tail,
            commits: unsigned(commits, "conversation")?,
            committed_ms: unsigned(committed_ms, "conversation")?,
            members: BTreeMap::new(),
            changed: false,
            acknowledged: false,
        };
        Ok((ConversationId(bytes(&id, "conversation")?), conversation))
    };
    rows.into_iter().map(conversation).collect()
}
