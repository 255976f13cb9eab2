//! A [`Status`] as a view that stays open in a terminal: what is the case now, how fast it goes, and what has changed last.
//!
//! Here: what is shown, and where. Without terminal and daemon: they are the command's.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table};

use super::render::{self, printable};
use super::{Counters, GroupState, GroupStatus, Member, MemberStatus, Status};
use crate::journal::Entry;
use crate::membership::Severity;

/// Changes that are kept: more than the highest terminal shows.
const CHANGES: usize = 200;
/// The width of the bar of a lease.
const BAR: u16 = 8;
/// What the changes get at least: a title and three of them.
const LEAST_CHANGES: u16 = 4;
/// The counters: a title and two lines.
const COUNTERS: u16 = 3;

/// What is shown.
#[derive(Debug)]
pub struct View {
    status: Status,
    /// When the status was received, by any clock that goes on.
    received: Duration,
    /// When that was, by the time of day, as in RFC 3339.
    at: String,
    /// Of the counters, per second; none before there are two statuses.
    rates: Option<[f64; 8]>,
    changes: VecDeque<Entry>,
    /// Why there is nothing new.
    trouble: Option<String>,
    has_colours: bool,
}

impl View {
    /// Of the first status, received at `received` by any clock that goes on, which is `at` by the time of day.
    #[must_use]
    pub fn new(status: Status, received: Duration, at: String, has_colours: bool) -> Self {
        Self { status, received, at, rates: None, changes: VecDeque::new(), trouble: None, has_colours }
    }

    /// A newer status, and what has changed since the one before it, oldest first.
    pub fn update(&mut self, status: Status, changes: Vec<Entry>, received: Duration, at: String) {
        let elapsed = received.saturating_sub(self.received).as_secs_f64();
        let (before, now) = (totals(&self.status.counters), totals(&status.counters));
        // A daemon that was started anew may count from the beginning.
        let grows = before.iter().zip(&now).all(|(before, now)| before <= now);
        self.rates = (grows && elapsed > 0.0)
            .then(|| std::array::from_fn(|index| (now[index] - before[index]) as f64 / elapsed));
        self.changes.extend(changes);
        self.changes.drain(..self.changes.len().saturating_sub(CHANGES));
        (self.status, self.received, self.at, self.trouble) = (status, received, at, None);
    }

    /// The daemon does not answer, and why.
    pub fn lose(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Puts it on the whole of a frame.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let head = self.head();
        let area = frame.area();
        let heights = heights(area.height, &head, self.status.groups.len(), self.status.members.len());
        let [top, groups, members, counters, changes] =
            Layout::vertical(heights.map(Constraint::Length)).areas(area);
        frame.render_widget(Paragraph::new(head), top);
        self.draw_groups(frame, groups);
        self.draw_members(frame, members);
        let block = self.block("PER SECOND");
        frame.render_widget(Paragraph::new(self.counters()).block(block), counters);
        self.draw_changes(frame, changes);
    }

