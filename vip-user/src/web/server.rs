//! The HTTP server: a thread, and clients within bounds of number, size and time. A connection is for one request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::pages::Pages;
use super::source::Source;

/// The most clients at a time; more wait to be accepted.
const MAX_CLIENTS: usize = 32;
/// How long a client may take to send its request.
const REQUEST: Duration = Duration::from_secs(1);
/// How long it may be there altogether, until it has taken the last byte of its answer.
const VISIT: Duration = Duration::from_secs(5);
/// The longest request, its headers included: the least that the library can be told.
const MAX_REQUEST: usize = 8192;
const MAX_HEADERS: usize = 64;
/// How long to wait after a failed accept, which would fail at once again (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait until an address is tried again that cannot be had now.
const BIND_PAUSE: Duration = Duration::from_secs(5);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    /// `None` only while it is dropped.
    parts: Option<(oneshot::Sender<Infallible>, JoinHandle<()>)>,
}

impl Server {
    /// Serves at `address` what `source` shows. An address that cannot be had, since another program has it, say, is told in the
    /// log and tried again: nobody is to go without VIPs for it.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn start(address: SocketAddr, source: Source) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(address, Arc::new(Pages::new(source))) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("web".into()).spawn(serve)?;
        Ok(Self { parts: Some((stop, thread)) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.parts.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            warn!("the thread that served the metrics has panicked");
        }
    }
}

async fn serve(address: SocketAddr, pages: Arc<Pages>) {
    let listener = listen(address).await;
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        if clients.len() >= MAX_CLIENTS {
            clients.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.spawn(answer(stream, Arc::clone(&pages)));
            }
            Err(error) => {
                debug!("a client of {address} was not accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    let mut is_told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                info!("metrics and a web page are at http://{address}/");
                return listener;
            }
            Err(error) if !is_told => {
                is_told = true;
                warn!(
                    "no metrics and no web page at http://{address}/: {error}; trying again until they can be"
                );
            }
            Err(_) => {}
        }
        sleep(BIND_PAUSE).await;
    }
}

async fn answer(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(|request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(VISIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("a client of the web page: {error}"),
        Err(_) => debug!("a client of the web page did not take its answer"),
    }
}
