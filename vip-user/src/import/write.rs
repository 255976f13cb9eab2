//! A configuration as text, with comments that say where things come from and what to decide.

use std::fmt::Write as _;

use super::model::{Check, Group, Model, Probe, Router};
use crate::config::format_duration;

/// Whether secrets are in files: what is on the disk cannot be a part of whether all else is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// They are, and these have to be made.
    File,
    /// There are none.
    None,
}

/// Writing to a string does not fail, and so no result is looked at.
pub(super) fn text(model: &Model, source: &str, key: Key) -> String {
    let mut text = format!(
        "# Made from {} by vip-user import. Read it, then try it: vip-user check --config FILE\n\n",
        plain(source)
    );
    if model.groups.iter().any(|group| group.router.is_some()) {
        text += "# The groups are virtual routers of VRRP, beside those that keepalived runs, and without a quorum. When keepalived is gone from\n\
                 # all machines, put them under the lease: docs/FROM-KEEPALIVED.md, \"Moving a running pair\".\n\n";
    }
    node(&mut text, model);
    cluster(&mut text, model, key);
    model.groups.iter().for_each(|group| write_group(&mut text, group, key));
    model.checks.iter().for_each(|check| write_check(&mut text, check));
    text
}

fn node(text: &mut String, model: &Model) {
    *text += "[node]\n";
    *text += &match &model.name {
        Some(name) => format!("name = {}    # router_id; another one on each machine\n", string(name)),
        None => "# name = \"lb1\"    # default: the host name\n".to_owned(),
    };
    let iface = model.iface.as_deref().unwrap_or("eth0");
    let _ = writeln!(text, "iface = {}    # where the machines talk to each other\n", string(iface));
}

fn cluster(text: &mut String, model: &Model, key: Key) {
    let vrids: Vec<String> = model.vrids.iter().map(u8::to_string).collect();
    let name = model.vrids.first().map_or_else(|| "default".to_owned(), |vrid| format!("vrid-{vrid}"));
    let _ = write!(
        text,
        "# The same on all machines.\n[cluster]\nname = {}    # virtual_router_id {}: one cluster has all groups\n",
        string(&name),
        vrids.join(", ")
    );
    *text += match key {
        Key::File => {
            "# In place of auth_pass. Make it once, and copy it: (umask 077; vip-user keygen > /etc/vip-user/cluster.key)\n\
             key_file = \"/etc/vip-user/cluster.key\"\n"
        }
        Key::None => "insecure = true\n",
    };
    if !model.peers.is_empty() {
        let peers: Vec<String> = model.peers.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "peers = {}    # a witness on this segment, too", strings(&peers));
    }
    let expect = model.nodes.map_or(3, |nodes| nodes.max(3));
    if model.nodes.is_none_or(|nodes| nodes < 3) {
        *text += "# The machines that vote: an odd number, three at least for one to fail. If there are two, make any small third machine a\n\
                  # witness (priority = 0, no VIPs). Without one, expect = 2 and pair = \"GATEWAY'S ADDRESS\" is weaker than a majority;\n\
                  # expect = 2 alone means that nobody serves when either is gone. README.md, \"Two machines\", has what each means.\n";
    }
    let _ = writeln!(text, "expect = {expect}");
    *text += "# In place of advert_int: a dead holder costs about one lease.\n# interval = \"10ms\"\n# lease = \"50ms\"\n";
}

fn write_group(text: &mut String, group: &Group, key: Key) {
    let _ = write!(text, "\n# {}\n[[group]]\nname = {}\n", plain(&group.origin), string(&group.name));
    let vips: Vec<String> = group.vips.iter().map(ToString::to_string).collect();
    match vips.as_slice() {
        [vip] => {
            let _ = writeln!(text, "vips = {}", strings(std::slice::from_ref(vip)));
        }
        vips => {
            *text += "vips = [\n";
            vips.iter().for_each(|vip| *text += &format!("    {},\n", string(vip)));
            *text += "]\n";
        }
    }
    let _ = writeln!(text, "priority = {}\npreempt = {}", group.priority, group.preempt);
    if let Some(delay) = group.preempt_delay {
        let _ = writeln!(text, "preempt_delay = \"{}\"", format_duration(delay));
    }
    match &group.router {
        Some(router) => write_router(text, router, group.virtual_mac, key),
        None if group.virtual_mac => *text += "virtual_mac = true\n",
        None => {}
    }
    for (key, line) in &group.scripts {
        let _ = writeln!(text, "{key} = {}", string(line));
    }
    if group.is_told_as_sync {
        *text += "notify_type = \"group\"\n";
    }
}

fn write_router(text: &mut String, router: &Router, virtual_mac: bool, key: Key) {
    let Router { vrid, version, interval, peers, password_file } = router;
    let interval = format_duration(*interval);
    let _ = write!(
        text,
        "protocol = \"vrrp\"\nvrid = {vrid}\nversion = {version}\nadvert_interval = \"{interval}\"\nvirtual_mac = {virtual_mac}\n"
    );
    if !peers.is_empty() {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "unicast_peers = {}", strings(&peers));
    }
    if let Some(file) = password_file.as_ref().filter(|_| key == Key::File) {
        let _ = writeln!(
            text,
            "auth = \"text\"\nauth_password_file = {}    # auth_pass, mode 0600",
            string(file)
        );
    }
}

fn write_check(text: &mut String, check: &Check) {
    let _ = write!(text, "\n[[check]]\nname = {}\n", string(&check.name));
    *text += &match &check.probe {
        Probe::Shell(line) => format!("type = \"exec\"\nshell = true\nrun = {}\n", string(line)),
        Probe::Program(words) => match words.as_slice() {
            [path] => format!("type = \"exec\"\nrun = {}\n", string(path)),
            words => format!("type = \"exec\"\nrun = {}\n", strings(words)),
        },
        Probe::Tcp(address) => format!("type = \"tcp\"\naddress = {}\n", string(address)),
        Probe::Process(name) => format!("type = \"process\"\nprocess = {}\n", string(name)),
        Probe::Interface(name) => format!("type = \"interface\"\ninterface = {}\n", string(name)),
    };
    let _ = writeln!(text, "group = {}", strings(&check.groups));
    for (key, time) in [("interval", check.interval), ("timeout", check.timeout)] {
        if let Some(time) = time {
            let _ = writeln!(text, "{key} = \"{}\"", format_duration(time));
        }
    }
    for (key, count) in [("rise", check.rise), ("fall", check.fall)] {
        if let Some(count) = count {
            let _ = writeln!(text, "{key} = {count}");
        }
    }
    *text += &match check.weight {
        0 => "# No weight: while it fails, this machine cannot hold the group.\n".to_owned(),
        weight => format!("weight = {weight}\n"),
    };
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn strings(texts: &[String]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}

/// Without what would end a comment.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
