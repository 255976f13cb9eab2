//! Who may do what on the control socket. Everybody on the machine may look; who may change things is decided by who the client
//! was when it connected, which the kernel tells and no client can make up.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use crate::config::ControlGroup;

/// Supplementary groups that are asked for at first; few users have more.
const USUAL_GROUPS: usize = 32;

/// Who may change things: root, the daemon's own user, and the members of one group.
#[derive(Clone, Debug)]
pub struct Access {
    owner: Uid,
    group: Option<ControlGroup>,
}

impl Access {
    /// To a daemon of this process's user; members of `group` may change things as well.
    #[must_use]
    pub fn new(group: Option<ControlGroup>) -> Self {
        Self { owner: Uid::effective(), group }
    }

    /// Whether the client at the other end of `socket` may change things. One that the kernel does not tell of may not.
    pub(super) fn may_change(&self, client: Client, socket: BorrowedFd<'_>) -> bool {
        if client.uid.is_root() || client.uid == self.owner {
            return true;
        }
        let Some(group) = &self.group else { return false };
        client.gid == group.gid || groups(socket).is_ok_and(|groups| groups.contains(&group.gid.as_raw()))
    }

    /// Tells a client that it may not change anything, and who may.
    pub(super) fn denial(&self, client: Client) -> String {
        let who = match &self.group {
            Some(group) => format!("members of the group {}", group.name),
            None => "members of node.control_group (none is configured)".to_owned(),
        };
        let user = if self.owner.is_root() { String::new() } else { format!(", uid {}", self.owner) };
        format!("only root{user} and {who} may change anything, and you are uid {}; use sudo", client.uid)
    }
}

/// Who a client was when it connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// `None`: it is in another PID namespace.
    pub(super) pid: Option<i32>,
}

impl Client {
    /// Who is at the other end of `stream`.
    ///
    /// # Errors
    /// The system's; none are known for a connected socket.
    pub(super) fn of(stream: &tokio::net::UnixStream) -> io::Result<Self> {
        let told = stream.peer_cred()?;
        Ok(Self { uid: Uid::from_raw(told.uid()), gid: Gid::from_raw(told.gid()), pid: told.pid() })
    }
}

/// The supplementary groups of the process that connected the other end of `socket`.
fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<libc::gid_t>> {
    let mut groups: Vec<libc::gid_t> = vec![0; USUAL_GROUPS];
    loop {
        let room = size_of_val(groups.as_slice());
        let mut bytes = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `bytes` bytes to the buffer, which is that long, and any of them make a gid.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let error = Errno::last();
        // It gives the room that it takes, also when there is too little.
        let count = bytes as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if error != Errno::ERANGE || count <= groups.len() {
            return Err(error.into());
        }
        groups.resize(count, 0);
    }
}
