//! A [`Status`] for people: text in aligned columns, with colours where they are welcome.

use std::borrow::Cow;

use vip_common::lease::quorum;

use crate::config::XdpMode;

use super::{
    CheckState, CheckStatus, Counters, GroupState, GroupStatus, InterfaceState, Member, MemberStatus, Pair,
    Protocol, Status, TeeStatus,
};

/// VIPs of a group, or groups, that are shown before the rest is only counted.
const SHOWN: usize = 3;

const INSECURE: &str = "INSECURE: messages are not authenticated";
const MAINTENANCE: &str = "MAINTENANCE: this node takes nothing until `vip-user maintenance off`";
const NO_FENCE: &str =
    "NO FENCE: if this daemon is stopped or killed, its VIPs stay on, and two nodes may serve";

/// What is not as it should be on this node, a line each.
pub(super) fn warnings(status: &Status) -> Vec<String> {
    let interfaces = status.interfaces.iter().filter_map(|interface| match interface.state {
        InterfaceState::Up => None,
        InterfaceState::NoCarrier => Some(format!("{}: NO CARRIER", printable(&interface.name))),
        InterfaceState::Down => Some(format!("{}: DOWN", printable(&interface.name))),
    });
    let no_fence = (status.xdp == XdpMode::Off).then(|| NO_FENCE.to_owned());
    let insecure = status.insecure.then(|| INSECURE.to_owned());
    let maintenance = status.maintenance.then(|| MAINTENANCE.to_owned());
    let failing = status.checks.iter().filter(|check| check.state == CheckState::Failing).map(|check| {
        let why = check.last_error.as_deref().unwrap_or_default();
        format!("check {} FAILS: {}", printable(&check.name), printable(why))
    });
    let no_tee = status.tees.iter().find_map(|tee| tee.fault.as_deref());
    let no_tee = no_tee.map(|why| format!("NOTHING IS TEED: {}", printable(why)));
    let of_node = interfaces.chain(no_quorum(status)).chain(no_fence).chain(insecure).chain(maintenance);
    of_node
        .chain(without_quorum(&status.groups))
        .chain(no_tee)
        .chain(failing)
        .chain(status.pair.as_ref().and_then(alone))
        .collect()
}

/// The whole status as text, its last line ended.
#[must_use]
pub fn status(status: &Status, colours: bool) -> String {
    let mut text = format!(
        "{} (id {}) on {}, XDP {}, epoch {}, version {}\n",
        printable(&status.node),
        status.id,
        printable(&status.iface),
        status.xdp,
        status.epoch,
        printable(&status.version),
    );
    text += &mode(status, colours);
    for interface in &status.interfaces {
        let (state, colour) = match interface.state {
            InterfaceState::Up if interface.name == status.iface => continue,
            InterfaceState::Up => ("up", Colour::Green),
            InterfaceState::NoCarrier => ("NO CARRIER", Colour::Red),
            InterfaceState::Down => ("DOWN", Colour::Red),
        };
        let (name, state) = (printable(&interface.name), Cell::coloured(state, colour).painted(0, colours));
        text += &format!("{name}: {state}, XDP {}\n", interface.xdp);
    }
    if status.insecure {
        text += &format!("{}\n", Cell::coloured(INSECURE, Colour::Red).painted(0, colours));
    }
    text += &pair(status, colours);
    if let Some(warning) = no_quorum(status) {
        text += &format!("{}\n", Cell::coloured(warning, Colour::Red).painted(0, colours));
    }
    if let Some(why) = status.tees.iter().find_map(|tee| tee.fault.as_deref()) {
        let fault = format!("NOTHING IS TEED: {}", printable(why));
        text += &format!("{}\n", Cell::coloured(&fault, Colour::Red).painted(0, colours));
    }
    if status.maintenance {
        text += &format!("{}\n", Cell::coloured(MAINTENANCE, Colour::Yellow).painted(0, colours));
    }
    text += "\n";
    text += &groups(&status.groups, colours);
    status.groups.iter().for_each(|group| text += &router(group));
    if !status.checks.is_empty() {
        text += "\n";
        text += &checks(&status.checks, colours);
    }
    if !status.tees.is_empty() {
        text += "\n";
        text += &tees(&status.tees, colours);
    }
    text += "\n";
    text += &members(&status.members, colours);
    text += "\n";
    text += &counters(&status.counters);
    text
}

