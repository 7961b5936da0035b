//! What the operator says of the HTTP door.

use ipnet::IpNet;
use rustls::sign::CertifiedKey;
use std::{net::IpAddr, sync::Arc};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct HttpRules {
    /// Shown to whoever speaks HTTP; without one, the server's own.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// The proxies that are believed when they tell where a request came from, and that may hand on plain HTTP.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the WebSocket is for devices with a ticket alone.
    pub tickets_only: bool,
}

impl HttpRules {
    /// Whether a proxy that is believed is at this address.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}
