//! A proxy on the way out: SOCKS5 (RFC 1928) or `CONNECT` of HTTP, whichever its client begins with. It notes where it is
//! asked to go, and goes to one port of 127.0.0.1.

use anyhow::{Context, Result, bail, ensure};
use std::{
    io::{Read, Write, copy},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// A proxy; it runs until the process ends.
pub struct Gateway {
    port: u16,
    asked: Receiver<String>,
}

impl Gateway {
    /// Starts one.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (sender, asked) = channel();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                thread::spawn(move || -> Result<()> {
                    let (client, wanted) = greet(client)?;
                    sender.send(wanted)?;
                    relay(client, TcpStream::connect(("127.0.0.1", target))?)
                });
            }
        });
        Ok(Self { port, asked })
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the next client wanted to go: host and port, behind them the login if there was one.
    ///
    /// # Errors
    /// There is none before the deadline.
    pub fn asked(&self) -> Result<String> {
        self.asked.recv_timeout(crate::DEADLINE).context("nobody came")
    }
}

fn greet(mut client: TcpStream) -> Result<(TcpStream, String)> {
    let [first] = take(&mut client)?;
    let wanted = match first {
        5 => greet_socks(&mut client)?,
        b'C' => greet_http(&mut client)?,
        other => bail!("neither SOCKS nor HTTP begins with {other}"),
    };
    Ok((client, wanted))
}

fn greet_socks(client: &mut TcpStream) -> Result<String> {
    let [methods] = take(client)?;
    client.read_exact(&mut vec![0; usize::from(methods)])?;
    client.write_all(&[5, 0])?;
    let [_, command, _, kind] = take(client)?;
    ensure!(command == 1, "command {command}");
    let host = match kind {
        1 => std::net::Ipv4Addr::from(take::<4>(client)?).to_string(),
        3 => {
            let [length] = take(client)?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name)?;
            String::from_utf8(name)?
        }
        other => bail!("address kind {other}"),
    };
    let port = u16::from_be_bytes(take(client)?);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(format!("{host}:{port}"))
}

fn greet_http(client: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(take::<1>(client)?);
    }
    let head = String::from_utf8(head)?;
    let target = head.strip_prefix("ONNECT ").and_then(|rest| rest.split(' ').next()).context("no CONNECT")?;
    let login = head.lines().find(|line| line.to_lowercase().starts_with("proxy-authorization: "));
    let login = login.and_then(|line| line.split(' ').next_back()).map(|login| format!(" {login}"));
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    Ok(format!("{target}{}", login.unwrap_or_default()))
}

fn take<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn relay(client: TcpStream, server: TcpStream) -> Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = copy(&mut from_client, &mut to_server);
        to_server.shutdown(Shutdown::Write)
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = copy(&mut from_server, &mut to_client);
    Ok(to_client.shutdown(Shutdown::Both)?)
}