/// Why XDP is not native, and what it means that it is off.
fn mode(status: &Status, colours: bool) -> String {
    let Some(reason) = &status.xdp_reason else { return String::new() };
    let mut text = format!("XDP is {}: {}\n", status.xdp, printable(reason));
    if status.xdp == XdpMode::Off {
        text += &format!("{}\n", Cell::coloured(NO_FENCE, Colour::Red).painted(0, colours));
    }
    text
}

/// Whether this node serves by its own vote alone.
fn pair(status: &Status, colours: bool) -> String {
    let Some(pair) = &status.pair else { return String::new() };
    if let Some(warning) = alone(pair) {
        return format!("{}\n", Cell::coloured(warning, Colour::Red).painted(0, colours));
    }
    let Pair { gateway, answers, .. } = pair;
    let gateway = printable(gateway);
    let heard = match answers {
        None => "not asked",
        Some(true) => "answers",
        Some(false) => "does not answer",
    };
    format!("pair mode: both votes are needed now; gateway {gateway} {heard}\n")
}

fn alone(pair: &Pair) -> Option<String> {
    let (gateway, other) = (printable(&pair.gateway), printable(&pair.other));
    pair.alone.then(|| {
        format!(
            "ALONE: this node serves without {other}'s vote while {gateway} answers; two nodes may serve if {other} hears \
             it, too"
        )
    })
}

/// Whether this node hears too few voters for any lease to be taken or renewed.
fn no_quorum(status: &Status) -> Option<String> {
    let voters = status.members.iter().filter(|member| member.voter);
    let (all, heard) = voters.fold((0, 0), |(all, heard), voter| {
        let is_heard = matches!(voter.status, MemberStatus::Alive | MemberStatus::Leaving);
        (all + 1, heard + usize::from(is_heard))
    });
    let needed = quorum(all);
    let serves_alone = status.pair.as_ref().is_some_and(|pair| pair.alone);
    // Before there are voters, there is nothing to miss.
    let is_missing = all > 0 && heard < needed && !serves_alone;
    is_missing.then(|| {
        format!("NO QUORUM: {heard} of {all} voters heard, {needed} needed: no lease can be taken or renewed")
    })
}

/// The groups that need none, in a line.
fn without_quorum(groups: &[GroupStatus]) -> Option<String> {
    let names = groups.iter().filter(|group| group.protocol == Protocol::Vrrp);
    let names: Vec<_> = names.map(|group| printable(&group.name)).collect();
    (!names.is_empty()).then(|| {
        format!("VRRP, NO QUORUM: nodes that do not hear each other all serve {}", first_few(&names))
    })
}

/// The nodes as a table, its last line ended.
#[must_use]
pub fn members(members: &[Member], colours: bool) -> String {
    let rows = members.iter().map(|member| {
        let (status, colour) = match member.status {
            MemberStatus::Alive => ("alive", Colour::Green),
            MemberStatus::Leaving => ("leaving", Colour::Yellow),
            MemberStatus::Failed => ("failed", Colour::Red),
            MemberStatus::Left => ("left", Colour::Yellow),
        };
        [
            Cell::plain(&member.name),
            Cell::plain(member.id.to_string()),
            Cell::plain(if member.address.is_empty() { "-" } else { &member.address }),
            Cell::coloured(status, colour),
            Cell::plain(if member.voter { "yes" } else { "no" }),
            Cell::plain(member.priority.to_string()),
            Cell::plain(if member.version.is_empty() { "-" } else { &member.version }),
            Cell::plain(member.last_heard_ms.map_or("never".to_owned(), |millis| format!("{millis:.1} ms"))),
            Cell::plain(member.round_trip_ms.map_or("-".to_owned(), |millis| format!("{millis:.2} ms"))),
        ]
    });
    let titles =
        ["MEMBER", "ID", "ADDRESS", "STATUS", "VOTER", "PRIORITY", "VERSION", "LAST HEARD", "ROUND TRIP"];
    table(titles, rows, colours)
}

