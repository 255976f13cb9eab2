//! Configuration files.
//!
//! Promised: what is taken is in the ranges of `config/vip.toml`, can be said in a Hello, and is the same when everything is
//! written out and read again. What is refused is refused in one line with the file, and the line in it. A client, which
//! reads the paths alone, finds them wherever a daemon does.

#![no_main]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vip_common::maps::MAX_TEES;
use vip_common::wire::name_hash;
use vip_fuzz::{assert_plain, directory};
use vip_user::config::{
    Check, Cluster, Effect, Group, Handler, Http, Keys, MAX_CHECKS, MAX_GROUPS, MAX_HANDLERS, MAX_VIPS, Node, Notify,
    NotifyType, Overrides, Paths, Probe, Run, Settings, Tee, Tls, Transport, Trust,
    VirtualRouter, format_duration,
};
use vip_user::exit::{Exit, Failure};
use vip_user::membership::{Hello, Offer, Standing};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| directory().join("vip.toml"));

fuzz_target!(|text: &[u8]| {
    match load(text) {
        Ok(settings) => {
            assert_eq!(Paths::load(Some(&FILE)).as_ref(), Ok(&settings.paths));
            is_in_range(&settings);
            can_be_said(&settings);
            is_the_same_again(&settings);
        }
        Err(failure) => names_the_place(&failure, text),
    }
});

fn load(text: &[u8]) -> Result<Settings, Failure> {
    fs::write(&*FILE, text).expect("a file");
    Settings::load(Some(&FILE), &Overrides::default())
}

fn is_in_range(Settings { node, cluster, groups, tees, checks, handlers, paths }: &Settings) {
    let names = [&node.name, &cluster.name].into_iter().chain(groups.iter().map(|group| &group.name));
    for name in names {
        assert!((1..=32).contains(&name.len()), "{name:?}");
        assert_plain(name);
    }
    assert!((1..=15).contains(&node.iface.len()));
    assert_plain(&node.iface);
    assert!(node.metrics.is_none_or(|metrics| metrics.port() > 0));
    assert!((1..=16).contains(&cluster.expect));
    assert!(cluster.interval >= Duration::from_millis(1));
    assert!(cluster.lease >= 3 * cluster.interval && cluster.lease <= Duration::from_secs(10));
    match &cluster.transport {
        Transport::Multicast(group) => assert!(group.ip().is_multicast() && group.port() > 0),
        Transport::Unicast { peers, port } => {
            assert!((1..=16).contains(&peers.len()) && *port > 0);
            assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), peers.len());
            assert!(peers.iter().all(|peer| !peer.is_multicast() && !peer.is_unspecified()));
            assert!(peers.iter().all(|peer| peer.is_ipv6() == cluster.transport.is_ipv6()));
        }
    }
    assert!(groups.len() <= MAX_GROUPS);
    assert_eq!(groups.iter().map(|group| &group.name).collect::<BTreeSet<_>>().len(), groups.len());
    let vips: Vec<_> = groups.iter().flat_map(|group| &group.vips).collect();
    assert!(vips.len() <= MAX_VIPS && groups.iter().all(|group| !group.vips.is_empty()));
    assert_eq!(vips.iter().map(|vip| vip.address).collect::<BTreeSet<_>>().len(), vips.len());
    for vip in vips {
        let longest = if vip.address.is_ipv4() { 32 } else { 128 };
        assert!((1..=longest).contains(&vip.prefix_len) && !vip.address.is_multicast());
    }
    assert!(tees.len() <= MAX_TEES && tees.iter().all(|tee| tee.port > 0));
    assert!(tees.iter().all(|tee| groups.iter().any(|group| group.name == tee.group)));
    assert_eq!(tees.iter().map(|tee| (&tee.group, tee.port)).collect::<BTreeSet<_>>().len(), tees.len());
    assert!(checks.len() <= MAX_CHECKS);
    assert_eq!(checks.iter().map(|check| &check.name).collect::<BTreeSet<_>>().len(), checks.len());
    checks.iter().for_each(|check| check_is_in_range(check, groups));
    assert!(handlers.len() <= MAX_HANDLERS);
    handlers.iter().for_each(handler_is_in_range);
    let kept = [&paths.bpffs, &paths.runtime, &paths.state].into_iter().chain(&paths.live_nodes);
    assert!(kept.into_iter().all(|path| path.is_absolute()));
}

fn check_is_in_range(check: &Check, groups: &[Group]) {
    let Check { name, scope, probe, interval, timeout, rise, fall, effect } = check;
    assert!((1..=32).contains(&name.len()));
    assert!(scope.names().iter().all(|name| groups.iter().any(|group| group.name == *name)));
    let least = if matches!(probe, Probe::Exec(_)) { 10 } else { 1 };
    assert!((Duration::from_millis(least)..=Duration::from_secs(3600)).contains(interval));
    assert!((Duration::from_millis(1)..=Duration::from_secs(600)).contains(timeout));
    assert!((1..=1000).contains(rise) && (1..=1000).contains(fall));
    if let Effect::Weight(weight) = effect {
        assert!(*weight != 0 && (-253..=253).contains(weight));
    }
    assert_plain(&check.to_string());
}

