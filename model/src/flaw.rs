//! Guards of the protocol, each to be left out: what a search then finds is what the guard is for.

/// A guard of the protocol that is left out. Without a flaw, the real functions run; a flaw stands in the glue around
/// them, where it undoes what they did or lets through what they kept out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flaw {
    /// A holder serves the whole of the lease by its own clock.
    ServesWholeLease,
    /// Acceptors answer at once after losing their memory.
    SkipsQuarantine,
    /// Acceptors grant a lease while another node's runs.
    GrantsWhileHeld,
    /// The holder counts its lease from when an answer comes.
    StampsAnswers,
    /// The holder counts any answer for its latest proposal: it does not look at the echo of `sent_at`.
    CountsLatestStamp,
    /// A lease is given back first, and the word disarmed later.
    DisarmsLater,
    /// Answers extend a word that is disarmed.
    ExtendsDisarmed,
    /// Messages are taken again.
    TakesReplays,
    /// Messages of an earlier start of a daemon are taken.
    ForgetsIncarnations,
    /// Acceptors answer proposals of another configuration.
    IgnoresEpochs,
    /// Who gave its lease away stands again at once, whatever its own acceptor knows.
    GiverStands,
    /// Who gave its lease away does not tell its own acceptor.
    KeepsTransferFromOwnAcceptor,
    /// A request for a lease stays open while the node that made it proposes, holds and gives back.
    KeepsRequest,
    /// The new holder counts from when the grant comes.
    StampsGrant,
    /// Voters are changed as soon as a quorum has the configuration.
    ChangesAtOnce,
    /// Voters are changed two at a time.
    ChangesTwo,
    /// Pledges are said, and not on the disk.
    ForgetsPledges,
    /// Nodes answer nobody's Prepare, so that nobody is ever elected.
    NeverPromises,
}
