//! The language of the floors; see `floor/relay.rs`.

use super::{Load, Opener, Speech};
use crate::{
    floor::{RECEIVER, SENDER},
    wire::{Connection, Endpoint},
};
use anyhow::{Context as _, Result};

/// Opens pairs at a floor.
#[derive(Clone)]
pub(crate) struct ToFloor(pub(crate) Endpoint);

/// The talk of one pair.
#[derive(Clone)]
pub(crate) struct Bare {
    payload: Vec<u8>,
}

impl Opener for ToFloor {
    type Speech = Bare;

    async fn open(&self, index: usize, load: &Load) -> Result<(Connection, Connection, Bare)> {
        // The receiver first: the sender's first message must find it.
        let receiver = self.join(RECEIVER, index).await?;
        let sender = self.join(SENDER, index).await?;
        Ok((sender, receiver, Bare::new(load.payload)))
    }
}

impl Bare {
    pub(crate) fn new(payload: usize) -> Self {
        Self { payload: vec![7; payload.max(8)] }
    }
}

impl ToFloor {
    /// A connection that belongs to a pair.
    pub(crate) async fn join(&self, role: u8, index: usize) -> Result<Connection> {
        let mut connection = self.0.connect().await?;
        connection.push_with(|output| {
            output.push(role);
            output.extend_from_slice(&(index as u64).to_be_bytes());
        });
        connection.flush().await?;
        connection.wait().await?;
        Ok(connection)
    }
}

impl Speech for Bare {
    fn send(&mut self, number: u64, sender: &mut Connection) {
        self.payload[..8].copy_from_slice(&number.to_be_bytes());
        sender.push_with(|output| output.extend_from_slice(&self.payload));
    }

    fn at_sender(&mut self, frame: &[u8]) -> Result<Option<u64>> {
        number(frame)
    }

    fn at_receiver(&mut self, frame: &[u8]) -> Result<Option<u64>> {
        number(frame)
    }
}

fn number(frame: &[u8]) -> Result<Option<u64>> {
    Ok(Some(u64::from_be_bytes(*frame.first_chunk().context("a frame without a number")?)))
}
