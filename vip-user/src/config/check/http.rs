//! What a check of type `http` asks, and which answers pass.

use std::{collections::BTreeMap, fmt, fs, ops::RangeInclusive, path::PathBuf};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

use super::{Field, Section, Target, read_path};
use crate::exit::Failure;

/// The longest text that can be looked for, in bytes.
const MAX_BODY_TEXT: usize = 1024;
const MAX_HEADERS: usize = 16;
/// Codes, and ranges of them.
const MAX_RANGES: usize = 16;
/// A redirection is an answer, too.
const DEFAULT_STATUS: RangeInclusive<u16> = 200..=399;

/// A GET, and what its answer has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// How it is encrypted; none: not at all.
    pub tls: Option<Tls>,
    /// Where to ask.
    pub target: Target,
    /// What the header Host says.
    pub host: String,
    /// What is asked for: a path, and perhaps a query.
    pub path: String,
    /// More headers, by their names, which are valid, as are their values.
    pub headers: BTreeMap<String, String>,
    /// The codes of answers that pass.
    pub status: StatusCodes,
    /// What the body has to contain, within its first 64 KiB.
    pub body: Option<String>,
}

/// How a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name that the server is asked for (SNI), and that its certificate has to have.
    pub name: ServerName<'static>,
    /// Whose certificates are taken.
    pub trust: Trust,
}

/// Whose certificates are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Those that these have signed.
    Signed {
        /// Where they were read from.
        file: PathBuf,
        /// At least one.
        by: Vec<CertificateDer<'static>>,
    },
    /// All: whether the server is the right one is not asked.
    Anyone,
}

/// Codes of answers, as ranges; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCodes(Vec<RangeInclusive<u16>>);

impl StatusCodes {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, code: u16) -> bool {
        self.0.iter().any(|range| range.contains(&code))
    }

    fn read(field: &Field<'_>) -> Result<Self, Failure> {
        if field.is_integer() {
            let code = field.integer::<u16>(100..=599)?.unwrap_or_default();
            return Ok(Self(vec![code..=code]));
        }
        let Some(text) = field.string()? else { return Ok(Self(vec![DEFAULT_STATUS])) };
        let wrong = || field.refuse(format!("{text:?} is no list of codes; write it as in \"200-299, 404\""));
        let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some(code(first)?..=code(last)?).filter(|range| !range.is_empty())
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        match ranges {
            Some(ranges) if ranges.len() > MAX_RANGES => {
                Err(field.refuse(format!("there can be {MAX_RANGES} codes and ranges at most")))
            }
            ranges => ranges.map(Self).ok_or_else(wrong),
        }
    }
}

impl fmt::Display for StatusCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

impl Http {
    /// The URL that is asked for.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.target, self.path)
    }

    pub(super) fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let (is_encrypted, target, path) = read_url(&section.field("url"))?;
        let host = read_host(&section.field("host"))?;
        let tls = match is_encrypted {
            true => Some(read_tls(section, host.unwrap_or(&target.host))?),
            false => refuse_tls_keys(section).map(|()| None)?,
        };
        Ok(Self {
            tls,
            host: host.map_or_else(|| default_host(&target, is_encrypted), str::to_owned),
            path,
            target,
            headers: read_headers(&section.field("headers"))?,
            status: StatusCodes::read(&section.field("status"))?,
            body: read_body(&section.field("body"))?,
        })
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} passes", self.url(), self.status)?;
        if let Some(text) = &self.body {
            write!(f, " with {text:?}")?;
        }
        match self.tls.as_ref().map(|tls| &tls.trust) {
            Some(Trust::Anyone) => f.write_str(", of any server"),
            Some(Trust::Signed { file, .. }) => write!(f, ", trusting {:?}", file.display().to_string()),
            Some(Trust::System) | None => Ok(()),
        }
    }
}

