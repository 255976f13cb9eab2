//! Type `http`: a GET, and whether its answer is the right one.

mod tls;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::network::Connector;
use crate::config::{Http, StatusCodes};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How much of an answer's body is looked at, in bytes.
const MAX_BODY: usize = 64 * 1024;
const AGENT: &str = concat!("vip-user/", env!("CARGO_PKG_VERSION"));

pub(in crate::health) struct Client {
    connector: Connector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    question: Question,
}

impl Client {
    /// # Errors
    /// There is nobody to trust, or not in a form that can be used.
    pub(super) fn new(http: &Http) -> Result<Self, String> {
        let tls = match &http.tls {
            Some(wished) => {
                let config = Arc::new(tls::configuration(&wished.trust)?);
                Some((TlsConnector::from(config), wished.name.clone()))
            }
            None => None,
        };
        Ok(Self { connector: Connector::new(http.target.clone()), tls, question: Question::new(http)? })
    }

    pub(super) async fn ask(&mut self) -> Result<(), String> {
        let stream = self.connector.connect().await?;
        match &self.tls {
            None => self.question.put(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.question.put(stream.map_err(|error| format!("TLS: {error}"))?).await
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// What is asked, and what the answer has to be.
struct Question {
    request: Request<Empty<Bytes>>,
    status: StatusCodes,
    body: Option<String>,
}

impl Question {
    fn new(http: &Http) -> Result<Self, String> {
        let mut request = Request::get(&http.path).header(HOST, &http.host).header(CONNECTION, "close");
        let has = |name: &str| http.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
        for (name, value) in [(USER_AGENT, AGENT), (ACCEPT, "*/*")] {
            if !has(name.as_str()) {
                request = request.header(name, value);
            }
        }
        for (name, value) in &http.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        Ok(Self { request, status: http.status.clone(), body: http.body.clone() })
    }

    /// Asks over this connection.
    async fn put(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
        let failed = |error: hyper::Error| format!("HTTP: {error}");
        let builder = { http1::Builder::new().max_buf_size(MAX_HEAD).clone() };
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let answer = async {
            let answer = sender.send_request(self.request.clone()).await.map_err(failed)?;
            let code = answer.status();
            if !self.status.contains(code.as_u16()) {
                return Err(format!("the answer is {code}"));
            }
            match &self.body {
                Some(text) => find(text, answer.into_body()).await,
                None => Ok(()),
            }
        };
        let (mut answer, mut connection) = (pin!(answer), pin!(connection));
        let mut is_over = false;
        loop {
            tokio::select! {
                outcome = &mut answer => return outcome,
                // What it has brought is still to be read, and if it has broken, the answer says how.
                _ = &mut connection, if !is_over => is_over = true,
            }
        }
    }
}

/// Reads until the text has come, or the most that is looked at.
async fn find(text: &str, mut body: Incoming) -> Result<(), String> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("HTTP: {error}"))?;
        let Some(data) = frame.data_ref() else { continue };
        // What was searched before need not be again, but for a beginning of the text at its end.
        let from = read.len().saturating_sub(text.len());
        read.extend_from_slice(&data[..data.len().min(MAX_BODY - read.len())]);
        if read[from..].windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(());
        }
        if read.len() == MAX_BODY {
            break;
        }
    }
    Err(format!("the answer has no {text:?} in its first {} bytes", read.len()))
}
