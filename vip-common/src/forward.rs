//! Stale forwarding: how a frame is marked that a node has sent on to the holder of its VIP.
//!
//! A node that gets such a frame does not send it on again, whomever it takes for the holder. So a frame is sent on once
//! at most, and no loop can arise.

/// Source address of the frames that `node` sends on. Locally administered, and of the quadrant that is free for any use
/// (IEEE 802c): no network card and no registered protocol has it. `cluster` is the hash of the cluster's name.
#[inline(always)]
pub const fn source_of(cluster: u32, node: u16) -> [u8; 6] {
    let [_, a, b, c] = cluster.to_be_bytes();
    let [high, low] = node.to_be_bytes();
    [FREE_FOR_ANY_USE, a, b, c, high, low]
}

/// Whether some node of the cluster has sent a frame on that has this source address.
#[inline(always)]
pub const fn was_sent_on(source: [u8; 6], cluster: u32) -> bool {
    let [_, a, b, c] = cluster.to_be_bytes();
    source[0] == FREE_FOR_ANY_USE && source[1] == a && source[2] == b && source[3] == c
}

/// An individual address, locally administered, reserved quadrant: its last hexadecimal digit is 6.
const FREE_FOR_ANY_USE: u8 = 0x76;

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: u32 = 0x1234_5678;

    #[test]
    fn a_source_is_an_individual_and_local_address_of_one_node_of_one_cluster() {
        let source = source_of(EDGE, 0x0a0b);
        assert_eq!((source[0] & 1, source[0] & 2), (0, 2));
        assert_ne!(source, source_of(EDGE, 0x0a0c));
        assert_ne!(source, source_of(EDGE + 1, 0x0a0b));
    }

    #[test]
    fn every_node_of_the_cluster_sees_that_a_frame_was_sent_on_and_no_other_does() {
        for node in [1, 0x00ff, 0xff00, u16::MAX] {
            assert!(was_sent_on(source_of(EDGE, node), EDGE));
            assert!(!was_sent_on(source_of(EDGE, node), EDGE + 1));
        }
        for card in [[0; 6], [0xff; 6], [0x52, 0x54, 0, 0x34, 0x56, 0x78], [0x02, 0x34, 0x56, 0x78, 0, 1]] {
            assert!(!was_sent_on(card, EDGE));
        }
    }
}
