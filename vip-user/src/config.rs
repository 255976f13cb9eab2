//! What an operator configured, parsed and checked: once a [`Settings`] exists, nobody asks again if it is
//! valid.
//!
//! Each part of the file is read by a module of its own; every rejection names the file, the line and the
//! key. Facts of the machine (does the interface exist, which address has it) are not looked at here.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Read},
    net::IpAddr,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use self::document::{Document, Section};
use crate::exit::Failure;

mod changes;
mod check;
mod cluster;
mod document;
mod duration;
mod group;
mod handler;
mod keys;
mod name;
mod node;
mod notify;
mod tee;
mod transport;
mod vip;
mod vrrp;

pub(crate) use self::name::is_name;
pub use self::{
    changes::changes,
    check::{Check, Effect, Http, MAX_CHECKS, MAX_WEIGHT, Probe, Scope, StatusCodes, Target, Tls, Trust},
    cluster::{Cluster, Keys},
    duration::{format_duration, parse_duration},
    group::{FLAG_GROUP, Group, MAX_GROUPS, MAX_VIPS, Presence},
    handler::{Handler, MAX_HANDLERS, Run},
    keys::{KEY_LEN, KeyFault, KeyFileError, KeyRing},
    node::{ControlGroup, InterfaceNameError, Node, XdpMode, parse_interface_name},
    notify::{Notify, NotifyState, NotifyType},
    tee::Tee,
    transport::{Transport, parse_peer},
    vip::{Vip, VipError},
    vrrp::{Password, Protocol, VirtualRouter},
};
pub(crate) use transport::is_link_local;

/// The file that is read when no other one is named, if it exists.
pub const DEFAULT_FILE: &str = "/etc/vip-user/vip.toml";

const SECTIONS: &[&str] = &["node", "cluster", "group", "tee", "check", "handler", "paths"];

/// The longest file that is read: many times one with 10,000 VIPs.
const MAX_FILE_BYTES: u64 = 8 << 20;

const DEFAULT_BPFFS: &str = "/sys/fs/bpf/vip-user";
const DEFAULT_RUNTIME: &str = "/run/vip-user";
const DEFAULT_STATE: &str = "/var/lib/vip-user";

/// Everything a daemon is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This machine.
    pub node: Node,
    /// What all nodes share.
    pub cluster: Cluster,
    /// The groups of VIPs, in the order of the file. Names are unique; so are all VIPs' addresses.
    pub groups: Vec<Group>,
    /// What the standby nodes get copies of, in the order of the file. All are different.
    pub tees: Vec<Tee>,
    /// What has to be well on this machine, in the order of the file. Names are unique.
    pub checks: Vec<Check>,
    /// Programs that are told what happens, in the order of the file.
    pub handlers: Vec<Handler>,
    /// Where files are kept.
    pub paths: Paths,
}

/// What the command line says, which wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--iface`: used in place of `node.iface`.
    pub iface: Option<String>,
    /// `--vip`: VIPs that no group of the file has form a group named [`FLAG_GROUP`] (or join it).
    pub vips: Vec<Vip>,
    /// `--xdp`: used in place of `node.xdp`.
    pub xdp: Option<XdpMode>,
    /// `--join`: members to ask where the others are, besides `cluster.join`.
    pub join: Vec<IpAddr>,
}

impl Settings {
    /// Reads the configuration, its key file included.
    ///
    /// Without `file`, [`DEFAULT_FILE`] is read if it exists; otherwise defaults and `overrides` are all
    /// there is.
    ///
    /// # Errors
    /// [`Exit::BadConfiguration`](crate::exit::Exit::BadConfiguration), naming file, line and key.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, Failure> {
        let (file, text) = read(file)?;
        Self::parse(&file, &text, overrides)
    }

    /// As [`Settings::load`], with a text; `file` is its name.
    pub(crate) fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Self, Failure> {
        let document = Document::parse(file, text, SECTIONS)?;
        let node = Node::read(&document.section("node", node::KEYS)?, overrides)?;
        let paths = Paths::read(&document.section("paths", PATHS_KEYS)?)?;
        let groups = group::read(&document.sections("group", group::KEYS)?, &node, &overrides.vips)?;
        let cluster = Cluster::read(&document.section("cluster", cluster::KEYS)?, &groups, &overrides.join)?;
        let tees = tee::read(&document.sections("tee", tee::KEYS)?, &node, &cluster, &groups)?;
        let checks = check::read(&document.sections("check", check::KEYS)?, &groups)?;
        let handlers = handler::read(&document.sections("handler", handler::KEYS)?)?;
        Ok(Self { node, cluster, groups, tees, checks, handlers, paths })
    }

    /// The interfaces that VIPs lie on but the node's, each once.
    #[must_use]
    pub fn other_interfaces(&self) -> BTreeSet<&str> {
        self.groups.iter().flat_map(|group| &group.vips).filter_map(|vip| vip.dev.as_deref()).collect()
    }
}

