//! Where a frame comes from, as the tables say it: BPF_PROG_TEST_RUN has one interface for all.

use std::path::Path;

use vip_common::maps::{Served, Vip, Vip6};
use vip_common::table::Entry;
use vip_user::dataplane::Pins;

use super::super::node::{HOME, HOME6, LOOPBACK, MAIL, SIDE};
use super::bpf::{Map, Value};
use super::reference::Setting;

/// Where a frame comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// The interface where the nodes talk to each other.
    Wire,
    /// The same, and they talk IPv6.
    Wire6,
    /// Another one, where the VIPs of "web" lie, and those of "mail" do not.
    Side,
    /// The node's own daemon, for its vote.
    Own,
}

/// What is different from way to way. Of a node that has been told that all comes by the wire.
pub(super) struct Ways {
    interface: Placed<Served>,
    mail: Placed<Vip>,
    mail6: Placed<Vip6>,
    now: Way,
}

impl Ways {
    pub(super) fn open(pins: &Pins) -> Self {
        let mail = u16::try_from(MAIL).unwrap();
        Self {
            interface: Placed::find(&pins.map("INTERFACES"), |served: &Served| served.index == LOOPBACK),
            mail: Placed::find(&pins.map("VIPS"), |vip: &Vip| vip.slot == mail),
            mail6: Placed::find(&pins.map("VIPS6"), |vip: &Vip6| vip.slot == mail),
            now: Way::Wire,
        }
    }

    /// Has the next frames come in by this way. Those that come in where the program does not serve are the daemon's own.
    pub(super) fn come_in_by(&mut self, way: Way, setting: &mut Setting) {
        if way == self.now {
            return;
        }
        self.now = way;
        setting.interface = match way {
            Way::Wire => Some(HOME),
            Way::Wire6 => Some(HOME6),
            Way::Side => Some(SIDE),
            Way::Own => None,
        };
        self.interface.be(|served| match setting.interface {
            Some(interface) => Served { interface, ..served },
            None => Served::default(),
        });
        let elsewhere = u16::from(way == Way::Side);
        let mail_at = LOOPBACK + u32::from(elsewhere);
        setting.vips.values_mut().filter(|vip| vip.slot == MAIL).for_each(|vip| vip.interface = mail_at);
        setting.vips6.values_mut().filter(|vip| vip.slot == MAIL).for_each(|vip| vip.interface = mail_at);
        self.mail.be(|vip| Vip { interface: vip.interface + elsewhere, ..vip });
        self.mail6.be(|vip| Vip6 { interface: vip.interface + elsewhere, ..vip });
    }
}

/// An entry that is changed at its place, which a daemon does not: here no frame is under way meanwhile, and a new edition
/// takes too long for every other frame.
struct Placed<E> {
    map: Map<E>,
    place: u32,
    /// As the daemon wrote it.
    entry: E,
}

impl<E: Value + Entry> Placed<E> {
    /// The only one of this kind.
    fn find(pin: &Path, is_it: impl Fn(&E) -> bool) -> Self {
        let map = Map::<E>::open(pin);
        let (places, entries) = map.entries(E::SHAPE.places(), 1);
        let mut found = places.into_iter().zip(entries).filter(|(_, entry)| !entry.is_free() && is_it(entry));
        let (place, entry) = found.next().expect("an entry");
        assert!(found.next().is_none(), "of two editions");
        Self { map, place, entry }
    }

    fn be(&self, change: impl FnOnce(E) -> E) {
        self.map.update(self.place, change(self.entry), 0);
    }
}
