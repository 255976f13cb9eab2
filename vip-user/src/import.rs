//! keepalived's configuration, translated into ours: `vip-user import`.
//!
//! [`lines`] are what its files say, [`tree`] is their blocks; `read` decides what becomes of each directive, and `write` writes
//! what came of it. Files are read through [`Files`]; nothing else is touched, and nothing is run.

mod known;
mod lines;
mod model;
mod read;
mod remark;
mod tree;
mod write;

use std::path::Path;

pub use lines::Files;
pub use remark::{Fate, Place, Remark};

use crate::config::Settings;
use crate::exit::Failure;

/// A configuration, and what became of the one that it was made from.
#[derive(Clone, Debug)]
pub struct Import {
    /// Our configuration, which is valid once its key file is there.
    pub text: String,
    /// One for each directive, in their order; those about all of it first.
    pub remarks: Vec<Remark>,
}

/// What to know beside the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `node.iface`; `None`: that of the first instance.
    pub iface: Option<String>,
    /// Which conditional lines (`@ID`) count.
    pub config_id: String,
    /// Groups are to be virtual routers of VRRP, as the instances are.
    pub vrrp: bool,
}

/// Translates keepalived's configuration.
///
/// # Errors
/// It cannot be read or makes no sense, with file and line; or nothing of it can be carried over.
pub fn import(files: &dyn Files, file: &Path, options: &Options) -> Result<Import, Failure> {
    let lines = lines::read(files, file, &options.config_id)?;
    let directives = tree::parse(&lines.lines)?;
    let (model, mut remarks) = read::read(&directives, options);
    remarks.splice(0..0, general(&lines, &model, options));
    if model.groups.is_empty() {
        let left = remarks.iter().find(|remark| remark.fate == Fate::Left);
        let reason =
            left.map_or_else(String::new, |Remark { directive, why, .. }| format!("; {directive}: {why}"));
        return Err(Failure::refused(format!(
            "{}: no vrrp_instance with VIPs is in it{reason}",
            file.display()
        )));
    }
    let source = file.display().to_string();
    Settings::parse(
        &source,
        &write::text(&model, &source, write::Key::None),
        &crate::config::Overrides::default(),
    )
    .map_err(|failure| Failure::refused(format!("what came of it is not valid: {failure}")))?;
    Ok(Import { text: write::text(&model, &source, write::Key::File), remarks })
}

/// What is to be said of all of it.
fn general(lines: &lines::Lines, model: &model::Model, options: &Options) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut say = |place: Option<&Place>, directive: &str, fate, why: String| {
        remarks.push(Remark::new(place.cloned(), directive, fate, &why));
    };
    let (fate, machines) = match model.nodes {
        Some(nodes @ 3..) => (Fate::Carried, format!("{nodes} machines, as unicast_peer says")),
        Some(_) => (
            Fate::Changed,
            "two machines, as unicast_peer says: a third one has to vote, a witness (see the comment)"
                .to_owned(),
        ),
        None => (
            Fate::Changed,
            "keepalived does not say how many machines there are: three are assumed (see the comment)"
                .to_owned(),
        ),
    };
    say(None, "expect", fate, machines);
    if options.vrrp {
        let why = "groups are virtual routers of VRRP: there is no quorum until they are put under the lease";
        say(None, "--vrrp", Fate::Changed, why.to_owned());
    }
    if lines.skipped > 0 {
        let why = format!(
            "{} lines for other machines (@ID) are passed over; this one is {:?} (--config-id)",
            lines.skipped, options.config_id
        );
        say(None, "conditions", Fate::Changed, why);
    }
    for (line, why) in &lines.missing {
        say(Some(&line.place), &line.text, Fate::Left, why.clone());
    }
    remarks
}

#[cfg(test)]
mod tests;