fn groups(groups: &[GroupStatus], colours: bool) -> String {
    let rows = groups.iter().map(|group| {
        let (state, colour) = match group.state {
            GroupState::Master => ("master", Colour::Green),
            GroupState::Backup => ("backup", Colour::None),
            GroupState::Candidate => ("candidate", Colour::Yellow),
            GroupState::Quarantine => ("quarantine", Colour::Yellow),
            GroupState::Fault => ("fault", Colour::Red),
            GroupState::Maintenance => ("maintenance", Colour::Yellow),
            GroupState::Witness => ("witness", Colour::None),
        };
        [
            Cell::plain(&group.name),
            Cell::coloured(state, colour),
            Cell::plain(group.holder.as_deref().unwrap_or("-")),
            Cell::plain(format!("{:.1} ms", group.lease_remaining_ms)),
            Cell::plain(if group.protocol == Protocol::Vrrp { "-" } else { &group.ballot }),
            Cell::plain(group.priority.to_string()),
            Cell::plain(group.transitions.to_string()),
            Cell::plain(&group.since),
            Cell::plain(first_few(&group.vips)),
        ]
    });
    let titles = ["GROUP", "STATE", "HOLDER", "LEASE", "BALLOT", "PRIORITY", "TRANSITIONS", "SINCE", "VIPS"];
    table(titles, rows, colours)
}

/// The virtual router of a group, and what is behind it.
fn router(group: &GroupStatus) -> String {
    let Some(vrid) = group.vrid else { return String::new() };
    let name = printable(&group.name);
    let master = match &group.vrrp_master {
        Some(master) => format!("{} is active, priority {}", printable(&master.address), master.priority),
        None if group.state == GroupState::Master && group.protocol == Protocol::Vrrp => {
            "this node is active".to_owned()
        }
        None => "nobody is heard to be active".to_owned(),
    };
    match group.protocol {
        Protocol::Vrrp => format!(
            "{name}: VRRP, virtual router {vrid}, {master}; NO QUORUM: nodes that do not hear each other all serve\n"
        ),
        Protocol::Lease if group.vrrp_master.is_some() => {
            format!("{name}: stands back, since in virtual router {vrid} {master}\n")
        }
        Protocol::Lease => String::new(),
    }
}

/// The health checks as a table, its last line ended.
fn checks(checks: &[CheckStatus], colours: bool) -> String {
    let rows = checks.iter().map(|check| {
        let (state, colour) = match check.state {
            CheckState::Pending => ("pending", Colour::Yellow),
            CheckState::Passing => ("passing", Colour::Green),
            CheckState::Failing => ("FAILING", Colour::Red),
        };
        let why = check.last_error.as_deref().filter(|_| check.state != CheckState::Passing);
        [
            Cell::plain(&check.name),
            Cell::plain(&check.kind),
            Cell::coloured(state, colour),
            Cell::plain(if check.weight == 0 { "fatal".to_owned() } else { format!("{:+}", check.weight) }),
            Cell::plain(if check.groups.is_empty() { "all".to_owned() } else { check.groups.join(" ") }),
            Cell::plain(check.runs.to_string()),
            Cell::plain(check.failures.to_string()),
            Cell::plain(format!("{:.1} ms", check.took_ms)),
            Cell::plain(&check.since),
            Cell::plain(why.unwrap_or("-")),
        ]
    });
    let titles =
        ["CHECK", "TYPE", "STATE", "WEIGHT", "GROUPS", "RUNS", "FAILED", "LAST RUN", "SINCE", "LAST ERROR"];
    table(titles, rows, colours)
}

/// What is teed as a table, its last line ended.
fn tees(tees: &[TeeStatus], colours: bool) -> String {
    let rows = tees.iter().map(|tee| {
        [
            Cell::plain(format!("{}/{}", tee.port, tee.protocol)),
            Cell::plain(&tee.group),
            Cell::plain(if tee.standbys.is_empty() { "nobody".to_owned() } else { tee.standbys.join(" ") }),
            Cell::plain(tee.copied.to_string()),
            Cell::plain(tee.failed.to_string()),
            Cell::plain(tee.admitted.to_string()),
        ]
    });
    table(["TEE", "GROUP", "COPIES TO", "COPIED", "FAILED", "ADMITTED"], rows, colours)
}

fn first_few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn counters(counters: &Counters) -> String {
    let Counters {
        arp_replies,
        nd_replies,
        vip_passed,
        vip_fenced,
        vip_forwarded,
        lease_replies,
        rejected,
        conflicts,
        vrrp_adverts,
        vrrp_invalid,
    } = counters;
    let vrrp = match vrrp_adverts + vrrp_invalid {
        0 => String::new(),
        _ => format!("; VRRP: {vrrp_adverts} adverts, {vrrp_invalid} invalid"),
    };
    format!(
        "answered: {arp_replies} ARP, {nd_replies} ND, {lease_replies} lease; VIP packets: {vip_passed} passed, \
         {vip_fenced} fenced, {vip_forwarded} forwarded; {rejected} messages rejected, {conflicts} conflicts{vrrp}\n"
    )
}

