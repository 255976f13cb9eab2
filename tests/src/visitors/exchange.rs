//! One request and its answer, and the connections that are kept for the next ones.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Connections, Failure};
use crate::fronts::SERVED_BY;

/// A connection on which a request can be sent.
pub(super) type Connection = SendRequest<Empty<Bytes>>;

/// Connections to one address.
pub(super) struct Pool {
    target: SocketAddr,
    connections: Connections,
    /// The one longest unused first.
    idle: Mutex<VecDeque<Connection>>,
}

impl Pool {
    pub(super) fn new(target: SocketAddr, connections: Connections) -> Self {
        Self { target, connections, idle: Mutex::default() }
    }

    /// One that was kept, and that the other end has not closed as far as is known.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop_front()).find(SendRequest::is_ready)
    }

    /// Asks over this connection, or a new one; gives the node of the answer.
    pub(super) async fn exchange(&self, connection: Option<Connection>) -> Result<u8, Failure> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => connect(self.target).await?,
        };
        let answer = connection.send_request(self.request()?).await.map_err(|_| Failure::Broken)?;
        let node = check(&answer)?;
        answer.into_body().collect().await.map_err(|_| Failure::Broken)?;
        if let Connections::Kept(limit) = self.connections
            && connection.ready().await.is_ok()
        {
            let mut idle = self.idle();
            if idle.len() < limit {
                idle.push_back(connection);
            }
        }
        Ok(node)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, Failure> {
        let request = Request::get("/").header(HOST, "www.example.com");
        let request = match self.connections {
            Connections::Kept(_) => request,
            Connections::New => request.header(CONNECTION, "close"),
        };
        // Nothing in it can be refused.
        request.body(Empty::new()).map_err(|_| Failure::Broken)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(target: SocketAddr) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(target).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Failure::Unreachable,
        ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Broken,
    })?;
    // Without it, a request waits for the acknowledgement of the one before it. Where it cannot be set, the connection is gone.
    stream.set_nodelay(true).map_err(|_| Failure::Broken)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Broken)?;
    // What goes wrong there is told to the request, too.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

fn check(answer: &Response<Incoming>) -> Result<u8, Failure> {
    let status = answer.status();
    let node =
        answer.headers().get(SERVED_BY).and_then(|name| name.to_str().ok()?.strip_prefix("lb")?.parse().ok());
    node.filter(|_| status == StatusCode::OK).ok_or(Failure::Status(status.as_u16()))
}
