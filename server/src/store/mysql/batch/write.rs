//! The writing half of a batch: what was judged becomes a few statements, whatever the number of appends. It must not know
//! what makes an append good or bad.

use super::{Accepted, Batch, SEND_WINDOW};
use crate::store::mysql::{
    conversation::{APPLICATION, COMMIT},
    joining::set_group_info,
    row::{ROWS, length, padded, parts, signed},
};
use crate::store::{AppendBody, Publish, StoreError};
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::BTreeMap;
use waxwing_protocol::{Entry, EntryBody};

/// How many logs one statement shortens.
const DROPPED_AT_ONCE: usize = 64;

impl Batch<'_> {
    /// Writes what was accepted and acknowledged, but for the notices.
    pub(in crate::store::mysql) async fn write(
        &self,
        transaction: &mut Transaction<'_, MySql>,
        statement_bytes: usize,
    ) -> Result<(), StoreError> {
        for part in parts(&self.accepted, statement_bytes, |accepted| accepted.payload().0.len()) {
            self.write_entries(transaction, part).await?;
        }
        self.write_conversations(transaction).await?;
        self.write_members(transaction).await?;
        self.write_group_infos(transaction).await?;
        self.write_rosters(transaction).await?;
        self.write_dropped(transaction).await
    }

    async fn write_conversations(&self, transaction: &mut Transaction<'_, MySql>) -> Result<(), StoreError> {
        let changed: Vec<_> = self.conversations.iter().filter(|(_, conversation)| conversation.changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut upsert = QueryBuilder::<MySql>::new(
            "INSERT INTO conversation (id, creator, created_seq, head, tail, commits, committed_ms) ",
        );
        upsert.push_values(padded(&changed), |mut row, (id, one)| {
            row.push_bind(&id.0[..]).push_bind(one.creator.as_slice()).push_bind(one.created_seq);
            row.push_bind(signed(one.head)).push_bind(one.tail);
            row.push_bind(signed(one.commits)).push_bind(signed(one.committed_ms));
        });
        upsert.push(
            " ON DUPLICATE KEY UPDATE head = VALUES(head), tail = VALUES(tail), commits = VALUES(commits), \
             committed_ms = VALUES(committed_ms)",
        );
        upsert.build().execute(&mut **transaction).await?;
        Ok(())
    }

    async fn write_members(&self, transaction: &mut Transaction<'_, MySql>) -> Result<(), StoreError> {
        let members: Vec<_> = self
            .conversations
            .iter()
            .flat_map(|(id, one)| one.members.iter().map(move |(device, member)| (*id, device, member)))
            .filter(|(_, _, member)| member.changed)
            .collect();
        for part in members.chunks(ROWS) {
            let mut upsert = QueryBuilder::<MySql>::new(
                "INSERT INTO membership \
                 (conversation, device, start_seq, cursor_seq, sent, left_at, join_digest, join_ms) ",
            );
            upsert.push_values(padded(part), |mut row, (id, device, member)| {
                row.push_bind(&id.0[..]).push_bind(&device.0[..]).push_bind(signed(member.start));
                row.push_bind(signed(member.cursor)).push_bind(signed(member.sent));
                row.push_bind(member.left_at.map(signed)).push_bind(member.join.map(|(digest, _)| digest.to_vec()));
                row.push_bind(member.join.map(|(_, join_ms)| signed(join_ms)));
            });
            upsert.push(
                " ON DUPLICATE KEY UPDATE start_seq = VALUES(start_seq), cursor_seq = VALUES(cursor_seq), \
                 sent = VALUES(sent), left_at = VALUES(left_at), join_digest = VALUES(join_digest), \
                 join_ms = VALUES(join_ms)",
            );
            upsert.build().execute(&mut **transaction).await?;
        }
        for (id, device) in &self.gone {
            sqlx::query("DELETE FROM membership WHERE conversation = ? AND device = ?")
                .bind(&id.0[..])
                .bind(&device.0[..])
                .execute(&mut **transaction)
                .await?;
        }
        Ok(())
    }

    async fn write_group_infos(&self, transaction: &mut Transaction<'_, MySql>) -> Result<(), StoreError> {
        // The newest commit of each conversation counts.
        let commits = self.accepted.iter().filter_map(|accepted| {
            let group_info = accepted.append.body.group_info()?;
            Some((accepted.append.conversation, (group_info, &accepted.append.device)))
        });
        for (conversation, (group_info, sender)) in commits.collect::<BTreeMap<_, _>>() {
            set_group_info(transaction, conversation, group_info, sender).await?;
        }
        Ok(())
    }

    async fn write_dropped(&self, transaction: &mut Transaction<'_, MySql>) -> Result<(), StoreError> {
        for part in self.dropped.chunks(DROPPED_AT_ONCE) {
            // The hint, as below, keeps small tables from being scanned.
            let mut delete = QueryBuilder::<MySql>::new("DELETE e FROM entry e FORCE INDEX (PRIMARY) WHERE ");
            let mut any = delete.separated(" OR ");
            for (id, first, last) in padded(part) {
                any.push("(e.conversation = ").push_bind_unseparated(&id.0[..]);
                any.push_unseparated(" AND e.seq >= ").push_bind_unseparated(*first);
                any.push_unseparated(" AND e.seq <= ").push_bind_unseparated(*last);
                any.push_unseparated(")");
            }
            delete.build().execute(&mut **transaction).await?;
        }
        Ok(())
    }

    async fn write_entries(
        &self,
        transaction: &mut Transaction<'_, MySql>,
        part: &[Accepted<'_>],
    ) -> Result<(), StoreError> {
        let mut entries = QueryBuilder::<MySql>::new(
            "INSERT INTO entry (conversation, seq, sender, number, kind, time_ms, size, payload) ",
        );
        entries.push_values(part, |mut row, accepted| {
            let Accepted { append, seq, .. } = accepted;
            row.push_bind(&append.conversation.0[..]).push_bind(signed(*seq)).push_bind(&append.device.0[..]);
            row.push_bind(signed(append.number)).push_bind(match &append.body {
                AppendBody::Application(_) | AppendBody::Passing(_) => APPLICATION,
                AppendBody::Commit(_) | AppendBody::Join(_) => COMMIT,
            });
            let payload = append.body.kept().as_ref();
            row.push_bind(signed(append.now_ms)).push_bind(length(payload)).push_bind(payload);
        });
        entries.build().execute(&mut **transaction).await?;
        // Joins have no number.
        let numbered: Vec<_> = part.iter().filter(|accepted| accepted.append.number > 0).collect();
        if numbered.is_empty() {
            return Ok(());
        }
        let mut receipts =
            QueryBuilder::<MySql>::new("INSERT INTO receipt (conversation, device, slot, number, seq, time_ms) ");
        receipts.push_values(padded(&numbered), |mut row, Accepted { append, seq, .. }| {
            row.push_bind(&append.conversation.0[..]).push_bind(&append.device.0[..]);
            row.push_bind(signed(append.number % SEND_WINDOW)).push_bind(signed(append.number));
            row.push_bind(signed(*seq)).push_bind(signed(append.now_ms));
        });
        receipts.push(" ON DUPLICATE KEY UPDATE number = VALUES(number), seq = VALUES(seq), time_ms = VALUES(time_ms)");
        receipts.build().execute(&mut **transaction).await?;
        Ok(())
    }

    /// Announces the entries, after the commit.
    pub(in crate::store::mysql) fn publish_entries(&self, publish: &dyn Publish) {
        for accepted in &self.accepted {
            let payload = accepted.payload().clone();
            let body = match &accepted.append.body {
                AppendBody::Application(_) | AppendBody::Passing(_) => EntryBody::Application(payload),
                AppendBody::Commit(_) | AppendBody::Join(_) => EntryBody::Commit(payload),
            };
            let entry = Entry { seq: accepted.seq, time_ms: accepted.append.now_ms, body };
            publish.entry(&accepted.recipients, accepted.append.conversation, &entry);
        }
    }
}
