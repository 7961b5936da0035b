//! The part of a batch that is about which accounts take part in groups and rooms. It must not know who may change that.

use super::Batch;
use crate::store::Append;
use crate::store::{AppendBody, StoreError, mysql::rooms::push_names, mysql::row::bytes};
use sqlx::{MySql, QueryBuilder, Transaction};
use waxwing_protocol::{DeviceId, Roster, Username};

/// What a commit's roster means.
pub(super) struct RosterChange {
    /// It is of a direct conversation, or names an account that does not exist, or its sender's among those that go.
    pub(super) is_bad: bool,
    pub(super) is_too_large: bool,
    /// The devices of the accounts that go.
    pub(super) leaving: Vec<DeviceId>,
}

fn roster(append: &Append) -> Option<&Roster> {
    match &append.body {
        AppendBody::Commit(handshake) => handshake.roster.as_ref(),
        AppendBody::Application(_) | AppendBody::Passing(_) | AppendBody::Join(_) => None,
    }
}

impl Batch<'_> {
    pub(super) async fn load_rosters(
        &mut self,
        transaction: &mut Transaction<'_, MySql>,
        appends: &[Append],
    ) -> Result<(), StoreError> {
        for append in appends {
            let Some(roster) = roster(append) else { continue };
            let id = &append.conversation.0[..];
            let is_room = sqlx::query("SELECT conversation FROM room WHERE conversation = ?")
                .bind(id)
                .fetch_optional(&mut **transaction)
                .await?
                .is_some();
            let entered =
                count(transaction, "SELECT COUNT(*) FROM account WHERE deleted_ms IS NULL", &roster.entered).await?;
            let staying: i64 = {
                let mut select = QueryBuilder::<MySql>::new(
                    "SELECT COUNT(*) FROM participant p JOIN account a ON a.id = p.account WHERE p.conversation = ",
                );
                let both: Vec<Username> = roster.entered.iter().chain(&roster.left).cloned().collect();
                select.push_bind(id).push(" AND NOT (a.username IN ");
                push_names(&mut select, &both);
                select.push(" AND a.username IS NOT NULL)");
                if both.is_empty() {
                    select = QueryBuilder::new("SELECT COUNT(*) FROM participant WHERE conversation = ");
                    select.push_bind(id);
                }
                select.build_query_scalar().fetch_one(&mut **transaction).await?
            };
            let mut select = QueryBuilder::<MySql>::new(
                "SELECT d.id FROM device d JOIN account a ON a.id = d.account WHERE a.username IN ",
            );
            push_names(&mut select, &roster.left);
            let leaving: Vec<Vec<u8>> = select.build_query_scalar().fetch_all(&mut **transaction).await?;
            let leaving: Vec<DeviceId> =
                leaving.iter().map(|id| Ok(DeviceId(bytes(id, "device")?))).collect::<Result<_, StoreError>>()?;
            let unknown = usize::try_from(entered).unwrap_or_default() != roster.entered.len();
            let both = roster.left.iter().any(|name| roster.entered.contains(name));
            let change = RosterChange {
                is_bad: !is_room || unknown || both || leaving.contains(&append.device),
                is_too_large: entered > 0 && staying + entered > i64::from(append.members),
                leaving,
            };
            self.rosters.insert((append.conversation, append.device, append.number), change);
        }
        Ok(())
    }

    pub(super) async fn write_rosters(&self, transaction: &mut Transaction<'_, MySql>) -> Result<(), StoreError> {
        for accepted in &self.accepted {
            let Some(roster) = roster(accepted.append) else { continue };
            let id = &accepted.append.conversation.0[..];
            if !roster.entered.is_empty() {
                let mut enter =
                    QueryBuilder::<MySql>::new("INSERT IGNORE INTO participant (conversation, account) SELECT ");
                enter.push_bind(id).push(", id FROM account WHERE deleted_ms IS NULL AND username IN ");
                push_names(&mut enter, &roster.entered);
                enter.build().execute(&mut **transaction).await?;
            }
            if !roster.left.is_empty() {
                let mut go = QueryBuilder::<MySql>::new("DELETE FROM participant WHERE conversation = ");
                go.push_bind(id).push(" AND account IN (SELECT id FROM account WHERE username IN ");
                push_names(&mut go, &roster.left);
                go.push(")");
                go.build().execute(&mut **transaction).await?;
            }
        }
        Ok(())
    }
}

async fn count(
    transaction: &mut Transaction<'_, MySql>,
    select: &'static str,
    names: &[Username],
) -> Result<i64, StoreError> {
    let mut select = QueryBuilder::<MySql>::new(select);
    select.push(" AND username IN ");
    push_names(&mut select, names);
    Ok(select.build_query_scalar().fetch_one(&mut **transaction).await?)
}
