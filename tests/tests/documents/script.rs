//! What a document says is to be run, and where.

/// Lines of a shell, in one piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The machines that it is run on, one after the other.
    pub(crate) machines: Vec<String>,
    /// The heading that it stands under.
    pub(crate) heading: String,
    /// As it is printed.
    pub(crate) text: String,
}

/// The code blocks of a document that are marked as `sh` and with the names of machines, in their order.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut heading) = (Vec::new(), "");
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim();
        }
        let Some(mark) = line.strip_prefix("```") else { continue };
        let text: String =
            lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        if let Some(machines) = mark.strip_prefix("sh ") {
            let machines = machines.split(' ').map(str::to_owned).collect();
            blocks.push(Block { machines, heading: heading.to_owned(), text });
        }
    }
    blocks
}

/// Input: a document with one block for two machines, which has a line like a heading, and one that is not to be run.
/// Expected: the former, as it is printed, under the heading before it.
#[test]
fn blocks_are_those_that_name_machines() {
    let document = "# Title\n\n## One\n\n```sh lb1 lb2\n# a comment\ntrue\n```\n\n```\nshown\n```\n";
    let expected = Block {
        machines: vec!["lb1".to_owned(), "lb2".to_owned()],
        heading: "One".to_owned(),
        text: "# a comment\ntrue\n".to_owned(),
    };
    assert_eq!(blocks(document), [expected]);
}
