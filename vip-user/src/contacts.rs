//! Which nodes this one talks to by unicast, besides the multicast group.

/// How a message has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By the multicast group.
    Group,
    /// To this node's own address.
    Direct,
}
