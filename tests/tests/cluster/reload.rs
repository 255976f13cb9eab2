//! The configuration changes while the daemons run: nobody goes without, and what did not change does not notice.

use std::{
    fs, iter,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::Output,
    thread::sleep,
    time::Duration,
};

use anyhow::Result;
use nix::sys::signal::Signal;
use vip_tests::{
    clock::Stamp,
    cluster::{Cluster, Status},
    lab::{DaemonOptions, VIP},
    net::in_netns,
    responder::{PORT, PROBE_LEN, Responder, parse_answer},
    wait,
};

use crate::{
    PATIENCE,
    cluster::watch::{Watch, wait_until},
    others, three_with, with_long_leases,
};

/// Makes something of the options that a daemon cannot follow.
type Spoil<'a> = &'a dyn Fn(&mut DaemonOptions);

/// A VIP more of the group "web".
const VIP_MORE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);
/// VIPs of a group that has many.
const MANY: usize = 2000;
/// The one of a group more.
const VIP_OF_API: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 102);

#[test]
fn vips_and_groups_come_and_go_under_a_lease_that_does_not_notice() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let services = (1..=3).flat_map(|node| [VIP_MORE, VIP_OF_API].map(|vip| (node, vip)));
    let services = services.map(|(node, vip)| Responder::start(cluster.lab(), node, vip).unwrap());
    let _services: Vec<_> = services.collect();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap();

    // A VIP more in the group that is held, and a group more.
    for node in 1..=3 {
        let options = cluster.options(node).unwrap();
        options.vips.push(format!("{VIP_MORE}/24"));
        options.more_of_group = api();
        assert_eq!(
            assert_done(&reload(&cluster, node)),
            "group \"web\": 10.77.0.101/24 added\ngroup \"api\" added, with 10.77.0.102/24\n"
        );
    }
    wait_until("the new VIP to be served by the holder", || {
        Ok(server_of(&cluster, VIP_MORE)? == Some(holder))
    });
    wait_until("the new group to be served", || Ok(server_of(&cluster, VIP_OF_API)?.is_some()));

    // And away again: the new group goes from its holder to the others, as long as there are some.
    let held_by = server_of(&cluster, VIP_OF_API).unwrap().unwrap();
    for node in [held_by].into_iter().chain(others(held_by)) {
        let options = cluster.options(node).unwrap();
        options.vips.pop();
        options.more_of_group.clear();
        assert_eq!(
            assert_done(&reload(&cluster, node)),
            "group \"web\": 10.77.0.101/24 removed\ngroup \"api\" removed\n"
        );
        let rest = others(held_by);
        if node == held_by {
            wait_until("another node to serve the group that has gone from its holder", || {
                Ok(server_of(&cluster, VIP_OF_API)?.is_some_and(|server| rest.contains(&server)))
            });
        }
    }
    for vip in [VIP_MORE, VIP_OF_API] {
        wait_until("the VIP that has gone to be silent", || Ok(server_of(&cluster, vip)?.is_none()));
    }
    assert_eq!(assert_done(&reload(&cluster, holder)), "nothing has changed\n");

    assert_eq!(lease(&cluster.status(holder).unwrap()), lease(&before));
    watch.let_it_ask();
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