/// Where a daemon's settings come from: the same at its start and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; `None`: [`DEFAULT_FILE`], if it exists.
    pub file: Option<PathBuf>,
    /// What the command line says.
    pub overrides: Overrides,
}

impl Source {
    /// Reads the settings as they are now.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load(&self) -> Result<Settings, Failure> {
        Settings::load(self.file.as_deref(), &self.overrides)
    }
}

/// Where files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Folder of the pinned maps and links, on a BPF file system.
    pub bpffs: PathBuf,
    /// Folder of the control sockets; does not survive a boot.
    pub runtime: PathBuf,
    /// Folder of what has to survive a boot.
    pub state: PathBuf,
    /// The file that always has the list of live nodes, if there is to be one.
    pub live_nodes: Option<PathBuf>,
}

const PATHS_KEYS: &[&str] = &["bpffs", "runtime", "state", "live_nodes"];

impl Paths {
    /// Reads only this part of the configuration, which is all that a client command needs: it must work for
    /// a user who may not read the key, and while another part of the file is being edited.
    ///
    /// # Errors
    /// [`Exit::BadConfiguration`](crate::exit::Exit::BadConfiguration), naming file, line and key.
    pub fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let (file, text) = read(file)?;
        let document = Document::parse(&file, &text, SECTIONS)?;
        Self::read(&document.section("paths", PATHS_KEYS)?)
    }

    /// The control socket of the daemon that serves `iface`.
    #[must_use]
    pub fn socket(&self, iface: &str) -> PathBuf {
        self.runtime.join(format!("{iface}.sock"))
    }

    fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let given = |key| -> Result<Option<PathBuf>, Failure> {
            let field = section.field(key);
            match field.string()?.map(PathBuf::from) {
                Some(path) if !path.is_absolute() => {
                    Err(field.refuse(format!("{:?} is not an absolute path", path.display().to_string())))
                }
                path => Ok(path),
            }
        };
        let path = |key, default: &str| Ok::<_, Failure>(given(key)?.unwrap_or_else(|| default.into()));
        Ok(Self {
            bpffs: path("bpffs", DEFAULT_BPFFS)?,
            runtime: path("runtime", DEFAULT_RUNTIME)?,
            state: path("state", DEFAULT_STATE)?,
            live_nodes: read_live_nodes(section, given("live_nodes")?)?,
        })
    }
}

/// It names a file: a folder with that name could not be replaced by it.
fn read_live_nodes(section: &Section<'_>, path: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    match path {
        Some(path) if path.file_name().is_none() || path.as_os_str().as_bytes().ends_with(b"/") => {
            let why = format!("{:?} names no file", path.display().to_string());
            Err(section.field("live_nodes").refuse(why))
        }
        path => Ok(path),
    }
}

/// The configuration's name for messages, and its text.
fn read(file: Option<&Path>) -> Result<(String, String), Failure> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.display().to_string();
    match read_regular(path) {
        Ok(text) => Ok((name, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => Ok((name, String::new())),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::configuration(format!("{name}: is not UTF-8 text")))
        }
        Err(error) => Err(Failure::configuration(format!("{name}: cannot be read: {error}"))),
    }
}

/// What is in a file, if it can be a configuration: a pipe that nobody writes to, or a disk read by mistake, must not hold up
/// a daemon that reads it anew.
fn read_regular(path: &Path) -> io::Result<String> {
    let file = open_at_once(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a file for reading; a pipe, too, without waiting for who writes to it.
fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests;