    /// Who this is, and what an operator must not overlook.
    fn head(&self) -> Vec<Line<'_>> {
        let Status { node, id, iface, xdp, epoch, version, .. } = &self.status;
        let who = format!(" {} ", printable(node));
        let what = format!(" id {id}  {}  XDP {xdp}  epoch {epoch}  {version}  ", printable(iface));
        let time = self.at.get(11..19).unwrap_or_default();
        let mut lines = vec![Line::from(vec![
            Span::styled(who, Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)),
            Span::raw(what),
            Span::styled(format!("{time} UTC  q: quit"), self.dim()),
        ])];
        let warnings = render::warnings(&self.status);
        lines.extend(warnings.into_iter().map(|warning| Line::styled(warning, self.alarm())));
        if let Some(trouble) = &self.trouble {
            let text = format!("NO ANSWER since {time}, trying again: {}", printable(trouble));
            lines.push(Line::styled(text, self.alarm()));
        }
        lines
    }

    fn draw_groups(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut groups: Vec<&GroupStatus> = self.status.groups.iter().collect();
        let is_calm = |group: &&GroupStatus| group.holder.is_some() && group.state != GroupState::Fault;
        let more = self.fit(&mut groups, area, is_calm);
        let rows = groups.into_iter().map(|group| self.group(group)).chain(more);
        let widths = [
            Constraint::Length(12),
            Constraint::Length(11),
            Constraint::Length(12),
            Constraint::Length(BAR + 8),
            Constraint::Length(10),
            Constraint::Min(10),
        ];
        let titles = ["GROUP", "STATE", "HOLDER", "LEASE", "SINCE", "VIPS"];
        self.draw_table(frame, area, titles, rows.collect(), &widths);
    }

    fn group(&self, group: &GroupStatus) -> Row<'_> {
        let (state, style) = match group.state {
            GroupState::Master => ("master", self.good()),
            GroupState::Backup => ("backup", Style::new()),
            GroupState::Candidate => ("candidate", self.alarm()),
            GroupState::Quarantine => ("quarantine", self.caution()),
            GroupState::Fault => ("fault", self.alarm()),
            GroupState::Maintenance => ("maintenance", self.caution()),
            GroupState::Witness => ("witness", Style::new()),
        };
        let holder = match &group.holder {
            Some(holder) => Span::raw(printable(holder)),
            None => Span::styled("nobody", self.alarm()),
        };
        let vips = match group.vips.split_first() {
            None => String::new(),
            Some((first, [])) => printable(first),
            Some((first, more)) => format!("{} +{}", printable(first), more.len()),
        };
        Row::new([
            Line::raw(printable(&group.name)),
            Line::styled(state, style),
            Line::from(holder),
            Line::raw(format!(
                "{} {:>4.0} ms",
                bar(group.lease_remaining_ms, self.status.lease_ms),
                group.lease_remaining_ms
            )),
            Line::raw(self.time(&group.since)),
            Line::raw(vips),
        ])
    }

    fn draw_members(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut members: Vec<&Member> = self.status.members.iter().collect();
        let more = self.fit(&mut members, area, |member| member.status == MemberStatus::Alive);
        let rows = members.into_iter().map(|member| self.member(member)).chain(more);
        let widths = [
            Constraint::Length(12),
            Constraint::Length(5),
            Constraint::Length(8),
            Constraint::Length(5),
            Constraint::Length(4),
            Constraint::Length(11),
            Constraint::Length(10),
            Constraint::Min(10),
        ];
        let titles = ["MEMBER", "ID", "STATUS", "VOTER", "PRIO", "LAST HEARD", "ROUND TRIP", "ADDRESS"];
        self.draw_table(frame, area, titles, rows.collect(), &widths);
    }

    fn member(&self, member: &Member) -> Row<'_> {
        let (status, style) = match member.status {
            MemberStatus::Alive => ("alive", self.good()),
            MemberStatus::Leaving => ("leaving", self.caution()),
            MemberStatus::Failed => ("failed", self.alarm()),
            MemberStatus::Left => ("left", self.caution()),
        };
        let is_self = member.id == self.status.id;
        let heard = match member.last_heard_ms {
            _ if is_self => "this node".to_owned(),
            Some(millis) => span(millis),
            None => "never".to_owned(),
        };
        Row::new([
            Line::raw(printable(&member.name)),
            Line::raw(member.id.to_string()),
            Line::styled(status, style),
            Line::raw(if member.voter { "yes" } else { "no" }),
            Line::raw(member.priority.to_string()),
            Line::raw(heard),
            Line::raw(
                member.round_trip_ms.map_or_else(|| "-".to_owned(), |millis| format!("{millis:.2} ms")),
            ),
            Line::raw(printable(&member.address)),
        ])
    }

    /// What the data plane does.
    fn counters(&self) -> Vec<Line<'_>> {
        let totals = totals(&self.status.counters);
        let rates = |index: usize| self.rates.map_or_else(|| "-".to_owned(), |rates| rate(rates[index]));
        let told = |name: &'static str, index: usize, is_bad: bool| {
            let style = if is_bad && totals[index] > 0 { self.caution() } else { Style::new() };
            let total = if is_bad { format!(" ({} in all)", totals[index]) } else { String::new() };
            Span::styled(format!("{name} {}{total}   ", rates(index)), style)
        };
        vec![
            Line::from(vec![
                Span::raw("answered     "),
                told("ARP", 0, false),
                told("ND", 1, false),
                told("lease", 2, false),
                told("rejected", 6, true),
            ]),
            Line::from(vec![
                Span::raw("VIP packets  "),
                told("passed", 3, false),
                told("fenced", 4, false),
                told("forwarded", 5, false),
                told("conflicts", 7, true),
            ]),
        ]
    }

    /// The newest first.
    fn draw_changes(&self, frame: &mut Frame<'_>, area: Rect) {
        let line = |entry: &Entry| {
            let text = format!("{:<10} {}", self.time(&entry.at), printable(&entry.what.text));
            Line::styled(
                text,
                match entry.what.severity {
                    Severity::Info => Style::new(),
                    Severity::Warn => self.caution(),
                    Severity::Error => self.alarm(),
                },
            )
        };
        let newest = self.changes.iter().rev().take(area.height.into());
        let lines: Vec<_> = newest.map(line).collect();
        frame.render_widget(Paragraph::new(lines).block(self.block("LAST CHANGES")), area);
    }

    /// Leaves as many as there is room for below a title; those that are not calm come first then. Gives a row that says
    /// how many are left out.
    fn fit<T>(&self, items: &mut Vec<&T>, area: Rect, is_calm: impl Fn(&&T) -> bool) -> Option<Row<'static>> {
        let room = usize::from(area.height.saturating_sub(2));
        if items.len() <= room {
            return None;
        }
        items.sort_by_key(is_calm);
        let shown = room.saturating_sub(1);
        let more = items.len() - shown;
        items.truncate(shown);
        Some(Row::new([Line::styled(format!("and {more} more"), self.dim())]))
    }

    fn draw_table<'a, const N: usize>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        titles: [&'static str; N],
        rows: Vec<Row<'a>>,
        widths: &[Constraint; N],
    ) {
        let titles = Row::new(titles.map(|title| Line::styled(title, self.dim())));
        let block = Block::new().borders(Borders::TOP).border_style(self.dim());
        frame.render_widget(Table::new(rows, widths).header(titles).block(block), area);
    }

    fn block(&self, title: &'static str) -> Block<'static> {
        Block::new().borders(Borders::TOP).border_style(self.dim()).title(title)
    }

    /// A time of today as such, another one as its date.
    fn time(&self, at: &str) -> String {
        let is_today = at.get(..10) == self.at.get(..10);
        let part = if is_today { at.get(11..19) } else { at.get(..10) };
        printable(part.unwrap_or_default())
    }

    fn coloured(&self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(&self) -> Style {
        self.coloured(Color::Green)
    }

    fn caution(&self) -> Style {
        self.coloured(Color::Yellow)
    }

    fn alarm(&self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// How high head, groups, members, counters and changes are, in this order. The changes get what is left.
fn heights(height: u16, head: &[Line<'_>], groups: usize, members: usize) -> [u16; 5] {
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let head = rows(head.len());
    let room = height.saturating_sub(head).saturating_sub(COUNTERS).saturating_sub(LEAST_CHANGES);
    let (groups, members) = (rows(groups).saturating_add(2), rows(members).saturating_add(2));
    let groups = groups.min((room / 2).max(room.saturating_sub(members)));
    let members = members.min(room.saturating_sub(groups));
    let changes = height.saturating_sub(head).saturating_sub(groups + members + COUNTERS);
    [head, groups, members, COUNTERS, changes]
}

fn totals(counters: &Counters) -> [u64; 8] {
    let Counters {
        arp_replies,
        nd_replies,
        lease_replies,
        vip_passed,
        vip_fenced,
        vip_forwarded,
        rejected,
        conflicts,
        ..
    } = *counters;
    [arp_replies, nd_replies, lease_replies, vip_passed, vip_fenced, vip_forwarded, rejected, conflicts]
}

/// A part of a whole; a whole of 0 is not known.
fn bar(part: f64, whole: f64) -> String {
    let is_filled = |cell: u16| whole > 0.0 && part / whole > (f64::from(cell) + 0.5) / f64::from(BAR);
    (0..BAR).map(|cell| if is_filled(cell) { '█' } else { '░' }).collect()
}

/// In three digits or so.
fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        small if small < 9.95 => format!("{small:.1}"),
        medium if medium < 999.5 => format!("{medium:.0}"),
        large if large < 999_500.0 => format!("{:.1}k", large / 1e3),
        huge => format!("{:.1}M", huge / 1e6),
    }
}

fn span(millis: f64) -> String {
    match millis {
        short if short < 9_999.5 => format!("{short:.0} ms"),
        long if long < 600_000.0 => format!("{:.0} s", long / 1e3),
        longer => format!("{:.0} min", longer / 6e4),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::config::XdpMode;
    use crate::journal::{Happening, Kind};
    use crate::status::Protocol;

    const AT: &str = "2026-01-02T10:00:05.000Z";

    fn member(id: u16, status: MemberStatus) -> Member {
        Member {
            name: format!("lb{id}"),
            id,
            address: format!("10.77.0.{id}"),
            status,
            voter: true,
            priority: 100,
            last_heard_ms: Some(3.6),
            version: "0.1.0".to_owned(),
            round_trip_ms: (id != 1).then_some(0.251),
            tags: BTreeMap::new(),
        }
    }

    fn group(name: &str, holder: Option<&str>) -> GroupStatus {
        GroupStatus {
            name: name.to_owned(),
            state: if holder == Some("lb1") { GroupState::Master } else { GroupState::Candidate },
            holder: holder.map(str::to_owned),
            ballot: "7.1".to_owned(),
            lease_remaining_ms: if holder.is_some() { 40.0 } else { 0.0 },
            vips: vec!["10.0.0.1/24".to_owned(), "10.0.0.2/24".to_owned()],
            priority: 120,
            transitions: 3,
            since: "2026-01-02T09:59:00.000Z".to_owned(),
            protocol: Protocol::Lease,
            vrid: None,
            vrrp_master: None,
        }
    }

    fn example() -> Status {
        Status {
            node: "lb1".to_owned(),
            id: 1,
            iface: "eth0".to_owned(),
            version: "0.1.0".to_owned(),
            xdp: XdpMode::Native,
            xdp_reason: None,
            egress_fence: true,
            epoch: 1,
            insecure: false,
            groups: vec![group("web", Some("lb1"))],
            members: vec![member(1, MemberStatus::Alive), member(2, MemberStatus::Alive)],
            counters: Counters { vip_passed: 100, ..Counters::default() },
            interfaces: Vec::new(),
            lease_ms: 50.0,
            pair: None,
            maintenance: false,
            checks: Vec::new(),
            tees: Vec::new(),
        }
    }

    fn view(status: Status) -> View {
        View::new(status, Duration::ZERO, AT.to_owned(), false)
    }

    fn entry(at: &str, text: &str) -> Entry {
        let what = Happening::new(Kind::Promoted, text);
        Entry { number: 1, at: at.to_owned(), boottime_us: 0, what }
    }

    /// What a terminal of this size shows, without the blanks at the ends of lines.
    fn shown(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let cells = terminal.backend().buffer().content().chunks(width.into());
        cells
            .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_terminal_of_80_columns_and_24_lines_has_all_of_it() {
        let mut view = view(example());
        // Half a second later: 600 packets more, and two changes, one of the day before.
        let later = Status {
            counters: Counters { vip_passed: 700, rejected: 3, ..Counters::default() },
            ..example()
        };
        let changes = vec![entry("2026-01-01T23:00:00.000Z", "lb1 started"), entry(AT, "lb1 holds web")];
        view.update(later, changes, Duration::from_millis(500), AT.to_owned());
        let title = |title: &str| format!("{title}{}", "─".repeat(80 - title.len()));
        let expected = [
            " lb1  id 1  eth0  XDP native  epoch 1  0.1.0  10:00:05 UTC  q: quit",
            &title(""),
            "GROUP        STATE       HOLDER       LEASE            SINCE      VIPS",
            "web          master      lb1          ██████░░   40 ms 09:59:00   10.0.0.1/24 +1",
            &title(""),
            "MEMBER       ID    STATUS   VOTER PRIO LAST HEARD  ROUND TRIP ADDRESS",
            "lb1          1     alive    yes   100  this node   -          10.77.0.1",
            "lb2          2     alive    yes   100  4 ms        0.25 ms    10.77.0.2",
            &title("PER SECOND"),
            "answered     ARP 0   ND 0   lease 0   rejected 6.0 (3 in all)",
            "VIP packets  passed 1.2k   fenced 0   forwarded 0   conflicts 0 (0 in all)",
            &title("LAST CHANGES"),
            "10:00:05   lb1 holds web",
            "2026-01-01 lb1 started",
        ];
        let shown = shown(&view, 80, 24);
        assert_eq!(shown[..expected.len()], expected, "{shown:#?}");
        assert!(shown[expected.len()..].iter().all(String::is_empty), "{shown:#?}");
    }

    #[test]
    fn where_not_all_fit_those_in_trouble_are_shown_and_the_rest_is_counted() {
        let mut status = example();
        status.groups = (0..40).map(|number| group(&format!("g{number}"), Some("lb1"))).collect();
        status.groups.push(group("lost", None));
        status.members = (1..=99).map(|id| member(id, MemberStatus::Alive)).collect();
        status.members[98].status = MemberStatus::Failed;
        // Head 1, counters 3, changes 4: 16 lines are left, 8 for each table, 5 rows and a count of the others.
        let shown = shown(&view(status), 80, 24);
        assert!(shown[3].starts_with("lost         candidate   nobody       ░░░░░░░░"), "{shown:#?}");
        assert_eq!(shown[8], "and 36 more");
        assert!(shown[11].starts_with("lb99         99    failed"), "{shown:#?}");
        assert_eq!(shown[16], "and 94 more");
        assert!(shown[17].starts_with("PER SECOND") && shown[20].starts_with("LAST CHANGES"), "{shown:#?}");
    }

    /// Input: the other voter has failed, and four groups are VRRP's, which goes on without a quorum.
    #[test]
    fn what_has_no_quorum_is_told_below_the_title() {
        let mut status = example();
        status.members[1].status = MemberStatus::Failed;
        status.groups = (1..=4).map(|number| group(&format!("g{number}"), None)).collect();
        status.groups.iter_mut().for_each(|group| group.protocol = Protocol::Vrrp);
        let shown = shown(&view(status), 100, 24);
        assert_eq!(shown[1], "NO QUORUM: 1 of 2 voters heard, 2 needed: no lease can be taken or renewed");
        assert_eq!(
            shown[2],
            "VRRP, NO QUORUM: nodes that do not hear each other all serve g1 g2 g3 and 1 more"
        );
        assert!(shown[3].starts_with('─'), "{shown:#?}");
    }

    #[test]
    fn a_daemon_that_is_gone_is_told_of_until_it_answers_again() {
        let mut view = view(Status { maintenance: true, ..example() });
        view.lose("no daemon answers".to_owned());
        let gone = shown(&view, 80, 24);
        assert_eq!(gone[1], "MAINTENANCE: this node takes nothing until `vip-user maintenance off`");
        assert_eq!(gone[2], "NO ANSWER since 10:00:05, trying again: no daemon answers");
        // One that counts from the beginning has no rates yet.
        let again = Status { counters: Counters::default(), ..example() };
        view.update(again, Vec::new(), Duration::from_secs(1), AT.to_owned());
        let back = shown(&view, 80, 24);
        assert!(!back.iter().any(|line| line.contains("NO ANSWER")), "{back:#?}");
        assert!(back.iter().any(|line| line.starts_with("VIP packets  passed -")), "{back:#?}");
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        for (width, height) in [(1, 1), (3, 7), (80, 2), (200, 100), (20, 24)] {
            shown(&view(example()), width, height);
        }
    }

    #[test]
    fn a_bar_is_as_full_as_the_lease() {
        let bars = [0.0, 3.0, 25.0, 47.0, 50.0].map(|part| bar(part, 50.0).matches('█').count());
        assert_eq!(bars, [0, 0, 4, 8, 8]);
        assert!(!bar(40.0, 0.0).contains('█'), "of a length that is not known");
    }

    #[test]
    fn rates_and_times_are_short() {
        assert_eq!(
            [0.0, 0.26, 9.97, 999.4, 1_234.0, 2_500_000.0].map(rate),
            ["0", "0.3", "10", "999", "1.2k", "2.5M"]
        );
        assert_eq!([3.6, 12_000.0, 900_000.0].map(span), ["4 ms", "12 s", "15 min"]);
    }
}
