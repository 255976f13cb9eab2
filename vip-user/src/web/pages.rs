//! What is where: each path, and what is there.

use std::borrow::Cow;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::health::{Health, Holds, Readiness};
use super::metrics::exposition;
use super::snapshot::{Moment, Snapshot};
use super::source::Source;
use crate::journal::Entry;
use crate::status::Status;

/// The page, but for the word that its own script and style are told apart by from what a name could smuggle in.
const PAGE: &str = include_str!("page.html");
/// Where that word goes.
const NONCE: &str = "{nonce}";

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Headers of all answers: nothing of it is kept, taken for something else, or shown inside of another page.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

type Answer = Response<Full<Bytes>>;

/// All pages of a node.
#[derive(Debug)]
pub(super) struct Pages {
    source: Source,
}

impl Pages {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }

    /// Answers a request. Its body, if it has one, is not read.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/" => page(),
            "/healthz" => health(self.source.look().await),
            path if is_known(path) => match self.source.look().await {
                Some(snapshot) => show(path, &snapshot),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "the daemon's control plane does not answer\n"),
            },
            _ => text(StatusCode::NOT_FOUND, LISTING),
        }
    }
}

/// What a node has to show, for those who look elsewhere.
const LISTING: &str = "not here; there are / (the web page), /metrics, /healthz, /readyz, /holds/GROUP, /status.json, \
                       /members.json, /timeline.json and /live.json (all that the page shows)\n";

const HOLDS: &str = "/holds/";

fn is_known(path: &str) -> bool {
    let known = ["/metrics", "/readyz", "/status.json", "/members.json", "/timeline.json", "/live.json"];
    known.contains(&path) || path.starts_with(HOLDS)
}

/// What is at a path that [`is_known`].
fn show(path: &str, snapshot: &Snapshot) -> Answer {
    match path {
        "/metrics" => match exposition(snapshot) {
            Ok(metrics) => respond(StatusCode::OK, EXPOSITION, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/readyz" => {
            let readiness = Readiness::of(snapshot);
            json(status(readiness.ready), &readiness)
        }
        "/members.json" => json(StatusCode::OK, &snapshot.status.members),
        "/timeline.json" => json(StatusCode::OK, &snapshot.timeline),
        "/live.json" => json(StatusCode::OK, &Live::of(snapshot)),
        "/status.json" => json(StatusCode::OK, &snapshot.status),
        _ => holds(path, snapshot),
    }
}

/// All that the page shows, of one moment.
#[derive(Serialize)]
struct Live<'s> {
    status: &'s Status,
    health: Health,
    readiness: Readiness,
    cluster: &'s str,
    interval_ms: f64,
    /// In Unix milliseconds: the clock of whoever looks may be another one.
    now: u64,
    moments: &'s [Moment],
    timeline: &'s [Entry],
}

impl<'s> Live<'s> {
    fn of(snapshot: &'s Snapshot) -> Self {
        Self {
            status: &snapshot.status,
            health: Health::of(Some(snapshot)),
            readiness: Readiness::of(snapshot),
            cluster: &snapshot.cluster,
            interval_ms: snapshot.interval.as_secs_f64() * 1e3,
            now: snapshot.at,
            moments: &snapshot.moments,
            timeline: &snapshot.timeline,
        }
    }
}

/// Whether this node holds the group that the path names.
fn holds(path: &str, snapshot: &Snapshot) -> Answer {
    let name = path.strip_prefix(HOLDS).unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    match Holds::of(snapshot, &name) {
        Some(holds) => json(status(holds.holds), &holds),
        None => text(StatusCode::NOT_FOUND, "no group of this name\n"),
    }
}

fn health(snapshot: Option<Arc<Snapshot>>) -> Answer {
    let health = Health::of(snapshot.as_deref());
    json(status(health.healthy), &health)
}

const fn status(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn page() -> Answer {
    // A name could be anything. Without randomness, neither script nor style of the page is taken.
    let nonce = getrandom::u64().map(|nonce| format!("{nonce:016x}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut answer = respond(StatusCode::OK, HTML, PAGE.replace(NONCE, &nonce));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => respond(status, JSON, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Cow<'static, str>>) -> Answer {
    respond(status, TEXT, body)
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Cow<'static, str>>) -> Answer {
    let body = match body.into() {
        Cow::Borrowed(body) => Bytes::from_static(body.as_bytes()),
        Cow::Owned(body) => Bytes::from(body),
    };
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