/// Whether it is encrypted, where to, and what is asked for.
fn read_url(field: &Field<'_>) -> Result<(bool, Target, String), Failure> {
    let example = "as in \"http://127.0.0.1:8080/health\"";
    let text = field.string()?.ok_or_else(|| field.refuse(format!("missing; give a URL, {example}")))?;
    let wrong = |why: &str| field.refuse(format!("{text:?} {why}; write one {example}"));
    let uri: Uri = text.parse().map_err(|error| wrong(&format!("is no URL: {error}")))?;
    let (is_encrypted, default_port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(wrong("is no URL of http or https")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("has a user; give it as headers = { Authorization = \"Basic ...\" }"));
    }
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host) {
        Some("") => default_port,
        _ => authority.port_u16().ok_or_else(|| wrong("has a port that is none"))?,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let target = Target::new(host, port).map_err(|why| field.refuse(why))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((is_encrypted, target, path.to_owned()))
}

/// As browsers do: without the port where that goes without saying.
fn default_host(target: &Target, is_encrypted: bool) -> String {
    let text = target.to_string();
    let default = if is_encrypted { ":443" } else { ":80" };
    text.strip_suffix(default).map_or(text.clone(), str::to_owned)
}

fn read_host<'s>(field: &Field<'s>) -> Result<Option<&'s str>, Failure> {
    match field.string()? {
        Some(host) if host.is_empty() || HeaderValue::from_str(host).is_err() => {
            Err(field.refuse(format!("{host:?} is no name of a host")))
        }
        host => Ok(host),
    }
}

fn read_tls(section: &Section<'_>, host: &str) -> Result<Tls, Failure> {
    let (verify, ca) = (section.field("verify"), section.field("ca"));
    let bare = host.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map_or(host, |(host, _)| host);
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
        section.field("host").refuse(format!("{bare:?} is no name that a certificate can have"))
    })?;
    let trust = match (verify.boolean()?, ca.is_present()) {
        (Some(false), true) => {
            return Err(ca.refuse("says whom to trust, and verify = false to ask nobody; leave out one"));
        }
        (Some(false), false) => Trust::Anyone,
        (_, true) => read_ca(&ca)?,
        (_, false) => Trust::System,
    };
    Ok(Tls { name, trust })
}

fn refuse_tls_keys(section: &Section<'_>) -> Result<(), Failure> {
    let mut fields = ["verify", "ca"].into_iter().map(|key| section.field(key));
    match fields.find(Field::is_present) {
        Some(field) => Err(field.refuse("is for URLs of https")),
        None => Ok(()),
    }
}

/// A file of certificates in PEM.
fn read_ca(field: &Field<'_>) -> Result<Trust, Failure> {
    let file = read_path(field)?;
    let shown = file.display();
    let text = fs::read(&file).map_err(|error| field.refuse(format!("{shown} cannot be read: {error}")))?;
    let by: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let by = by.map_err(|error| field.refuse(format!("{shown} is no PEM: {error}")))?;
    if by.is_empty() {
        return Err(field.refuse(format!("{shown} has no certificate in PEM")));
    }
    Ok(Trust::Signed { file, by })
}

fn read_headers(field: &Field<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let headers = field.table_of_strings()?.unwrap_or_default();
    if headers.len() > MAX_HEADERS {
        return Err(field.refuse(format!("there can be {MAX_HEADERS} headers at most")));
    }
    for (name, value) in &headers {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(field.refuse(format!("{name:?} is no name of a header")));
        }
        if HeaderValue::from_str(value).is_err() {
            return Err(
                field.refuse(format!("the value of {name:?} has a character that no header can have"))
            );
        }
        if name.eq_ignore_ascii_case("host") {
            return Err(field.refuse("the header Host has a key of its own, host"));
        }
    }
    Ok(headers)
}

fn read_body(field: &Field<'_>) -> Result<Option<String>, Failure> {
    match field.string()? {
        Some(text) if text.is_empty() || text.len() > MAX_BODY_TEXT => {
            Err(field.refuse(format!("a text to look for has 1 to {MAX_BODY_TEXT} bytes")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}
