//! The ARP sysctls of the interface: the kernel must neither answer for the VIPs, which are on every node's dummy
//! interface, nor mention them as the sender in requests of its own. XDP answers instead; these settings are what
//! keeps a node silent when its XDP program is gone.
//!
//! Meaning of the values: Linux `Documentation/networking/ip-sysctl.rst`, `arp_ignore` and `arp_announce`. No other
//! sysctl is touched. Files are those of the calling thread's network namespace.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Answer only for addresses of the interface that the request came in on, which the VIPs are not.
const ARP_IGNORE: u8 = 1;

/// Always send from the best local address for the target, never from one of another interface.
const ARP_ANNOUNCE: u8 = 2;

/// The sysctls of one interface as they are while the daemon runs. Dropping it changes nothing; [`Self::restore`]
/// puts the former values back.
#[derive(Debug)]
#[must_use = "the former values are lost to this process without `restore`"]
pub struct ArpSysctls {
    original: Values,
    saved: PathBuf,
}

impl ArpSysctls {
    /// Sets `arp_ignore` to 1 and `arp_announce` to 2 for `iface`, or leaves them where they are stricter already.
    ///
    /// The former values are first written to the file `saved`, whose directory must exist. If that file is there
    /// from a run that was killed, it has the former values, and stays as it is. One that cannot be read as such,
    /// or is about another interface, is replaced, with a warning.
    ///
    /// # Errors
    /// No such interface; no permission; `net.ipv4.conf.all.arp_ignore` has a value that defeats the interface's
    /// own. Nothing is changed then.
    pub fn apply(iface: &str, saved: &Path) -> anyhow::Result<ArpSysctls> {
        let current = Values::read(iface)?;
        check_all_interfaces()?;
        let original = match load(iface, saved) {
            Some(original) => original,
            None => {
                store(&current, saved).with_context(|| {
                    format!(
                        "saving the ARP sysctls of {iface} to {}: is its directory there and writable?",
                        saved.display()
                    )
                })?;
                current.clone()
            }
        };
        let sysctls = ArpSysctls { original, saved: saved.to_owned() };
        if let Err(error) = current.tightened().write(&current) {
            if let Err(error) = sysctls.restore() {
                warn!("after a failure: {error:#}");
            }
            return Err(error);
        }
        Ok(sysctls)
    }

    /// What a run that was killed has left at `iface`, by the file `saved`; `None` if there is none that can be read.
    pub fn left_by_a_former_run(iface: &str, saved: &Path) -> Option<ArpSysctls> {
        load(iface, saved).map(|original| ArpSysctls { original, saved: saved.to_owned() })
    }

    /// Puts the former values back and removes the file. A value that someone else has changed since stays, and so
    /// does everything if the interface is gone.
    ///
    /// # Errors
    /// A value or the file cannot be written; the file is kept then, for the next run.
    pub fn restore(self) -> anyhow::Result<()> {
        if Path::new(&directory(&self.original.iface)).exists() {
            let current = Values::read(&self.original.iface)?;
            let ours = self.original.tightened();
            let mut target = current.clone();
            if current.arp_ignore == ours.arp_ignore {
                target.arp_ignore = self.original.arp_ignore;
            }
            if current.arp_announce == ours.arp_announce {
                target.arp_announce = self.original.arp_announce;
            }
            target.write(&current)?;
        }
        fs::remove_file(&self.saved).with_context(|| format!("removing {}", self.saved.display()))
    }
}

/// The values of one interface at one time, and the content of the saved file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    iface: String,
    arp_ignore: u8,
    arp_announce: u8,
}

impl Values {
    fn read(iface: &str) -> anyhow::Result<Values> {
        Ok(Values {
            iface: iface.to_owned(),
            arp_ignore: read(iface, "arp_ignore")?,
            arp_announce: read(iface, "arp_announce")?,
        })
    }

    /// These values, with those that are too lax replaced.
    fn tightened(&self) -> Values {
        Values {
            iface: self.iface.clone(),
            arp_ignore: if hides_vips(self.arp_ignore) { self.arp_ignore } else { ARP_IGNORE },
            arp_announce: self.arp_announce.max(ARP_ANNOUNCE),
        }
    }

