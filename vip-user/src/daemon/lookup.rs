//! Which node an operator means, by its name or its id.

/// Where the nodes' names and ids are to be found.
pub(super) const SEE: &str = "`vip-user members` lists the nodes";

/// The id of the node that is called `node` among these, or else `node` itself, if it is an id: that may be one of a
/// node that nobody has heard yet.
///
/// # Errors
/// That no node, or more than one, is called so, and what to do.
pub(super) fn id_of<'a>(names: impl Iterator<Item = (u16, &'a str)>, node: &str) -> Result<u16, String> {
    let mut namesakes = names.filter(|(_, name)| *name == node).map(|(id, _)| id);
    match (namesakes.next(), namesakes.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(format!("several nodes are called {node}: name one by its id, {SEE}")),
        (None, _) => node.parse().map_err(|_| unknown(node)),
    }
}

/// That there is no such node, and what to do.
pub(super) fn unknown(node: &str) -> String {
    format!("there is no node {node:?}; {SEE}")
}
