//! The whole of a simulation: what happens to it, how it comes to rest, and what has to hold then.

use super::{
    Action, Fate, Plant, Violation,
    cipher::Inside,
    device::{Bench, Device, author},
    server::{self, DEVICES, EVERYBODY, Server},
};
use crate::{
    Content, MessageState,
    store::{self, chats::Phase, messages, own::Own},
};
use rusqlite::Connection as Database;
use std::{collections::BTreeMap, path::Path};
use waxwing_e2ee::content::{self, Body};
use waxwing_server::store::{AccountId, sqlite::direct::DirectStore};
use zeroize::Zeroizing;

/// Healing takes so many rounds at most.
const ROUNDS: usize = 400;

/// Two databases, which are used again: to make them takes longer than a story.
pub(super) struct Stage {
    db: Database,
    store: DirectStore,
    account: AccountId,
}

impl Stage {
    pub(super) fn new() -> Self {
        let (store, account) = server::database();
        Self { db: store::open_unencrypted(Path::new(":memory:")).unwrap(), store, account }
    }

    /// As if there had never been a chat.
    fn clear(&mut self) {
        let tables: Vec<String> = self
            .db
            .prepare(
                "SELECT name FROM sqlite_schema t WHERE type = 'table' AND name NOT GLOB 'words*' AND EXISTS (
                     SELECT 1 FROM pragma_table_info(t.name) c WHERE c.name = 'chat') ORDER BY name = 'chats'",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for table in tables {
            self.db.execute(&format!("DELETE FROM \"{table}\""), []).unwrap();
        }
    }
}

pub(super) struct World<'a> {
    db: &'a mut Database,
    own: Own,
    server: Server<'a>,
    devices: Vec<Device>,
    plant: Plant,
    pub(super) steps: u64,
}

fn nobody() -> Own {
    Own {
        username: "nobody".into(),
        full_name: None,
        server: String::new(),
        device: [0; 16],
        authentication_key: Zeroizing::new([0; 32]),
        mls_key: Vec::new(),
        credential: Vec::new(),
        identity_key: Vec::new(),
        device_list: Vec::new(),
        account_key: None,
        incarnation: None,
    }
}

impl<'a> World<'a> {
    pub(super) fn new(stage: &'a mut Stage, plant: Plant) -> Self {
        stage.clear();
        let Stage { db, store, account } = stage;
        let server = Server::new(store, *account, plant);
        let beginning = server.log[0].to_bytes();
        let devices = (0..DEVICES).map(|number| Device::new(db, number, &beginning)).collect();
        Self { db, own: nobody(), server, devices, plant, steps: 0 }
    }

    fn cursors(&self) -> Vec<u64> {
        self.devices.iter().map(|device| device.row(self.db).cursor).collect()
    }

    /// Runs something of a device.
    fn with<T>(&mut self, device: u8, work: impl FnOnce(&mut Device, &mut Bench<'_, 'a>) -> T) -> T {
        let mut bench = Bench { db: self.db, own: &self.own, server: &mut self.server, plant: self.plant };
        work(&mut self.devices[usize::from(device)], &mut bench)
    }

    fn serve(&mut self, device: u8, fate: Fate) -> Result<bool, Violation> {
        let cursors = self.cursors();
        let served = self.server.serve(device, fate, &cursors)?;
        // Whose connections are gone notices.
        for device in &mut self.devices {
            if device.is_online() && self.server.wires[usize::from(device.number)].is_none() {
                device.drop_line(&mut self.server);
            }
        }
        Ok(served)
    }

    pub(super) fn step(&mut self, action: &Action) -> Result<(), Violation> {
        self.steps += 1;
        match *action {
            Action::Write { device, killed } => self.with(device, |one, bench| one.write(bench, killed)),
            Action::Commit { device, other, anew, killed } => {
                self.with(device, |one, bench| one.commit(bench, other, anew, killed))
            }
            Action::Work { device, killed } => self.with(device, |one, bench| one.work(bench, killed)),
            Action::Serve { device, count, fate } => {
                for place in 0..count {
                    let fate = if place + 1 == count { fate } else { Fate::Done };
                    if !self.serve(device, fate)? {
                        break;
                    }
                    self.steps += 1;
                }
                Ok(())
            }
            Action::Hear { device, count, killed } => {
                self.steps += u64::from(count);
                self.with(device, |one, bench| one.hear(bench, count.into(), killed)).map(drop)
            }
            Action::Cut { device, arrives } => {
                while arrives && self.serve(device, Fate::Done)? {}
                self.with(device, |one, bench| one.drop_line(bench.server));
                Ok(())
            }
            Action::Connect { device } => {
                let is_online = self.devices[usize::from(device)].is_online();
                if is_online { Ok(()) } else { self.with(device, Device::connect) }
            }
            Action::RestartServer => {
                self.server.restart();
                (0..DEVICES).for_each(|device| self.with(device, |one, bench| one.drop_line(bench.server)));
                Ok(())
            }
            Action::Pass { ms } => {
                self.server.now_ms += u64::from(ms);
                Ok(())
            }
            Action::Expire => {
                let cursors = self.cursors();
                self.server.expire(&cursors);
                Ok(())
            }
        }
    }