/// Input: thousands of VIPs in a group, of which one comes and one goes, of which all but one become others, and which gets
/// another priority. Expected: each is followed, and the one that stays is served all the time under the same lease.
#[test]
fn thousands_of_vips_change_under_a_lease_that_does_not_notice() {
    let vips_of = |network: u8| {
        let others = (1..MANY).map(move |host| format!("10.{network}.{}.{}/16", host / 256, host % 256));
        iter::once(format!("{VIP}/24")).chain(others).collect::<Vec<_>>()
    };
    let (mut cluster, holder) = three_with(&DaemonOptions { vips: vips_of(78), ..with_long_leases() });
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap();
    let one_for_another = [&vips_of(78)[..MANY - 1], &[format!("{VIP_MORE}/24")]].concat();
    let steps = [(one_for_another, "", 2), (vips_of(79), "", 2), (vips_of(79), "priority = 120\n", 1)];
    for (vips, more, changes) in steps {
        for node in 1..=3 {
            let options = cluster.options(node).unwrap();
            options.vips.clone_from(&vips);
            more.clone_into(&mut options.more_of_group);
            let begin = Stamp::now();
            let said = assert_done(&reload(&cluster, node));
            println!("node {node}: {changes} changes in {:?}", Stamp::now().since(begin));
            assert_eq!(said.lines().count(), changes, "{said:.200}");
            watch.let_it_ask();
        }
        assert_eq!(lease(&cluster.status(holder).unwrap()), lease(&before));
    }
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

#[test]
fn a_holder_that_is_to_be_a_witness_hands_over() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    cluster.options(holder).unwrap().more_of_group = "priority = 0\n".to_owned();
    let said = assert_done(&reload(&cluster, holder));
    assert_eq!(said, "group \"web\": priority is 0 now, and was 100\n");
    watch.wait_served(|node| node != holder);
    let is_witness = |status: &Status| status.groups[0].state == "witness";
    cluster.wait_status(holder, "to be a witness", PATIENCE, is_witness).unwrap();
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

#[test]
fn what_cannot_be_followed_changes_nothing_and_is_told_with_its_place() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let before = cluster.status(holder).unwrap();
    let cases: [(Spoil<'_>, &str, i32); 4] = [
        (&|options| options.more_of_group = "priorty = 120\n".to_owned(), "group.priorty: unknown key", 78),
        (&|options| options.vips.push("10.77.0.1/24".to_owned()), "this node's own address on eth0", 78),
        (&|options| options.lease *= 2, "cluster.lease cannot change while the daemon runs", 1),
        (
            &|options| options.name = Some("other".to_owned()),
            "node.name cannot change while the daemon runs",
            1,
        ),
    ];
    // The node's own address is the first of the segment.
    let node = 1;
    for (spoil, reason, status) in cases {
        let good = cluster.options(node).unwrap().clone();
        let options = cluster.options(node).unwrap();
        options.vips.push(format!("{VIP_MORE}/24"));
        spoil(options);
        let output = reload(&cluster, node);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(reason), "{said}");
        *cluster.options(node).unwrap() = good;
    }
    // The log says so as well, to who has sent the signal.
    cluster.options(node).unwrap().more_of_group = "priorty = 120\n".to_owned();
    cluster.write_config(node).unwrap();
    cluster.daemon(node).unwrap().signal(Signal::SIGHUP).unwrap();
    let daemon = cluster.daemon(node).unwrap();
    let told = || Ok((daemon.log().matches("unknown key").count() >= 2).then_some(()));
    wait::until("the log to say what is wrong", PATIENCE, told).unwrap();
    let now = cluster.status(holder).unwrap();
    assert_eq!(now.groups[0].ballot, before.groups[0].ballot);
    let others = others(holder);
    assert!(others.iter().all(|node| !cluster.status(*node).unwrap().is_master()));
}

/// Input: other intervals; then handlers, checks and scripts of one node, which at last is to be the fittest and preempts.
/// Expected: each takes effect, and the lease does not notice before it is taken.
#[test]
fn what_is_set_anew_takes_effect_under_a_lease_that_does_not_notice() {
    let (mut cluster, holder) = three_with(&with_long_leases());
    let [node, _] = others(holder);
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|served_by| served_by == holder);
    let before = cluster.status(holder).unwrap();

    let former = with_long_leases().interval;
    for node in 1..=3 {
        cluster.options(node).unwrap().interval = former / 5;
        let said = assert_done(&reload(&cluster, node));
        assert!(said.starts_with("cluster.interval is ") && said.lines().count() == 1, "{said}");
    }
    wait_until("renewals to come twice as often as they could before", || {
        let (begin, answered) = (Stamp::now(), lease_replies(&cluster, node)?);
        sleep(4 * former);
        let answered = lease_replies(&cluster, node)? - answered;
        Ok(former * u32::try_from(answered)? > 2 * Stamp::now().since(begin))
    });

    let [told, notified, sick] = ["told", "notified", "sick"].map(|name| cluster.lab().home(node).join(name));
    let notify = format!(
        "notify_master = \"/bin/sh -c 'echo MASTER >> {}'\"\npreempt_delay = \"1ms\"\n",
        notified.display()
    );
    let sections = format!(
        "[[handler]]\non = [\"check-failed\", \"check-passed\"]\nshell = true\n\
         run = \"echo $SERF_EVENT $VIP_CHECK: $(cat) >> {}\"\n\
         [[check]]\nname = \"well\"\ntype = \"file\"\nfile = {sick:?}\nabsent = true\ninterval = \"5ms\"\nweight = -1\n",
        told.display()
    );
    cluster.options(node).unwrap().more_of_group = format!("{notify}stale_forwarding = false\n{sections}");
    let said = assert_done(&reload(&cluster, node));
    for what in ["notify", "preempt_delay", "stale_forwarding", "handler", "check \"well\""] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let wait_told = |file: &Path, expected: &str| {
        wait_until(expected, || Ok(fs::read_to_string(file).is_ok_and(|told| told == expected)));
    };
    wait_told(&told, "check-passed well:\n");
    fs::write(&sick, "").unwrap();
    let failed = format!("check-passed well:\ncheck-failed well: {} is there\n", sick.display());
    wait_told(&told, &failed);
    fs::remove_file(&sick).unwrap();
    assert_eq!(lease(&cluster.status(holder).unwrap()), lease(&before));
    assert!(!notified.exists());

    let options = cluster.options(node).unwrap();
    options.priority = 200;
    options.more_of_group = format!("{notify}preempt = true\n");
    assert_done(&reload(&cluster, node));
    watch.wait_served(|served_by| served_by == node);
    wait_told(&notified, "MASTER\n");
    let gap = watch.finish();
    assert!(gap < with_long_leases().lease / 4, "{gap:?}");
}

