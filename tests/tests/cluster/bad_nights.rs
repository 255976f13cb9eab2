//! What goes wrong around the daemons, and must not go wrong in them.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::Command,
};

use nix::libc::O_NONBLOCK;
use vip_tests::{cluster::Cluster, lab::DaemonOptions, net::run};

use crate::{PATIENCE, cluster::watch::Watch, others};

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let options = DaemonOptions { args: vec!["--log".into(), "debug".into()], ..DaemonOptions::default() };
    let mut cluster = Cluster::prepare(3, |_| options.clone()).unwrap();
    // Input: standard error of every daemon is a pipe that is full and stays so.
    let mut pipes = Vec::new();
    for node in 1..=3 {
        let path = cluster.lab().home(node).join("log.fifo");
        pipes.push(full_pipe(&path));
        let into_pipe = format!("exec \"$@\" 2<> {}", path.display());
        cluster.options(node).unwrap().wrapper = ["sh", "-c", &into_pipe, "sh"].map(str::to_owned).into();
        cluster.restart(node).unwrap();
    }
    // Expected: they serve, hand over, and end as they should.
    let holder = cluster.wait_whole(PATIENCE).unwrap();
    let watch = Watch::start(cluster.lab());
    watch.wait_served(|node| node == holder);
    assert!(cluster.daemon(holder).unwrap().terminate().unwrap().success());
    watch.wait_served(|node| others(holder).contains(&node));
    watch.finish();
}

/// A named pipe with as much in it as it takes.
fn full_pipe(path: &Path) -> File {
    run(Command::new("mkfifo").arg(path)).unwrap();
    let mut pipe = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
    for size in [4096, 1] {
        let refused = loop {
            if let Err(error) = pipe.write(&vec![b'x'; size]) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    }
    pipe
}