/// Left-aligned columns, two spaces apart. The last one is not padded.
fn table<const N: usize>(titles: [&str; N], rows: impl Iterator<Item = [Cell; N]>, colours: bool) -> String {
    let mut lines = vec![titles.map(Cell::plain)];
    lines.extend(rows);
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    if let Some(last) = widths.last_mut() {
        *last = 0;
    }
    let line_text = |line: &[Cell; N]| {
        let cells: Vec<_> =
            line.iter().zip(widths).map(|(cell, width)| cell.painted(width, colours)).collect();
        cells.join("  ") + "\n"
    };
    lines.iter().map(line_text).collect()
}

struct Cell {
    text: String,
    colour: Colour,
}

#[derive(Clone, Copy)]
enum Colour {
    None,
    Red,
    Green,
    Yellow,
}

impl Cell {
    fn plain<'t>(text: impl Into<Cow<'t, str>>) -> Self {
        Self::coloured(text, Colour::None)
    }

    fn coloured<'t>(text: impl Into<Cow<'t, str>>, colour: Colour) -> Self {
        Self { text: printable(&text.into()), colour }
    }

    /// The text, padded to `width`. The padding comes before the colour, which has no width.
    fn painted(&self, width: usize, colours: bool) -> String {
        // Not by the formatter, which panics at widths that do not fit 16 bits.
        let padded = self.text.clone() + &" ".repeat(width.saturating_sub(self.text.chars().count()));
        match (colours, self.colour) {
            (false, _) | (true, Colour::None) => padded,
            (true, Colour::Red) => format!("\x1b[31m{padded}\x1b[0m"),
            (true, Colour::Green) => format!("\x1b[32m{padded}\x1b[0m"),
            (true, Colour::Yellow) => format!("\x1b[33m{padded}\x1b[0m"),
        }
    }
}

