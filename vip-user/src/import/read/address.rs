//! `virtual_ipaddress`: the VIPs of an instance.

use super::super::remark::Fate;
use super::super::tree::Directive;
use super::Reader;
use crate::config::Vip;

/// A VIP as keepalived has it: where it lies is decided when the node's interface is known.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) directive: Directive,
    /// The address, with a prefix length.
    text: String,
    dev: Option<String>,
}

/// What may follow an address, with a word of its own or none; all that matters for packets is `dev`.
const WITH_VALUE: [&str; 6] = ["brd", "scope", "label", "peer", "preferred_lft", "broadcast"];

impl Address {
    pub(super) fn read(directive: &Directive) -> Self {
        let words: Vec<&str> = directive.words.iter().map(|word| word.text.as_str()).collect();
        let (mut text, mut dev) = (String::new(), None);
        let mut rest = words.into_iter();
        while let Some(word) = rest.next() {
            match word {
                "dev" => dev = rest.next().map(str::to_owned),
                option if WITH_VALUE.contains(&option) => drop(rest.next()),
                address if text.is_empty() => address.clone_into(&mut text),
                _ => {}
            }
        }
        if !text.contains('/') {
            text += if text.contains(':') { "/128" } else { "/32" };
        }
        Self { directive: directive.clone(), text, dev }
    }
}

impl Reader {
    /// Adds the VIPs of these addresses, on `iface` unless they say where; those that cannot be are left out.
    pub(super) fn add_vips(&mut self, vips: &mut Vec<Vip>, addresses: &[Address], iface: Option<&str>) {
        for Address { directive, text, dev } in addresses {
            let dev = dev.as_deref().or(iface).filter(|dev| Some(*dev) != self.model.iface.as_deref());
            let text = dev.map_or_else(|| text.clone(), |dev| format!("{text} dev {dev}"));
            let mut others = self.model.groups.iter().flat_map(|group| &group.vips).chain(vips.iter());
            // Virtual routers have link-local addresses, too.
            let vip = if self.speaks_vrrp { Vip::parse(&text) } else { text.parse() };
            match vip {
                Ok(vip) if others.any(|other| other.address == vip.address) => {
                    self.remark(directive, Fate::Unneeded, "is a VIP already");
                }
                Ok(vip) => {
                    let is_plain =
                        directive.words.iter().all(|word| !WITH_VALUE.contains(&word.text.as_str()));
                    let why = "VIPs are on a dummy interface, and have no label, scope or broadcast address";
                    match is_plain {
                        true => self.carried(directive),
                        false => self.remark(directive, Fate::Changed, why),
                    }
                    vips.push(vip);
                }
                Err(error) => self.remark(directive, Fate::Left, error.to_string()),
            }
        }
    }
}
