//! The MAC address that neighbours have a group's VIPs at, on whichever node, where `virtual_mac` asks for one. When the
//! group moves, the switches learn from one frame where it is, and nobody else has anything to learn.

/// Of a group in a cluster, by the hashes of their names. An individual address, locally administered, of the quadrant that
/// administrators assign (IEEE 802c: its last hexadecimal digit is 2).
pub(crate) const fn of(cluster: u32, group: u32) -> [u8; 6] {
    let [_, _, a, b] = cluster.to_be_bytes();
    let [_, c, d, e] = group.to_be_bytes();
    [ASSIGNED_BY_ADMINISTRATORS, a, b, c, d, e]
}

const ASSIGNED_BY_ADMINISTRATORS: u8 = 0x72;

#[cfg(test)]
mod tests {
    use vip_common::forward::was_sent_on;
    use vip_common::wire::name_hash;

    use super::*;

    #[test]
    fn each_group_of_each_cluster_has_an_individual_and_local_address_of_its_own() {
        let clusters = ["edge", "core"].map(name_hash);
        let groups = ["web", "mail"].map(name_hash);
        let mut all: Vec<_> =
            clusters.iter().flat_map(|cluster| groups.map(|group| of(*cluster, group))).collect();
        for mac in &all {
            assert_eq!((mac[0] & 1, mac[0] & 2), (0, 2), "{mac:x?}");
            assert!(clusters.iter().all(|cluster| !was_sent_on(*mac, *cluster)), "{mac:x?}");
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }
}
