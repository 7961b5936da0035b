//! How this process gets to servers: straight or through a WebSocket, and through which proxy.
//!
//! It is set once, before the first connection, since it belongs to the network that the process is in and not to a
//! profile. Nothing here has to be trusted: whatever the way, the server proves its pinned key at the end of it.

use super::Stream;
use crate::Error;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::Empty;
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1::handshake,
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use std::{fmt, net::SocketAddr, str::FromStr, sync::OnceLock};
use tokio::net::TcpStream;
use tokio_socks::{TargetAddr, tcp::Socks5Stream};
use waxwing_protocol::Address;
use zeroize::Zeroizing;

static ROUTE: OnceLock<Route> = OnceLock::new();

/// By which door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Straight; through a WebSocket if something on the way speaks HTTPS only.
    #[default]
    Auto,
    /// Straight or not at all.
    Direct,
    /// Through a WebSocket.
    Websocket,
}

impl Via {
    /// All names, as [`FromStr`] takes them.
    pub const WORDS: [&'static str; 3] = ["auto", "direct", "websocket"];
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            "websocket" => Ok(Self::Websocket),
            _ => Err(format!("{text:?} is not one of: {}", Self::WORDS.join(", "))),
        }
    }
}

/// How this process gets to servers.
#[derive(Clone, Debug)]
pub struct Route {
    via: Via,
    /// Or why the wish for one cannot be met: told when somebody wants to connect.
    proxy: Result<Option<Proxy>, String>,
    /// Names and name endings that are reached without the proxy.
    straight: Vec<String>,
}

#[derive(Clone)]
struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<Login>,
}

/// Either looks the server's name up, so that nobody is asked for it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socks5,
    /// `CONNECT` of HTTP.
    Http,
}

#[derive(Clone)]
struct Login {
    user: String,
    password: Zeroizing<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Socks5 => "SOCKS",
            Kind::Http => "HTTP",
        };
        match self.host.contains(':') {
            true => write!(f, "{kind} proxy [{}]:{}", self.host, self.port),
            false => write!(f, "{kind} proxy {}:{}", self.host, self.port),
        }
    }
}

/// Says how this process gets to servers. The first call counts.
pub fn set_route(route: Route) {
    let _ = ROUTE.set(route);
}

pub(super) fn current() -> &'static Route {
    ROUTE.get_or_init(Route::default)
}

impl Default for Route {
    fn default() -> Self {
        Self { via: Via::default(), proxy: Ok(None), straight: Vec::new() }
    }
}

impl Route {
    /// By this door, through this proxy: one that was named for this process, else the one that `ALL_PROXY` names, except to
    /// hosts that `NO_PROXY` lists. `off` means none.
    ///
    /// If what is named cannot be used, each attempt to connect fails and says so: nothing goes round a proxy unasked.
    pub fn new(via: Via, named: Option<&str>, environment: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| {
            let value = environment(name).or_else(|| environment(&name.to_lowercase()));
            value.filter(|value| !value.trim().is_empty())
        };
        let proxy = match (named.map(str::trim).filter(|text| !text.is_empty()), set("ALL_PROXY")) {
            (Some("off"), _) | (None, None) => Ok(None),
            // Every user of the machine sees the arguments of a process.
            (Some(text), _) if text.contains('@') => {
                Err("a proxy's user and password must not stand in --proxy, where others can see them: put the whole \
                     into the variable ALL_PROXY"
                    .to_owned())
            }
            (Some(text), _) => Proxy::parse(text, "--proxy").map(Some),
            (None, Some(text)) => Proxy::parse(text.trim(), "ALL_PROXY").map(Some),
        };
        let straight = set("NO_PROXY").unwrap_or_default();
        let straight = straight.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        Self { via, proxy, straight: straight.collect() }
    }

    pub(super) fn via(&self) -> Via {
        self.via
    }

    /// Whether there is a way at all.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.proxy.as_ref().map(drop).map_err(|reason| Error::BadInput(reason.clone()))
    }

    /// A stream of bytes to the address. The error is for users.
    pub(super) async fn connect(&self, address: &Address) -> Result<Stream, String> {
        let proxy = self.proxy.as_ref().map_err(Clone::clone)?;
        match proxy.as_ref().filter(|_| !self.is_straight(&address.host)) {
            Some(proxy) => proxy.connect(address).await.map_err(|reason| format!("through the {proxy}: {reason}")),
            None => Ok(Box::new(tcp(&address.host, address.port).await?)),
        }
    }

    fn is_straight(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.straight.iter().any(|name| {
            let name = name.trim_start_matches("*.").trim_start_matches('.');
            name == "*" || host == name || host.strip_suffix(name).is_some_and(|front| front.ends_with('.'))
        })
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, String> {
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| super::plain_reason(&error))?;
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(tcp)
}

