//! `leave` and `forget`: operators count voters out.
//!
//! Both ask the membership, and are asked again by the command until it is done. A node that leaves first gives back
//! what it holds, since it is not eligible from its wish on; when it is no voter any more, the daemon ends.

use super::control_plane::ControlPlane;
use super::lookup;
use super::upgrade::Ended;
use crate::clock;
use crate::control::Reply;
use crate::departure::Departure;
use crate::membership::Removal;

impl ControlPlane {
    /// This node is to vote no more, and then to end.
    pub(super) fn leave(&mut self) -> Reply {
        let (reply, removal) = self.remove(self.id);
        if removal == Some(Removal::Done) {
            self.tell_stopping("this node is no voter any more, and ends".to_owned());
            self.end(Ok(Ended::Stopped));
        }
        reply
    }

    /// A node that has failed or left is to vote no more.
    pub(super) fn forget(&mut self, node: &str) -> Reply {
        match self.id_of(node) {
            Ok(id) if id == self.id => Reply::Error(
                "this is the node itself: `vip-user leave` takes it out of the cluster".to_owned(),
            ),
            Ok(id) => self.remove(id).0,
            Err(reason) => Reply::Error(reason),
        }
    }

    fn remove(&mut self, id: u16) -> (Reply, Option<Removal>) {
        let node = self.name_of(id);
        let answer = self.membership.remove(id, clock::now());
        self.settle();
        match answer {
            Ok(removal) => {
                let done = removal == Removal::Done;
                (Reply::ok(&Departure { node, id, done }), Some(removal))
            }
            Err(refused) => (Reply::Error(refused.to_string()), None),
        }
    }

    /// The id of the node that an operator means, by its name or id.
    pub(super) fn id_of(&self, node: &str) -> Result<u16, String> {
        let members = self.membership.members();
        lookup::id_of(members.map(|member| (member.id, member.hello.name.as_str())), node)
    }
}
