//! The log: what of it is kept, and how it looks. It goes to standard error, for the service manager to
//! store.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::exit::Failure;

/// How a log record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line each.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process. Records of the `log` crate, as of the XDP program, are logged as
/// well.
///
/// `filter` is a level ("debug") or directives like "info,aya=debug"; without a level of its own it is
/// `info`.
///
/// # Errors
/// [`Exit::Usage`](crate::exit::Exit::Usage) if `filter` is not valid; refuses a second call.
pub fn init(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = parse_filter(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // `try_init` also installs the bridge from the `log` crate, at this filter's level.
    let started = match format {
        LogFormat::Text => log.with_target(false).with_ansi(has_colours(&io::stderr())).finish().try_init(),
        LogFormat::Json => log.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| Failure::refused(format!("cannot start logging: {error}")))
}

/// Whether colours are welcome on `stream`: it is a terminal, and `NO_COLOR` is unset or empty
/// (<https://no-color.org>).
pub fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Libraries that are talkative at `debug` about what no operator asks for; a directive of their own wins.
const QUIET: &str = "aya=info,aya_obj=info,netlink_proto=info";

fn parse_filter(text: &str) -> Result<EnvFilter, Failure> {
    let all = format!("{QUIET},{text}");
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(all);
    filter.map_err(|error| {
        Failure::usage(format!("--log: {text:?} is no log filter ({error}); use a level, as in --log debug"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_filter_without_a_level_of_its_own_keeps_info() {
        assert_eq!(parse_filter("").unwrap().max_level_hint(), Some(LevelFilter::INFO));
        assert_eq!(parse_filter("debug").unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
        assert_eq!(parse_filter("warn,aya=trace").unwrap().max_level_hint(), Some(LevelFilter::TRACE));
    }

    #[test]
    fn a_library_is_quiet_unless_it_is_named() {
        assert!(parse_filter("debug").unwrap().to_string().contains("aya=info"));
        assert!(!parse_filter("debug,aya=trace").unwrap().to_string().contains("aya=info"));
    }

    #[test]
    fn a_filter_that_is_not_valid_is_a_usage_error_that_names_the_flag() {
        let failure = parse_filter("aya=loud").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("--log: \"aya=loud\" is no log filter"), "{failure}");
    }

    #[test]
    fn records_of_the_log_crate_are_kept_from_the_same_level() {
        init("debug", LogFormat::Text).unwrap();
        assert_eq!(log::max_level(), log::LevelFilter::Debug);
        let failure = init("info", LogFormat::Text).unwrap_err();
        assert!(failure.message.starts_with("cannot start logging: "), "a second call: {failure}");
    }
}
