//! The daemon's side: owns the socket, and answers every client within bounds of size, number and time.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::fd::AsFd as _,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Reply, Request,
    access::{Access, Client},
    connect,
};
use crate::{clock, descriptor::release_early, exit::Failure, pace::Pace};

/// The longest request, its line break included: a query with the longest payload, each byte of it as `\u0000`, and some nodes.
const MAX_REQUEST: usize = 8192;
/// The most clients at a time; more wait to be accepted.
const MAX_CLIENTS: usize = 32;
/// The most of them that may only look. More are turned away, so that they keep nobody waiting who may do more.
const MAX_READERS: usize = 16;
/// Time between two lines in the log about clients that are turned away, in ns.
const REFUSALS: u64 = 1_000_000_000;
/// How long a client may take to send its request, and again to take its reply.
const PATIENCE: Duration = Duration::from_secs(1);
/// Clients that the kernel lets wait to be accepted.
const BACKLOG: i32 = 128;
/// How long to wait after a failed accept, which would fail at once again (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const FOLDER_MODE: u32 = 0o755;
/// For everybody: who may do what is for [`Access`] to say.
const SOCKET_MODE: u32 = 0o666;

/// A bound control socket. It is removed from the file system when this is dropped, `serve` cancelled
/// included.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    path: PathBuf,
}

impl Server {
    /// Takes the socket at `path`, whose folder is made if need be. A socket that a dead daemon left is
    /// replaced. Needs no runtime.
    ///
    /// # Errors
    /// [`Exit::Refused`](crate::exit::Exit::Refused) if a daemon is running on it already or the system
    /// refuses, [`Exit::NoPrivilege`](crate::exit::Exit::NoPrivilege) if it is for lack of permission.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let message = format!("cannot make the control socket {}: {error}", path.display());
            match error.kind() {
                io::ErrorKind::PermissionDenied => Failure::no_privilege(format!("{message}; run as root")),
                _ => Failure::refused(message),
            }
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        make_folder(folder).map_err(failed)?;
        // Of two daemons that start at once, the second looks when the first listens.
        let folder = File::open(folder).map_err(failed)?;
        let _lock =
            Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))?;
        if is_alive(path).map_err(failed)? {
            return Err(Failure::refused(format!(
                "already running on {}; stop that daemon first, or serve another interface",
                path.display()
            )));
        }
        remove_leftover(path).and_then(|()| listen(path)).map_err(failed)
    }

    /// Answers clients with what `handler` gives, until the future is dropped. It gets what `access` lets a client ask for.
    /// Runs on any runtime, also one of the current thread alone; `handler` must not block. It may take its time, and bounds
    /// that itself.
    pub async fn serve<F>(self, access: Access, handler: impl Fn(Request) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = match self.socket.try_clone().and_then(|socket| UnixListener::from_std(socket.into()))
        {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "no control socket");
                return;
            }
        };
        let handler = Arc::new(handler);
        let door = Arc::new(Door::new(access));
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            if clients.len() >= MAX_CLIENTS {
                clients.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(right) = door.admit(&stream) {
                        clients.spawn(answer(stream, right, Arc::clone(&door), Arc::clone(&handler)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a client of the control socket was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the control socket was not removed");
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    // Once more, since the umask took from the mode at creation.
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

/// Whether somebody listens on the socket at `path`, be it a daemon that is stopped or too busy to accept.
fn is_alive(path: &Path) -> io::Result<bool> {
    match connect(path, PATIENCE) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(false),
            _ => Err(error),
        },
    }
}

fn remove_leftover(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::other("the path is in use, and not by a socket; remove it")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn listen(path: &Path) -> io::Result<Server> {
    let socket = release_early(Socket::new(Domain::UNIX, Type::STREAM, None)?);
    socket.bind(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    // From here on, dropping the server removes the socket, errors included.
    let server = Server { socket, path: path.to_owned() };
    // Nobody can connect before `listen`, so nobody does while the mode is the umask's.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    server.socket.listen(BACKLOG)?;
    Ok(server)
}

/// What a client may do.
enum Right {
    Change,
    /// As one of the few who only look at a time.
    Look {
        client: Client,
        _place: OwnedSemaphorePermit,
    },
}

/// Decides who comes in.
struct Door {
    access: Access,
    readers: Arc<Semaphore>,
    refusals: Mutex<Pace>,
}

impl Door {
    fn new(access: Access) -> Self {
        let readers = Arc::new(Semaphore::new(MAX_READERS));
        Self { access, readers, refusals: Mutex::new(Pace::new(0, REFUSALS)) }
    }

    /// `None`: the client is turned away.
    fn admit(&self, stream: &UnixStream) -> Option<Right> {
        let client = match Client::of(stream) {
            Ok(client) => client,
            Err(error) => {
                self.tell(|| tracing::warn!(%error, "a client of the control socket is not known"));
                return None;
            }
        };
        if self.access.may_change(client, stream.as_fd()) {
            return Some(Right::Change);
        }
        let permit = Arc::clone(&self.readers).try_acquire_owned();
        if permit.is_err() {
            self.tell(|| tracing::warn!(uid = %client.uid, pid = client.pid, "too many clients of the control socket"));
        }
        permit.ok().map(|place| Right::Look { client, _place: place })
    }

    /// Why a request is not let through, if it is not.
    fn refuse(&self, right: &Right, request: &Request) -> Option<Reply> {
        match right {
            Right::Look { client, .. } if request.changes() => {
                let (uid, pid) = (client.uid, client.pid);
                self.tell(
                    || tracing::warn!(%uid, pid, "refused: that client of the control socket may only look"),
                );
                Some(Reply::Denied(self.access.denial(*client)))
            }
            _ => None,
        }
    }

    /// Logs, but not as often as clients would like.
    fn tell(&self, what: impl FnOnce()) {
        if self.refusals.lock().unwrap_or_else(PoisonError::into_inner).allows(clock::now()) {
            what();
        }
    }
}

async fn answer<F: Future<Output = Reply>>(
    stream: UnixStream,
    right: Right,
    door: Arc<Door>,
    handler: Arc<impl Fn(Request) -> F>,
) {
    // With more room than a request has: who sends a little too much is told so, and not cut off.
    let mut stream = BufReader::with_capacity(2 * MAX_REQUEST, stream);
    let reply = match timeout(PATIENCE, read_request(&mut stream)).await {
        Ok(Ok(request)) => match door.refuse(&right, &request) {
            Some(refusal) => refusal,
            None => handler(request).await,
        },
        Ok(Err(reason)) => Reply::Error(reason),
        Err(_) => Reply::Error(format!("no request within {} s", PATIENCE.as_secs())),
    };
    let mut line = match serde_json::to_vec(&reply) {
        Ok(line) => line,
        Err(error) => return tracing::warn!(%error, "a reply could not be written"),
    };
    line.push(b'\n');
    match timeout(PATIENCE, stream.write_all(&line)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the control socket left early"),
        Err(_) => tracing::debug!("a client of the control socket did not take its reply"),
    }
}

async fn read_request(stream: &mut BufReader<UnixStream>) -> Result<Request, String> {
    let mut line = Vec::new();
    let read = stream.take(MAX_REQUEST as u64).read_until(b'\n', &mut line).await;
    read.map_err(|error| format!("the request cannot be read: {error}"))?;
    if line.len() == MAX_REQUEST && !line.ends_with(b"\n") {
        return Err(format!("the request is longer than {MAX_REQUEST} bytes"));
    }
    serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))
}