fn handler_is_in_range(handler: &Handler) {
    assert!(!handler.on.is_empty());
    assert!(!handler.timeout.is_zero() && handler.timeout <= Duration::from_secs(600));
    let (program, arguments) = handler.run.command();
    assert!(program.starts_with('/'));
    assert!(!program.contains('\0') && arguments.iter().all(|argument| !argument.contains('\0')));
    assert_plain(&handler.to_string());
}

fn can_be_said(Settings { node, cluster, groups, .. }: &Settings) {
    let offer = |group: &Group| Offer {
        group: name_hash(&group.name),
        priority: group.priority,
        preempt: group.preempt,
    };
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).expect("at most ten seconds");
    let hello = Hello {
        name: node.name.clone(),
        version: "0.1.0".into(),
        tags: node.tags.clone(),
        priority: node.priority,
        expect: cluster.expect,
        interval_ns: nanoseconds(cluster.interval),
        lease_ns: nanoseconds(cluster.lease),
        groups: groups.iter().map(offer).collect(),
        standing: Standing::Waiting,
        pledge: None,
        remove: None,
        leaving: false,
        period_ms: 1000,
        clock: 0,
        heard: Vec::new(),
    };
    hello.encode().expect("what is configured can be said");
}

fn is_the_same_again(settings: &Settings) {
    // Where the keys were read from is not kept.
    if let Keys::Signed(_) = settings.cluster.keys {
        return;
    }
    let has_password = |group: &Group| group.protocol.router().is_some_and(|router| router.password.is_some());
    if settings.groups.iter().any(has_password) {
        return;
    }
    let text = written_out(settings);
    let again = load(text.as_bytes()).unwrap_or_else(|failure| panic!("{failure}\n{text}"));
    assert_eq!(format!("{again:?}"), format!("{settings:?}"), "{text}");
}

fn router_written_out(router: &VirtualRouter) -> String {
    let VirtualRouter { vrid, version, advert_interval, unicast_peers, password: _ } = router;
    let interval = format_duration(*advert_interval);
    let mut text = format!("vrid = {vrid}\nversion = {}\nadvert_interval = \"{interval}\"\n", *version as u8);
    if !unicast_peers.is_empty() {
        let peers = strings(unicast_peers.iter().map(ToString::to_string).collect());
        text += &format!("unicast_peers = {peers}\n");
    }
    text
}

/// The settings, of a cluster without keys, as a file that leaves nothing out.
fn written_out(Settings { node, cluster, groups, tees, checks, handlers, paths }: &Settings) -> String {
    let Node { name, iface, id, priority, xdp, egress_fence, control_group, tags, metrics } = node;
    let Cluster { name: cluster_name, transport, join, expect, interval, lease, voter_after, reap, pair, .. } = cluster;
    let mut text = format!("[node]\nname = {}\niface = {}\n", string(name), string(iface));
    text += &format!("priority = {priority}\nxdp = \"{xdp}\"\negress_fence = {egress_fence}\n");
    text += &control_group.as_ref().map_or(String::new(), |group| format!("control_group = {:?}\n", group.name));
    text += &id.map_or_else(String::new, |id| format!("id = {id}\n"));
    text += &format!("tags = {}\n", toml::Value::try_from(tags).expect("a table of strings"));
    text += &metrics.map_or_else(String::new, |metrics| format!("metrics = \"{metrics}\"\n"));
    text += &format!("[cluster]\ninsecure = true\nname = {}\nexpect = {expect}\n", string(cluster_name));
    text += &match transport {
        Transport::Multicast(group) => format!("group_address = \"{group}\"\n"),
        Transport::Unicast { peers, port } => {
            let peers = strings(peers.iter().map(ToString::to_string).collect());
            format!("group_address = \"239.255.0.1:{port}\"\npeers = {peers}\n")
        }
    };
    text += &format!("join = {}\n", strings(join.iter().map(ToString::to_string).collect()));
    text +=
        &format!("interval = \"{}\"\nlease = \"{}\"\n", format_duration(*interval), format_duration(*lease));
    text += &format!("voter_after = \"{}\"\n", format_duration(*voter_after));
    text += &reap.map_or_else(String::new, |reap| format!("reap = \"{}\"\n", format_duration(reap)));
    text += &pair.map_or_else(String::new, |pair| format!("pair = \"{pair}\"\n"));
    for group in groups {
        let vips = strings(group.vips.iter().map(ToString::to_string).collect());
        let delay = format_duration(group.preempt_delay);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "[[group]]\nname = {}\nvips = {vips}\npriority = {}\npreempt = {}\npreempt_delay = \"{delay}\"\n\
             stale_forwarding = {}\nrouter = {}\nvirtual_mac = {}\nprotocol = \"{}\"\n",
            string(&group.name),
            group.priority,
            group.preempt,
            group.stale_forwarding,
            group.router,
            group.virtual_mac,
            group.protocol.as_str()
        );
        text += &group.protocol.router().map_or_else(String::new, router_written_out);
        text += &notify_written_out(&group.notify);
    }
    for Tee { group, port } in tees {
        text += &format!("[[tee]]\ngroup = {}\nport = {port}\nprotocol = \"udp\"\n", string(group));
    }
    checks.iter().for_each(|check| text += &check_written_out(check));
    for Handler { on, run, timeout } in handlers {
        let on = strings(on.iter().map(ToString::to_string).collect());
        let run = run_written_out(run);
        let _ = write!(text, "[[handler]]\non = {on}\n{run}\ntimeout = \"{}\"\n", format_duration(*timeout));
    }
    let path = |path: &Path| string(path.to_str().expect("from text"));
    text += &format!(
        "[paths]\nbpffs = {}\nruntime = {}\nstate = {}\n",
        path(&paths.bpffs),
        path(&paths.runtime),
        path(&paths.state)
    );
    text + &paths
        .live_nodes
        .as_deref()
        .map_or_else(String::new, |list| format!("live_nodes = {}\n", path(list)))
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn strings(texts: Vec<String>) -> String {
    toml::Value::from(texts).to_string()
}