/// How many lease messages the data plane of this node has answered.
fn lease_replies(cluster: &Cluster, node: u8) -> Result<u64> {
    Ok(cluster.status(node)?.counters["lease_replies"])
}

/// Input: a new key, by three reloads of each node: it verifies; it signs; the old one goes. Expected: nobody notices.
#[test]
fn keys_rotate_without_a_lost_probe_or_another_holder() {
    const OLD: &str = "00112233445566778899aabbccddeeff\n";
    const NEW: &str = "ffeeddccbbaa99887766554433221100\n";
    let (mut cluster, holder) = three_with(&DaemonOptions { key: OLD.to_owned(), ..with_long_leases() });
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    let before = cluster.status(holder).unwrap();
    let steps = [
        (format!("{OLD}{NEW}"), "cluster.key_file: two keys verify now, and the same one signs\n"),
        (format!("{NEW}{OLD}"), "cluster.key_file: two keys verify now, and another one signs\n"),
        (NEW.to_owned(), "cluster.key_file: one key verifies now, and the same one signs\n"),
    ];
    for (keys, expected) in steps {
        for node in 1..=3 {
            cluster.options(node).unwrap().key.clone_from(&keys);
            assert_eq!(assert_done(&reload(&cluster, node)), expected);
            watch.let_it_ask();
        }
    }
    let now = cluster.status(holder).unwrap();
    assert_eq!(lease(&now), lease(&before));
    assert_eq!(now.counters["rejected"], before.counters["rejected"]);
    assert_eq!(cluster.wait_whole(PATIENCE).unwrap(), holder);
    let gap = watch.finish();
    assert!(gap.is_zero(), "probes were lost for {gap:?}");
}

/// Has the daemon of this node follow its options as they are now.
fn reload(cluster: &Cluster, node: u8) -> Output {
    cluster.write_config(node).unwrap();
    cluster.order(node, &["reload"]).unwrap()
}

/// The reload was done; gives what was said.
fn assert_done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What would be different if the lease had changed hands, or lapsed.
fn lease(status: &Status) -> (String, String, u64) {
    let group = &status.groups[0];
    (group.state.clone(), group.ballot.clone(), group.transitions)
}

/// The section of another group.
fn api() -> String {
    format!("\n[[group]]\nname = \"api\"\nvips = [\"{VIP_OF_API}/24\"]\n")
}

/// The node that answers the client at this address, if one does.
fn server_of(cluster: &Cluster, vip: Ipv4Addr) -> Result<Option<u8>> {
    in_netns(&cluster.lab().client_netns(), || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send_to(&[0; PROBE_LEN], (vip, PORT))?;
        let mut answer = [0; PROBE_LEN + 1];
        let answer = socket.recv(&mut answer).map(|length| parse_answer(&answer[..length]));
        Ok(answer.ok().flatten().map(|(_, by)| by))
    })
}