    /// Nothing breaks any more: everybody comes in, everything arrives, and each says one thing more. False if nobody is left who
    /// could let in the others: all have missed commits that expired, and coming in alone is not simulated.
    pub(super) fn heal(&mut self) -> Result<bool, Violation> {
        for probe in [true, false] {
            if !self.rest()? {
                return Ok(false);
            }
            for device in 0..DEVICES {
                if probe {
                    self.with(device, |one, bench| one.write(bench, false))?;
                }
            }
        }
        Ok(true)
    }

    fn rest(&mut self) -> Result<bool, Violation> {
        for round in 0..ROUNDS {
            self.server.now_ms += 1000;
            for device in 0..DEVICES {
                self.step(&Action::Connect { device })?;
                while self.serve(device, Fate::Done)? {
                    self.steps += 1;
                }
                while self.with(device, |one, bench| one.hear(bench, 64, false))? {
                    self.steps += 1;
                }
                self.with(device, |one, bench| one.work(bench, false))?;
            }
            let head = self.server.head();
            if self.devices.iter().all(|device| device.is_at_rest(self.db, head)) {
                return Ok(true);
            }
            // Welcomes take their time.
            if round % 4 == 3 {
                self.let_in()?;
            }
            if round > 8 && self.devices.iter().all(|device| device.row(self.db).phase != Phase::Active) {
                return Ok(false);
            }
        }
        let states: Vec<String> = self
            .devices
            .iter()
            .map(|device| {
                let row = device.row(self.db);
                format!(
                    "{}: {:?} at {} of {}, {:?}",
                    device.number,
                    row.phase,
                    row.cursor,
                    self.server.head(),
                    device.group
                )
            })
            .collect();
        Err(Violation(format!("it does not come to rest:\n{}", states.join("\n"))))
    }

    /// Somebody who is in lets in who is not.
    fn let_in(&mut self) -> Result<(), Violation> {
        let is_inside = |device: &Device| device.row(self.db).phase == Phase::Active;
        let (inside, outside): (Vec<&Device>, Vec<&Device>) = self.devices.iter().partition(|one| is_inside(one));
        let Some(other) = outside.first().map(|one| one.number) else { return Ok(()) };
        let inside: Vec<u8> = inside.into_iter().map(|one| one.number).collect();
        for device in inside {
            self.with(device, |one, bench| one.commit(bench, Some(other), true, false))?;
        }
        Ok(())
    }

    /// What every device shows is what the log has.
    pub(super) fn judge(&self) -> Result<(), Violation> {
        let broken = |what: String| Err(Violation(what));
        // Texts by their places, with their writers.
        let mut texts: BTreeMap<u64, (u8, String)> = BTreeMap::new();
        for (sealed, seq) in self.server.log.iter().zip(1u64..) {
            if let Inside::Message(bytes) = &sealed.inside {
                let said = content::decode(bytes).map_err(|error| Violation(error.to_string()))?;
                let Body::Text(text) = said.body else { continue };
                if let Some((first, _)) = texts.iter().find(|(_, other)| other.1 == text) {
                    return broken(format!("{text:?} stands at {first} and at {seq}"));
                }
                texts.insert(seq, (sealed.device, text));
            }
        }
        for (number, device) in (0u8..).zip(&self.devices) {
            let excused = &self.server.excused[usize::from(number)];
            let shown = messages::newest(self.db, device.chat, usize::MAX >> 1).unwrap();
            let mut seen: BTreeMap<u64, String> = BTreeMap::new();
            let mut last = 0;
            for message in &shown {
                let Content::Text(text) = &message.content else {
                    if excused.is_empty() {
                        return broken(format!("device {number} shows {:?} for nothing", message.content));
                    }
                    continue;
                };
                let mine = message.from == author(number);
                match (&message.state, message.seq) {
                    (MessageState::Queued, _) => return broken(format!("{text:?} still waits on device {number}")),
                    (MessageState::Failed(why), _) => return broken(format!("{text:?} failed: {why}")),
                    (_, Some(seq)) => {
                        if texts.get(&seq).is_none_or(|(_, there)| there != text) {
                            return broken(format!("device {number} shows {text:?} at {seq}: {:?}", texts.get(&seq)));
                        }
                        if seq <= last {
                            return broken(format!("device {number} shows {seq} behind {last}"));
                        }
                        last = seq;
                        seen.insert(seq, text.clone());
                    }
                    // Settled where a mark stands, or where it came in anew.
                    (_, None) if mine && texts.values().any(|(_, there)| there == text) => {}
                    (state, None) => return broken(format!("{text:?} is {state:?} on device {number}, and nowhere")),
                }
            }
            for (seq, (writer, text)) in &texts {
                let own = *writer == number && shown.iter().any(|one| one.content == Content::Text(text.clone()));
                if !seen.contains_key(seq) && !excused.contains(seq) && !own {
                    return broken(format!("device {number} does not show {text:?} of {writer} at {seq}"));
                }
            }
            let written = texts.values().filter(|(writer, _)| *writer == number).map(|(_, text)| text);
            let order: Vec<u32> = written.filter_map(|text| text.rsplit(' ').next()?.parse().ok()).collect();
            if !order.is_sorted() {
                return broken(format!("device {number} has written {order:?} in another order"));
            }
            let group = device.group.as_ref();
            if group.is_none_or(|group| group.members != EVERYBODY || group.epoch != device.row(self.db).commits) {
                return broken(format!("device {number} is in another group: {group:?}"));
            }
        }
        Ok(())
    }
}