impl Proxy {
    /// The error is for users, and shows no password.
    fn parse(text: &str, named_by: &str) -> Result<Self, String> {
        let wrong = || format!("{named_by} is not of the form socks5h://HOST:PORT or http://HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (kind, usual_port) = match uri.scheme_str() {
            Some("socks5h" | "socks5") => (Kind::Socks5, 1080),
            Some("http") => (Kind::Http, 8080),
            Some(other) => {
                return Err(format!(
                    "{named_by} names a proxy of the kind {other:?}, which waxwing cannot use: it can use socks5h, socks5 \
                     and http (--proxy off goes without, and NO_PROXY lists hosts that are reached without)"
                ));
            }
            None => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let login = match authority.as_str().rsplit_once('@') {
            Some((login, _)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let password = Zeroizing::new(unescape(password).ok_or_else(wrong)?);
                Some(Login { user: unescape(user).ok_or_else(wrong)?, password })
            }
            None => None,
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(usual_port);
        if host.is_empty() || !matches!(uri.path(), "" | "/") {
            return Err(wrong());
        }
        Ok(Self { kind, host, port, login })
    }

    async fn connect(&self, address: &Address) -> Result<Stream, String> {
        let tcp = tcp(&self.host, self.port).await?;
        match self.kind {
            Kind::Socks5 => self.connect_socks(tcp, address).await,
            Kind::Http => self.connect_http(tcp, address).await,
        }
    }

    async fn connect_socks(&self, tcp: TcpStream, address: &Address) -> Result<Stream, String> {
        let target = match address.host.parse() {
            Ok(ip) => TargetAddr::Ip(SocketAddr::new(ip, address.port)),
            Err(_) => TargetAddr::Domain(address.host.as_str().into(), address.port),
        };
        let connected = match &self.login {
            Some(Login { user, password }) => {
                Socks5Stream::connect_with_password_and_socket(tcp, target, user, password).await
            }
            None => Socks5Stream::connect_with_socket(tcp, target).await,
        };
        Ok(Box::new(connected.map_err(|error| error.to_string())?.into_inner()))
    }

    async fn connect_http(&self, tcp: TcpStream, address: &Address) -> Result<Stream, String> {
        let failed = |error: &dyn fmt::Display| error.to_string();
        let (mut http, connection) = handshake(TokioIo::new(tcp)).await.map_err(|error| failed(&error))?;
        // Ends with the connection that the proxy makes.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let target = address.to_string();
        let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(header::HOST, &target);
        if let Some(Login { user, password }) = &self.login {
            let login = Zeroizing::new(format!("{user}:{}", password.as_str()));
            let login = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(login.as_bytes())));
            let mut value = HeaderValue::from_str(&login).map_err(|error| failed(&error))?;
            value.set_sensitive(true);
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
        let response = http.send_request(request).await.map_err(|error| failed(&error))?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err("it wants a user and a password".into()),
            status => return Err(format!("it does not connect to {target} ({status})")),
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| failed(&error))?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

/// Percent-decodes.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let (digits, behind) = behind.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                behind
            }
            other => {
                bytes.push(*other);
                behind
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(named: Option<&str>, all: &str, straight: &str) -> Route {
        Route::new(Via::Auto, named, |name| match name {
            "ALL_PROXY" => Some(all.to_owned()),
            "no_proxy" => Some(straight.to_owned()),
            _ => None,
        })
    }

    fn proxy(all: &str) -> Proxy {
        route(None, all, "").proxy.unwrap().unwrap()
    }

    #[test]
    fn a_proxy_is_read_with_its_login() {
        let read = proxy("socks5h://us%40er:p%3Ass@[::1]:9050");
        assert_eq!((read.host.as_str(), read.port, read.kind), ("::1", 9050, Kind::Socks5));
        let Login { user, password } = read.login.as_ref().unwrap();
        assert_eq!((user.as_str(), password.as_str()), ("us@er", "p:ss"));
        assert_eq!(format!("{read:?}"), "Proxy(SOCKS proxy [::1]:9050)");
        let read = proxy("socks5://localhost");
        assert_eq!((read.port, read.kind, read.login.is_none()), (1080, Kind::Socks5, true));
        assert_eq!((proxy("http://proxy:3128/").port, proxy("http://proxy").kind), (3128, Kind::Http));
    }

    #[test]
    fn one_that_is_named_for_the_process_counts_more() {
        let host = |named| route(named, "socks5h://all", "").proxy.unwrap().map(|proxy| proxy.host);
        assert_eq!(host(None).as_deref(), Some("all"));
        assert_eq!(host(Some("socks5h://named")).as_deref(), Some("named"));
        assert_eq!(host(Some("off")), None);
        assert!(route(None, " ", "").proxy.unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_telling_the_password() {
        for (text, told) in [
            ("https://user:hunter2@proxy:3128", "\"https\""),
            ("socks4://proxy:1080", "\"socks4\""),
            ("proxy:1080", "socks5h://"),
            ("socks5h://user:hunter2%zz@proxy", "socks5h://"),
            ("socks5h://proxy/path", "socks5h://"),
        ] {
            let error = route(None, text, "").check().unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("hunter2"), "{text}: {error}");
        }
        let error = route(Some("socks5h://user:hunter2@proxy"), "", "").check().unwrap_err().to_string();
        assert!(error.contains("ALL_PROXY") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn listed_hosts_are_reached_without_the_proxy() {
        let route = route(None, "socks5h://proxy", "localhost, .example.org,*.lan");
        for (host, straight) in [
            ("localhost", true),
            ("chat.Example.org", true),
            ("example.org", true),
            ("badexample.org", false),
            ("a.lan", true),
            ("127.0.0.1", false),
        ] {
            assert_eq!(route.is_straight(host), straight, "{host}");
        }
    }
}