    /// Writes what differs from `current`, so that a read-only /proc is no obstacle where nothing has to change.
    fn write(&self, current: &Values) -> anyhow::Result<()> {
        if self.arp_ignore != current.arp_ignore {
            write(&self.iface, "arp_ignore", self.arp_ignore)?;
        }
        if self.arp_announce != current.arp_announce {
            write(&self.iface, "arp_announce", self.arp_announce)?;
        }
        Ok(())
    }
}

/// Whether the kernel keeps silent for addresses of other interfaces: 2 asks for the sender's subnet in addition, 8
/// never answers. 3 answers for every address of global scope, and the rest is reserved and answers always.
fn hides_vips(arp_ignore: u8) -> bool {
    matches!(arp_ignore, 1 | 2 | 8)
}

/// The kernel takes the larger of an interface's own value and that of `all`.
fn check_all_interfaces() -> anyhow::Result<()> {
    let all = read("all", "arp_ignore")?;
    if all > ARP_IGNORE && !hides_vips(all) {
        bail!(
            "net.ipv4.conf.all.arp_ignore is {all}: with it the kernel answers ARP for the VIPs itself, lease or \
             not; set it to 0, 1 or 2 (sysctl -w net.ipv4.conf.all.arp_ignore=0)"
        );
    }
    Ok(())
}

/// File paths, as names with dots ("eth0.42") need no escaping there.
fn directory(iface: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{iface}")
}

fn read(iface: &str, key: &str) -> anyhow::Result<u8> {
    let path = format!("{}/{key}", directory(iface));
    let text = fs::read_to_string(&path)
        .with_context(|| format!("reading {path}: is there an interface {iface}?"))?;
    text.trim().parse().with_context(|| format!("reading {path}: unexpected value {:?}", text.trim()))
}

fn write(iface: &str, key: &str, value: u8) -> anyhow::Result<()> {
    let path = format!("{}/{key}", directory(iface));
    fs::write(&path, value.to_string()).with_context(|| {
        format!("writing {value} to {path}: run as root, and in a container set net.ipv4.conf.{iface}.{key} from outside")
    })
}

/// The values that a killed run has left behind, if there are any to be trusted.
fn load(iface: &str, saved: &Path) -> Option<Values> {
    let text = match fs::read(saved) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(
                "{}: {error}; taking the present ARP sysctls of {iface} for the original ones",
                saved.display()
            );
            return None;
        }
    };
    let reason = match serde_json::from_slice::<Values>(&text) {
        Ok(values) if values.iface == iface => return Some(values),
        Ok(values) => format!("is about {}", values.iface),
        Err(error) => format!("is damaged: {error}"),
    };
    warn!("{} {reason}; taking the present ARP sysctls of {iface} for the original ones", saved.display());
    None
}

/// Writes the file so that it is there as a whole or not at all, also after a crash of the machine.
fn store(values: &Values, saved: &Path) -> io::Result<()> {
    let draft = saved.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(values)?)?;
    file.sync_all()?;
    fs::rename(&draft, saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tightened(arp_ignore: u8, arp_announce: u8) -> (u8, u8) {
        let values = Values { iface: "eth0".into(), arp_ignore, arp_announce }.tightened();
        (values.arp_ignore, values.arp_announce)
    }

    #[test]
    fn lax_values_are_raised() {
        assert_eq!(tightened(0, 0), (1, 2));
        assert_eq!(tightened(0, 1), (1, 2));
    }

    #[test]
    fn values_that_are_strict_enough_are_kept() {
        for arp_ignore in [1, 2, 8] {
            assert_eq!(tightened(arp_ignore, 2), (arp_ignore, 2));
        }
    }

    #[test]
    fn higher_values_that_answer_for_the_vips_are_replaced() {
        for arp_ignore in [3, 4, 7] {
            assert_eq!(tightened(arp_ignore, 2), (1, 2));
        }
    }
}
