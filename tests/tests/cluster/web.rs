//! What a node shows by HTTP: to Prometheus, to load balancers, and to people with a browser.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use vip_tests::{cluster::Cluster, lab::DaemonOptions, net, wait};

use crate::{PATIENCE, with_long_leases};

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9181);
/// The name of a node that would be markup, if the page took it for that.
const MARKUP: &str = "<i id=forged>lb3</i>";

#[test]
fn a_node_shows_who_holds_what_to_programs_and_to_people() {
    let mut cluster = Cluster::start_each(3, |node| DaemonOptions {
        name: (node == 3).then(|| MARKUP.to_owned()),
        more_of_node: format!("metrics = \"{ADDRESS}\""),
        ..with_long_leases()
    })
    .unwrap();
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    for node in 1..=3 {
        let (status, _) = get(&cluster, node, "/holds/web").unwrap();
        assert_eq!(status, if node == holder { 200 } else { 503 }, "of node {node}");
        for path in ["/healthz", "/readyz"] {
            let (status, body) = get(&cluster, node, path).unwrap();
            assert_eq!(status, 200, "{path} of node {node}: {body}");
        }
    }

    // Samples of the heartbeats are taken each second.
    wait::until_calmly("a holder's metrics", PATIENCE, || {
        let (_, metrics) = get(&cluster, holder, "/metrics")?;
        let value = |sample: &str| value(&metrics, sample);
        ensure!(value("vip_user_group_state{group=\"web\",state=\"master\"}")? == 1.0);
        ensure!(value("vip_user_group_promotions_total{group=\"web\"}")? >= 1.0);
        ensure!(value("vip_user_members{status=\"alive\"}")? == 3.0);
        ensure!(value("vip_user_packets_total{outcome=\"lease_renewed\"}")? > 0.0);
        let renewals = value("vip_user_renewal_lateness_seconds_count")?;
        ensure!(renewals > 10.0 && value("vip_user_renewal_lateness_seconds_sum")? < 0.1 * renewals);
        let answers = metrics.lines().filter(|line| {
            line.starts_with("vip_user_heartbeat_round_trip_seconds_count") && !line.ends_with(" 0")
        });
        ensure!(answers.count() == 2, "both other voters answer: {metrics}");
        Ok(Some(()))
    })
    .unwrap();

    let page = rendered(&cluster, holder).unwrap();
    for shown in ["● live", "1 of 1 held here", "3 of 3 voters alive, 2 needed", "<title>"] {
        assert!(page.contains(shown), "no {shown:?} in {page}");
    }
    assert!(page.contains("&lt;i id=forged&gt;lb3&lt;/i&gt;"), "{page}");
    assert!(!page.contains(MARKUP), "{page}");

    // Elsewhere, and then no more; the lease does not notice.
    for (metrics, is_served) in [(format!("metrics = \"{ELSEWHERE}\""), true), (String::new(), false)] {
        cluster.options(holder).unwrap().more_of_node = metrics;
        cluster.write_config(holder).unwrap();
        let reload = cluster.order(holder, &["reload"]).unwrap();
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        wait::until_equal("what is served after a reload", PATIENCE, &[false, is_served], || {
            Ok([ADDRESS, ELSEWHERE].map(|address| connect(&cluster, holder, address).is_ok()))
        })
        .unwrap();
    }
    assert_eq!(cluster.status(holder).unwrap().groups[0].state, "master");
}

fn connect(cluster: &Cluster, node: u8, address: SocketAddr) -> Result<TcpStream> {
    net::in_netns(&cluster.lab().node_netns(node), || Ok(TcpStream::connect(address)?))
}

/// The status and the body of what is at this path of a node.
fn get(cluster: &Cluster, node: u8, path: &str) -> Result<(u16, String)> {
    let mut stream = connect(cluster, node, ADDRESS)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

fn value(metrics: &str, sample: &str) -> Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {sample} in {metrics}"))?.parse()?)
}

/// What a browser makes of a node's page, as HTML, after it has run the page's script for some seconds.
fn rendered(cluster: &Cluster, node: u8) -> Result<String> {
    let profile = cluster.lab().home(node).join("browser");
    let flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--virtual-time-budget=3000",
        "--dump-dom",
    ];
    let mut command = cluster.lab().command(node, "timeout")?;
    command.args(["--kill-after=1", "60", "chromium"]).args(flags);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("http://{ADDRESS}/"));
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
