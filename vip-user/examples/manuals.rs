//! `manuals DIR`: writes the manual pages and the completions of `vip-user` into that directory, for a package.

use std::{env, fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use vip_user::cli::Cli;

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: manuals DIR"))?;
    let dir = Path::new(&dir);
    fs::create_dir_all(dir)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "vip-user", dir)?;
    }
    let mut program = Cli::command();
    // Gives subcommands their full names.
    program.build();
    program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_page(command, dir))?;
    write_page(&program, dir)
}

/// The page of one command, in the section for administrators.
fn write_page(command: &Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    if name == "vip-user-help" {
        return Ok(());
    }
    let page = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("8")
        .source(concat!("vip-user ", env!("CARGO_PKG_VERSION")))
        .manual("vip-user");
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(dir.join(format!("{name}.8")), text)
}
