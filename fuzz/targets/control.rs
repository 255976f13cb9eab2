//! What a client sends to the control socket, through a real one.
//!
//! Promised: whatever comes, the answer is one line of JSON, and then the connection ends. A request is handled as what it
//! is; of anything else, or of more than 8,192 bytes, the reason is said.

#![no_main]

use std::future::ready;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use vip_fuzz::directory;
use vip_user::control::{Access, Reply, Request, Server};

/// The longest request, its line break included.
const MAX_REQUEST: usize = 8192;

thread_local! {
    static DAEMON: Daemon = Daemon::start();
}

fuzz_target!(|input: &[u8]| {
    let reply = DAEMON.with(|daemon| daemon.reply(input));
    match (request(input), reply) {
        (Some(request), Reply::Ok(handled)) => {
            assert_eq!(serde_json::from_value::<Request>(handled).ok(), Some(request));
        }
        (None, Reply::Error(reason)) => assert!(!reason.is_empty()),
        (request, reply) => panic!("{request:?} is answered by {reply:?}"),
    }
});

/// What a client asks for that sends this and then no more.
fn request(input: &[u8]) -> Option<Request> {
    let line = input.split_inclusive(|byte| *byte == b'\n').next()?;
    let fits = line.len() < MAX_REQUEST || (line.len() == MAX_REQUEST && line.ends_with(b"\n"));
    serde_json::from_slice(line).ok().filter(|_| fits)
}

/// A control socket whose handler says what it was asked.
struct Daemon {
    runtime: Runtime,
    path: PathBuf,
}

impl Daemon {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let path = directory().join("control.sock");
        let server = Server::bind(&path).expect("a socket");
        runtime.spawn(server.serve(Access::new(None), |request| ready(Reply::ok(&request))));
        Self { runtime, path }
    }

    fn reply(&self, input: &[u8]) -> Reply {
        self.runtime.block_on(async {
            let mut stream = UnixStream::connect(&self.path).await.expect("a connection");
            // The daemon need not read on when it has seen enough.
            let _ = stream.write_all(input).await;
            let _ = stream.shutdown().await;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).await.expect("a reply");
            let (end, line) = reply.split_last().expect("a reply");
            assert!(*end == b'\n' && !line.contains(&b'\n'), "{reply:?}");
            serde_json::from_slice(line).expect("a reply in JSON")
        })
    }
}
