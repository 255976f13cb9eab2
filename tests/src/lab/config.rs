//! The configuration file and the key of a node, written as an operator would.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{DaemonOptions, Lab};

/// Writes `vip.toml` and `cluster.key` into the node's directory; gives the path of the former.
pub(super) fn write(lab: &Lab, node: u8, options: &DaemonOptions) -> Result<PathBuf> {
    let home = lab.home(node);
    let key = home.join("cluster.key");
    write_secret(&key, &options.key)?;
    let path = home.join("vip.toml");
    fs::write(&path, text(lab, node, &key, options)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Where the daemon of a node has its control socket.
pub(super) fn socket(lab: &Lab, node: u8) -> PathBuf {
    runtime(lab, node).join("eth0.sock")
}

fn text(lab: &Lab, node: u8, key: &Path, options: &DaemonOptions) -> Result<String> {
    let DaemonOptions {
        cluster,
        priority,
        expect,
        interval,
        lease,
        vips,
        more_of_group,
        more_of_cluster,
        more_of_node,
        more_of_paths,
        ..
    } = options;
    let (interval, lease) = (duration(*interval), duration(*lease));
    let id = options.id.unwrap_or_else(|| node.into());
    let name = options.name.clone().unwrap_or_else(|| format!("lb{node}"));
    let secrecy = if options.insecure { "insecure = true".to_owned() } else { format!("key_file = {key:?}") };
    let group = options.group_address.iter().map(|group| format!("group_address = {group:?}\n"));
    let peers = (!options.peers.is_empty()).then(|| format!("peers = {:?}\n", addresses(&options.peers)));
    let join = (!options.join.is_empty()).then(|| format!("join = {:?}\n", addresses(&options.join)));
    let transport: String = group.chain(peers).chain(join).collect();
    let [pins, runtime, state] = [lab.pins(node), runtime(lab, node), lab.home(node).join("state")];
    let mut text = String::new();
    write!(
        text,
        r#"[node]
name = {name:?}
iface = "eth0"
id = {id}
priority = {priority}
{more_of_node}

[cluster]
name = {cluster:?}
{secrecy}
{transport}expect = {expect}
interval = "{interval}"
lease = "{lease}"
{more_of_cluster}

[[group]]
name = "web"
vips = {vips:?}
{more_of_group}

[paths]
bpffs = {pins:?}
runtime = {runtime:?}
state = {state:?}
{more_of_paths}
"#
    )?;
    Ok(text)
}

fn addresses(peers: &[IpAddr]) -> Vec<String> {
    peers.iter().map(IpAddr::to_string).collect()
}

pub(super) fn runtime(lab: &Lab, node: u8) -> PathBuf {
    lab.home(node).join("run")
}

/// Only its owner may read a key.
fn write_secret(path: &Path, key: &str) -> Result<()> {
    let write = || {
        fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?
            .write_all(key.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// In the configuration's form: whole milliseconds where it is.
fn duration(span: Duration) -> String {
    match span.subsec_micros() % 1000 {
        0 => format!("{}ms", span.as_millis()),
        _ => format!("{}us", span.as_micros()),
    }
}
