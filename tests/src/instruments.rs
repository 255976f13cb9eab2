//! The instruments on a lab whose VIP is moved by hand: what they must see before one can believe what they show.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use crate::{
    clock::Stamp,
    flood::Flood,
    fronts::{self, Backend, Front, Program, Software},
    lab::{Lab, VIP},
    net,
    oracle::{Announcements, Oracle, arp_request, arp_requests, packet_socket},
    prober::{Answer, Prober, ProberOptions},
    responder::Responder,
    visitors::{Connections, Failure, Report, VisitorOptions, Visitors},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Two nodes with a service each; node 1 has the VIP as any other software would give it: as an address of eth0.
fn lab_with_vip_on_node_1() -> (Lab, [Responder; 2]) {
    let lab = Lab::new(2).unwrap();
    let responders = [1, 2].map(|node| Responder::start(&lab, node, VIP).unwrap());
    address(&lab, 1, "add").unwrap();
    (lab, responders)
}

fn address(lab: &Lab, node: u8, change: &str) -> Result<()> {
    net::ip(&lab.node_netns(node), &["address", change, &format!("{VIP}/32"), "dev", "eth0"])
}

fn wait_answer(prober: &Prober, after: Stamp, node: u8) -> Answer {
    let what = format!("an answer of node {node}");
    wait::until(&what, PATIENCE, || Ok(prober.answer_after(after, |by| by == node))).unwrap()
}

#[test]
fn the_prober_sees_a_move_as_one_outage_and_who_served_before_and_after() {
    let (lab, _responders) = lab_with_vip_on_node_1();
    let prober = Prober::start(&lab, &ProberOptions::default()).unwrap();
    let up = wait_answer(&prober, Stamp::now(), 1).sent;

    address(&lab, 1, "delete").unwrap();
    let moved = Stamp::now();
    wait::until("a lost probe", PATIENCE, || {
        let silent = Stamp::now().since(moved) > Duration::from_millis(50);
        Ok((silent && prober.answer_after(moved, |_| true).is_none()).then_some(()))
    })
    .unwrap();
    address(&lab, 2, "add").unwrap();
    net::ip(&lab.client_netns(), &["neighbour", "flush", "all"]).unwrap();
    wait_answer(&prober, moved, 2);
    let report = prober.finish();

    let outage = report.outage_after(up).unwrap();
    assert_eq!((outage.before, outage.after), (Some(1), Some(2)), "{report:#?}");
    assert!(outage.duration >= Duration::from_millis(49), "{outage:?}");
    assert!(report.answered_by_node.keys().eq(&[1, 2]), "{report:#?}");
    assert_eq!(report.doubles, 0);
    assert_eq!(report.sent, report.lost + report.answered_by_node.values().sum::<u64>());
}

#[test]
fn the_oracle_sees_one_holder_as_one_and_two_holders_as_two() {
    let (lab, _responders) = lab_with_vip_on_node_1();
    let watch = || {
        let oracle = Oracle::start(&lab, PATIENCE).unwrap();
        wait::until("a hundred answers of each kind", PATIENCE, || {
            let seen = oracle.report_so_far();
            Ok((seen.arp_answered >= 100 && seen.udp_answered >= 100).then_some(()))
        })
        .unwrap();
        oracle.finish()
    };
    let one = watch();
    assert_eq!(one.doubles, 0, "{one:#?}");

    address(&lab, 2, "add").unwrap();
    let two = watch();
    assert!(two.doubles >= 100, "{two:#?}");
}

#[test]
fn the_switchs_port_counts_what_a_flood_from_it_sends_and_what_the_node_answers() {
    let (lab, _responders) = lab_with_vip_on_node_1();
    let count = |node| net::frames_in(&lab.switch_netns()).unwrap()[&lab.port(node)];
    let (before, other_before) = (count(1), count(2));
    let flood = Flood::start_from_switch(&lab, 1, arp_requests(), PATIENCE).unwrap();
    wait::until("a thousand answers", PATIENCE, || {
        Ok((count(1).received > before.received + 1000).then_some(()))
    })
    .unwrap();
    let sent = flood.finish().unwrap();

    let after = count(1);
    let counted = after.sent + after.dropped - before.sent - before.dropped;
    assert!(counted >= sent, "{counted} counted of {sent}");
    assert!(
        count(2).received < other_before.received + 1000,
        "node 2 was not asked, and has nothing to answer"
    );
}

/// Input: the former holder announces a VIP, another node an address of its own, and then the VIPs. Expected: only
/// the last ones count.
#[test]
fn announcements_count_once_for_each_vip_and_not_if_the_former_holder_makes_them() {
    let lab = Lab::new(2).unwrap();
    let second = Ipv4Addr::new(10, 77, 0, 101);
    let watch = Announcements::watch(&lab, &[VIP, second], 1).unwrap();
    let announce = |node: u8, address| {
        let mac = [0x02, 0x77, 10, 77, 0, node];
        let socket = net::in_netns(&lab.node_netns(node), || packet_socket("eth0", None)).unwrap();
        socket.send(&arp_request(mac, address, address)).unwrap();
    };
    announce(1, VIP);
    announce(2, lab.address(2));
    assert_eq!(watch.so_far(), (0, None));

    let before = Stamp::now();
    announce(2, VIP);
    announce(2, VIP);
    wait::until("one of them", PATIENCE, || Ok((watch.so_far().0 == 1).then_some(()))).unwrap();
    announce(2, second);
    wait::until("both of them", PATIENCE, || Ok((watch.so_far().0 == 2).then_some(()))).unwrap();
    assert!(watch.so_far().1 > Some(before));
}

#[test]
fn visitors_see_a_move_as_broken_connections_and_a_dead_front_end_as_refusals() {
    if let Err(reason) = Program::find("haproxy") {
        return println!("skipped: {reason}");
    }
    let (lab, _responders) = lab_with_vip_on_node_1();
    let _backend = Backend::start(&lab).unwrap();
    let [_first, second] = [1, 2].map(|node| Front::start(&lab, node, Software::Haproxy, VIP).unwrap());
    let come = |connections| {
        let target = SocketAddr::new(VIP.into(), fronts::PORT);
        let options = VisitorOptions { target, rate: 200, connections, patience: PATIENCE };
        Visitors::start(&lab, &options).unwrap()
    };
    let all = [come(Connections::Kept(5)), come(Connections::New)];
    let wait_all = |after, wanted| {
        for visitors in &all {
            let look = || Ok(visitors.outcome_after(after, |outcome| (outcome == wanted).then_some(())));
            wait::until(&format!("{wanted:?}"), PATIENCE, look).unwrap();
        }
    };
    wait_all(Stamp::now(), Ok(1));
    address(&lab, 1, "delete").unwrap();
    address(&lab, 2, "add").unwrap();
    net::ip(&lab.client_netns(), &["neighbour", "flush", "all"]).unwrap();
    wait_all(Stamp::now(), Ok(2));
    second.kill().unwrap();
    wait_all(Stamp::now(), Err(Failure::Refused));

    let [kept, new] = all.map(|visitors| Report::of(&visitors.finish().unwrap()));
    for report in [&kept, &new] {
        assert!(report.answered_by.keys().eq(&[1, 2]), "{report:#?}");
        assert!(report.failures.refused > 0, "{report:#?}");
        assert_eq!(report.requests, report.failed + report.answered_by.values().sum::<usize>());
    }
    assert!(kept.failures.broken_kept > 0, "{kept:#?}");
    assert_eq!(new.failures.broken_kept, 0, "{new:#?}");
}
