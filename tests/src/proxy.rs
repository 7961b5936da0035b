//! A TCP proxy that damages what passes: it flips bytes, cuts and resets streams, delays or swallows everything.

use anyhow::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// What happens to what passes. Offsets count the bytes of one connection in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// One bit of the byte at this offset changes.
    Flip(Direction, u64),
    /// After so many bytes the connection is cut both ways.
    CutAfter(Direction, u64),
    /// The bytes of this direction vanish, and the connections stay open.
    Swallow(Direction),
    /// The bytes of both directions vanish, and the connections stay open.
    BlackHole,
    /// Everything takes so much longer, each way.
    Delay(Duration),
    /// New connections are closed at once.
    Refuse,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// Both ends of each open connection.
    open: BTreeMap<usize, [TcpStream; 2]>,
    /// Connections that end with a reset and not with an orderly end.
    resetting: BTreeSet<usize>,
    passed: [u64; 2],
    connections: usize,
    faults: usize,
}

/// A proxy in front of one port of 127.0.0.1; it runs until the process ends.
#[derive(Clone)]
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
    struck: Arc<Condvar>,
}

impl Proxy {
    /// Starts one that forwards everything as it is.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self { port: listener.local_addr()?.port(), state: Arc::default(), struck: Arc::default() };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.connect(client, target);
            }
        });
        Ok(proxy)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, for old and new connections.
    pub fn set(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Cuts all connections now; says how many there were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut self.state().open);
        for stream in open.values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        open.len()
    }

    /// Resets all connections now, so that both ends get an error and no end; says how many there were.
    pub fn reset(&self) -> usize {
        let mut state = self.state();
        let open = std::mem::take(&mut state.open);
        state.resetting.extend(open.keys());
        drop(state);
        for stream in open.values().flatten() {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        // Nothing is sent by this; it ends the reading, and the last descriptor that is closed sends the reset.
        for stream in open.values().flatten() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        open.len()
    }

    /// How many bytes have passed this way, over all connections.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.state().passed[direction as usize]
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Waits until it has flipped or cut something since the last call; says whether it has.
    pub fn wait_for_fault(&self, limit: Duration) -> bool {
        let waiting = self.struck.wait_timeout_while(self.state(), limit, |state| state.faults == 0);
        let (mut state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.faults) > 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, client: TcpStream, target: u16) {
        self.state().connections += 1;
        if self.state().fault == Some(Fault::Refuse) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
        let (Ok(kept_client), Ok(kept_server)) = (client.try_clone(), server.try_clone()) else { return };
        let id = {
            let mut state = self.state();
            let id = state.connections;
            state.open.insert(id, [kept_client, kept_server]);
            id
        };
        let pairs = [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)];
        for (from, to, direction) in pairs {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let proxy = self.clone();
            thread::spawn(move || proxy.pump(id, from, to, direction));
        }
    }

    fn pump(&self, id: usize, mut from: TcpStream, mut to: TcpStream, direction: Direction) {
        let mut buffer = [0; 16 * 1024];
        let mut offset = 0;
        loop {
            let length = match from.read(&mut buffer) {
                Ok(length) if length > 0 => length,
                _ => break,
            };
            if let Some(delay) = self.delay() {
                thread::sleep(delay);
            }
            let Some(forward) = self.damage(&mut buffer[..length], offset, direction) else { break };
            offset += length as u64;
            if to.write_all(&buffer[..forward]).is_err() || (forward < length && self.is_cutting()) {
                break;
            }
        }
        let mut state = self.state();
        state.open.remove(&id);
        if state.resetting.contains(&id) {
            return;
        }
        drop(state);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn delay(&self) -> Option<Duration> {
        match self.state().fault {
            Some(Fault::Delay(delay)) => Some(delay),
            _ => None,
        }
    }

    fn is_cutting(&self) -> bool {
        matches!(self.state().fault, Some(Fault::CutAfter(..)))
    }

    /// How many of these bytes go on; none if the connection is to end.
    fn damage(&self, bytes: &mut [u8], offset: u64, direction: Direction) -> Option<usize> {
        let mut state = self.state();
        let end = offset + bytes.len() as u64;
        let mut forward = bytes.len();
        match state.fault {
            Some(Fault::Flip(way, at)) if way == direction && (offset..end).contains(&at) => {
                bytes[(at - offset) as usize] ^= 1;
                state.faults += 1;
                self.struck.notify_all();
            }
            Some(Fault::CutAfter(way, at)) if way == direction && end >= at => {
                state.faults += 1;
                self.struck.notify_all();
                forward = at.saturating_sub(offset) as usize;
                if forward == 0 {
                    return None;
                }
            }
            Some(Fault::Swallow(way)) if way == direction => forward = 0,
            Some(Fault::BlackHole) => forward = 0,
            _ => {}
        }
        state.passed[direction as usize] += forward as u64;
        Some(forward)
    }
}