/// Names come from other machines: whatever is in them, it must not command the terminal.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{InterfaceStatus, VrrpMaster};

    #[test]
    fn a_group_of_vrrp_says_that_there_is_no_quorum_behind_it_and_who_is_active() {
        let mut status = example();
        let group = &mut status.groups[0];
        (group.protocol, group.vrid, group.state) = (Protocol::Vrrp, Some(51), GroupState::Backup);
        group.vrrp_master = Some(VrrpMaster { address: "10.0.0.2".to_owned(), priority: 150 });
        let text = super::status(&status, false);
        let line = "web: VRRP, virtual router 51, 10.0.0.2 is active, priority 150; NO QUORUM: nodes that do not hear each other \
                    all serve\n";
        assert!(text.contains(line) && !text.contains("7.1"), "{text}");
        status.groups[0].protocol = Protocol::Lease;
        let text = super::status(&status, false);
        assert!(text.contains("web: stands back, since in virtual router 51 10.0.0.2 is active"), "{text}");
    }

    /// Input: two of five voters are heard, and a node that has no vote; then three, one of which leaves.
    #[test]
    fn a_node_that_hears_no_majority_of_the_voters_says_so_in_red() {
        let of = |heard: MemberStatus| {
            let mut members: Vec<_> =
                ["lb1", "lb2", "lb3", "lb4", "lb5"].map(|name| member(name, None)).into();
            members[2].status = heard;
            members[3].status = MemberStatus::Failed;
            members[4].status = MemberStatus::Failed;
            members.push(Member { voter: false, ..member("lb6", None) });
            Status { members, ..example() }
        };
        let warning = "NO QUORUM: 2 of 5 voters heard, 3 needed: no lease can be taken or renewed";
        let text = super::status(&of(MemberStatus::Failed), true);
        assert!(text.contains(&format!("\u{1b}[31m{warning}\u{1b}[0m\n")), "{text}");
        assert_eq!(super::warnings(&of(MemberStatus::Failed))[0], warning);
        assert!(!super::status(&of(MemberStatus::Leaving), false).contains("QUORUM"));
        let formed_by_nobody =
            Status { members: vec![Member { voter: false, ..member("lb1", None) }], ..example() };
        assert!(!super::status(&formed_by_nobody, false).contains("QUORUM"));
    }

    #[test]
    fn a_node_that_serves_by_its_own_vote_says_so_in_red() {
        let pair = |alone, answers| {
            let gateway = "10.77.0.254".to_owned();
            let status =
                Status { pair: Some(Pair { gateway, alone, answers, other: "lb2".into() }), ..example() };
            super::pair(&status, true)
        };
        assert_eq!(
            pair(true, Some(true)),
            "\u{1b}[31mALONE: this node serves without lb2's vote while 10.77.0.254 answers; two nodes may serve if lb2 \
             hears it, too\u{1b}[0m\n"
        );
        let calm = "pair mode: both votes are needed now; gateway 10.77.0.254 not asked\n";
        assert_eq!(pair(false, None), calm);
        assert!(pair(false, Some(false)).contains("does not answer"));
        assert_eq!(super::pair(&example(), true), "");
    }

    #[test]
    fn members_are_an_aligned_table() {
        let text = members(&[member("lb1", Some(0.0)), member("a-longer-name", None)], false);
        assert_eq!(
            text,
            "MEMBER         ID  ADDRESS    STATUS  VOTER  PRIORITY  VERSION  LAST HEARD  ROUND TRIP\n\
             lb1            7   10.77.0.7  alive   yes    100       0.1.0    0.0 ms      -\n\
             a-longer-name  7   10.77.0.7  alive   yes    100       0.1.0    never       -\n"
        );
    }

    #[test]
    fn colours_change_no_column() {
        let members_list = [member("lb1", Some(0.0)), member("lb2", Some(12.34))];
        let coloured = members(&members_list, true);
        assert!(coloured.contains("\x1b[32malive \x1b[0m"), "{coloured:?}");
        let stripped = coloured.replace("\x1b[32m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, members(&members_list, false));
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let text = members(&[member("\x1b[2Jlb1\n", None)], false);
        assert!(!text.contains('\x1b'), "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text:?}");
    }

    #[test]
    fn a_name_of_any_length_is_shown() {
        let long = "n".repeat(70_000);
        let text = members(&[member(&long, None), member("lb1", None)], false);
        assert!(text.contains(&long) && text.lines().count() == 3, "{} bytes", text.len());
    }

    #[test]
    fn a_status_tells_who_holds_what_and_that_it_is_insecure() {
        let text = status(&example(), false);
        assert!(
            text.starts_with("lb1 (id 1) on eth0, XDP native, epoch 1, version 0.1.0\nINSECURE"),
            "{text}"
        );
        let group = text.lines().find(|line| line.starts_with("web")).unwrap();
        let cells: Vec<_> = group.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let vips = "10.0.0.1/24 10.0.0.2/24 10.0.0.3/24 and 2 more";
        let expected =
            ["web", "master", "lb1", "43.2 ms", "7.1", "120", "3", "2026-01-01T00:00:00.000Z", vips];
        assert_eq!(cells, expected);
        assert!(text.contains("5 fenced"), "{text}");
    }

    #[test]
    fn a_status_lists_the_checks_and_says_what_is_wrong_and_that_it_is_in_maintenance() {
        let check = |state, weight, groups: &[&str]| CheckStatus {
            name: "web-answers".into(),
            kind: "http".into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            weight,
            state,
            passing: state == CheckState::Passing,
            since: "2026-01-01T00:00:00.000Z".into(),
            runs: 12,
            failures: 3,
            took_ms: 1.25,
            last_error: Some("the answer is 503 Service Unavailable".into()),
        };
        let checks =
            vec![check(CheckState::Failing, 0, &[]), check(CheckState::Passing, -30, &["web", "api"])];
        let text = status(&Status { maintenance: true, checks, ..example() }, false);
        assert!(text.contains("\nMAINTENANCE: this node takes nothing until "), "{text}");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("web-answers")).collect();
        let cells = |line: &str| {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|")
        };
        assert_eq!(
            cells(lines[0]),
            "web-answers|http|FAILING|fatal|all|12|3|1.2 ms|2026-01-01T00:00:00.000Z|the answer is 503 Service Unavailable"
        );
        assert_eq!(
            cells(lines[1]),
            "web-answers|http|passing|-30|web api|12|3|1.2 ms|2026-01-01T00:00:00.000Z|-"
        );
        assert!(!status(&example(), false).contains("CHECK"));
    }

    #[test]
    fn a_status_lists_what_is_teed_and_says_if_nothing_can_be() {
        let tee = TeeStatus {
            group: "feed".into(),
            port: 5000,
            protocol: "udp".into(),
            fault: None,
            standbys: vec!["lb2".into(), "lb3".into()],
            copied: 20,
            failed: 1,
            admitted: 3,
        };
        let of = |tee: &TeeStatus| Status { tees: vec![tee.clone()], ..example() };
        let text = status(&of(&tee), false);
        let line = text.lines().find(|line| line.starts_with("5000/udp")).unwrap();
        let cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["5000/udp", "feed", "lb2 lb3", "20", "1", "3"]);
        assert!(!warnings(&of(&tee)).iter().any(|warning| warning.contains("TEED")));
        let faulty = TeeStatus { fault: Some("no traffic control".into()), ..tee };
        assert!(warnings(&of(&faulty)).contains(&"NOTHING IS TEED: no traffic control".to_owned()));
        assert!(status(&of(&faulty), false).contains("NOTHING IS TEED: no traffic control\n"));
        assert!(!status(&example(), false).contains("TEE "));
    }

    #[test]
    fn a_status_without_xdp_says_why_and_what_is_missing() {
        let mut off = example();
        (off.xdp, off.xdp_reason) = (XdpMode::Off, Some("its driver has none".to_owned()));
        let text = status(&off, false);
        assert!(text.contains("\nXDP is off: its driver has none\nNO FENCE: "), "{text}");

        (off.xdp, off.xdp_reason) = (XdpMode::Generic, Some("its driver has none".to_owned()));
        let text = status(&off, false);
        assert!(text.contains("XDP is generic: ") && !text.contains("NO FENCE"), "{text}");
        assert!(!status(&example(), false).contains("XDP is"), "{text}");
    }

    #[test]
    fn a_secure_status_has_no_warning_and_an_unknown_holder_is_a_dash() {
        let mut unknown = example();
        unknown.insecure = false;
        unknown.groups[0].holder = None;
        let text = status(&unknown, false);
        assert!(!text.contains("INSECURE"), "{text}");
        assert!(text.contains("master  -       43.2 ms"), "{text}");
    }

    #[test]
    fn other_interfaces_are_listed_and_one_that_is_down_is_pointed_out() {
        let mut several = example();
        several
            .interfaces
            .extend([interface("eth1", InterfaceState::Up), interface("eth2", InterfaceState::Down)]);
        let text = status(&several, false);
        assert!(
            !text.contains("eth0:") && text.contains("\neth1: up, XDP generic\neth2: DOWN, XDP"),
            "{text}"
        );
        several.interfaces[0].state = InterfaceState::NoCarrier;
        let text = status(&several, true);
        assert!(text.contains("\neth0: \x1b[31mNO CARRIER\x1b[0m, XDP generic\n"), "{text}");
    }

    fn interface(name: &str, state: InterfaceState) -> InterfaceStatus {
        InterfaceStatus { name: name.to_owned(), xdp: crate::config::XdpMode::Generic, state }
    }

    fn member(name: &str, last_heard_ms: Option<f64>) -> Member {
        Member {
            name: name.to_owned(),
            id: 7,
            address: "10.77.0.7".to_owned(),
            status: MemberStatus::Alive,
            voter: true,
            priority: 100,
            last_heard_ms,
            version: "0.1.0".to_owned(),
            round_trip_ms: None,
            tags: std::collections::BTreeMap::new(),
        }
    }

    fn example() -> Status {
        Status {
            node: "lb1".to_owned(),
            id: 1,
            iface: "eth0".to_owned(),
            version: "0.1.0".to_owned(),
            xdp: crate::config::XdpMode::Native,
            xdp_reason: None,
            egress_fence: true,
            epoch: 1,
            insecure: true,
            groups: vec![GroupStatus {
                name: "web".to_owned(),
                state: GroupState::Master,
                holder: Some("lb1".to_owned()),
                ballot: "7.1".to_owned(),
                lease_remaining_ms: 43.2,
                vips: (1..=5).map(|host| format!("10.0.0.{host}/24")).collect(),
                priority: 120,
                transitions: 3,
                since: "2026-01-01T00:00:00.000Z".to_owned(),
                protocol: Protocol::Lease,
                vrid: None,
                vrrp_master: None,
            }],
            members: vec![member("lb2", Some(3.1))],
            counters: Counters { vip_fenced: 5, ..Counters::default() },
            interfaces: vec![interface("eth0", InterfaceState::Up)],
            lease_ms: 50.0,
            pair: None,
            maintenance: false,
            checks: Vec::new(),
            tees: Vec::new(),
        }
    }
}
