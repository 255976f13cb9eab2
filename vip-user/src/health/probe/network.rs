//! Type `tcp`, and the way to a server for others: whether somebody accepts connections there.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::{JoinError, spawn_blocking};

use crate::config::Target;
use crate::health::errand::Errand;

#[derive(Debug)]
pub(in crate::health) struct Connector {
    target: Target,
    lookup: Errand<Result<io::Result<Vec<SocketAddr>>, JoinError>>,
}

impl Connector {
    pub(super) fn new(target: Target) -> Self {
        Self { target, lookup: Errand::default() }
    }

    /// A connection to the first of the target's addresses that takes one.
    pub(super) async fn connect(&mut self) -> Result<TcpStream, String> {
        let mut failure = format!("{} has no address", self.target.host);
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return close_at_once(stream),
                Err(error) => failure = format!("{address}: {error}"),
            }
        }
        Err(failure)
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, String> {
        let Target { host, port } = self.target.clone();
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let failed = |error| format!("{} cannot be looked up: {error}", self.target.host);
        // The system's resolver blocks, and may hang.
        let look_up = move || (host, port).to_socket_addrs().map(Iterator::collect);
        let found = self.lookup.run(|| spawn_blocking(look_up)).await;
        found.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)
    }
}

/// Once dropped, it is reset: connections that end in order occupy a port for a minute each, and there are only so many.
fn close_at_once(stream: TcpStream) -> Result<TcpStream, String> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
    Ok(stream)
}
