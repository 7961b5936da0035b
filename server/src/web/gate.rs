//! Where a request came from, also behind proxies.
//!
//! Invariant: a header counts only if a proxy that we trust wrote it.

use crate::rules::HttpRules;
use axum::http::HeaderMap;
use std::net::IpAddr;

/// Where a request came from: the peer, or the nearest address in `X-Forwarded-For` that is no proxy of ours.
pub(super) fn address(rules: &HttpRules, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !rules.trusts(peer) {
        return peer;
    }
    let headers = headers.get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = headers.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut nearest = peer;
    for hop in hops.into_iter().rev() {
        match hop.parse() {
            Ok(address) => nearest = address,
            Err(_) => break,
        }
        if !rules.trusts(nearest) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_say_where_somebody_is() {
        let trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|network| network.parse().unwrap()).to_vec();
        let rules = HttpRules { trusted_proxies, ..HttpRules::default() };
        let from = |peer: &str, hops: &[&str]| {
            let mut headers = HeaderMap::new();
            for hop in hops {
                headers.append("x-forwarded-for", hop.parse().unwrap());
            }
            address(&rules, peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(from("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(from("127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["1.1.1.1, 198.51.100.1, 10.2.3.4"]), "198.51.100.1");
        assert_eq!(from("::ffff:127.0.0.1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["unknown"]), "127.0.0.1");
        assert_eq!(from("127.0.0.1", &[]), "127.0.0.1");
    }
}