fn run_written_out(run: &Run) -> String {
    match run {
        Run::Shell(line) => format!("shell = true\nrun = {}", string(line)),
        Run::Program(path, arguments) => {
            let words = [path].into_iter().chain(arguments).cloned().collect();
            format!("run = {}", strings(words))
        }
    }
}

fn check_written_out(check: &Check) -> String {
    let Check { name, scope, probe, interval, timeout, rise, fall, effect } = check;
    let (kind, names) = (probe.kind(), scope.names().to_vec());
    let mut text = format!("[[check]]\nname = {}\ntype = \"{kind}\"\nrise = {rise}\nfall = {fall}\n", string(name));
    text += &format!("interval = \"{}\"\n", format_duration(*interval));
    text += &format!("timeout = \"{}\"\n", format_duration(*timeout));
    if !names.is_empty() {
        text += &format!("group = {}\n", strings(names));
    }
    if let Effect::Weight(weight) = effect {
        text += &format!("weight = {weight}\n");
    }
    text + &match probe {
        Probe::Http(http) => http_written_out(http),
        Probe::Tcp(target) => format!("address = {}\n", string(&target.to_string())),
        Probe::Exec(run) => format!("{}\n", run_written_out(run)),
        Probe::Process(name) => format!("process = {}\n", string(name)),
        Probe::Interface(name) => format!("interface = {}\n", string(name)),
        Probe::File { path, absent } => {
            format!("file = {}\nabsent = {absent}\n", string(path.to_str().expect("from text")))
        }
    }
}

fn http_written_out(http: &Http) -> String {
    let Http { tls, host, headers, status, body, .. } = http;
    let headers = toml::Value::try_from(headers).expect("a table of strings");
    let mut text = format!("url = {}\nhost = {}\n", string(&http.url()), string(host));
    text += &format!("headers = {headers}\nstatus = \"{status}\"\n");
    text += &body.as_deref().map_or_else(String::new, |body| format!("body = {}\n", string(body)));
    text + &match tls.as_ref().map(|Tls { trust, .. }| trust) {
        Some(Trust::Anyone) => "verify = false\n".to_owned(),
        Some(Trust::Signed { file, .. }) => format!("ca = {}\n", string(file.to_str().expect("from text"))),
        Some(Trust::System) | None => String::new(),
    }
}

fn notify_written_out(notify: &Notify) -> String {
    let Notify { any, master, backup, fault, stop, kind, timeout } = notify;
    let scripts = [
        ("notify", any),
        ("notify_master", master),
        ("notify_backup", backup),
        ("notify_fault", fault),
        ("notify_stop", stop),
    ];
    let line = |(key, run): (&str, &Option<Run>)| {
        let (path, arguments) = run.as_ref()?.command();
        let words = [path].into_iter().chain(arguments).map(str::to_owned).collect();
        Some(format!("{key} = {}\n", strings(words)))
    };
    let kind = match kind {
        NotifyType::Instance => "instance",
        NotifyType::Group => "group",
    };
    let scripts: String = scripts.into_iter().filter_map(line).collect();
    format!("{scripts}notify_type = \"{kind}\"\nnotify_timeout = \"{}\"\n", format_duration(*timeout))
}

/// The place of what is missing altogether is the file; of everything else, a line of it.
fn names_the_place(failure: &Failure, text: &[u8]) {
    assert_eq!(failure.exit, Exit::BadConfiguration);
    assert_plain(&failure.message);
    let place = failure.message.strip_prefix(&*FILE.to_string_lossy());
    let place = place.unwrap_or_else(|| panic!("{failure}: where?"));
    let Some(line) = place.strip_prefix(':').and_then(|place| place.split(':').next()) else {
        panic!("{failure}")
    };
    if let Ok(line) = line.parse::<usize>() {
        let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
        assert!((1..=lines).contains(&line), "{failure}: of {lines} lines");
    }
}
