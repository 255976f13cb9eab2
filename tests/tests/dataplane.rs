//! The real XDP program, run on frames by the kernel (BPF_PROG_TEST_RUN): frame in; action, frame and counter out.
//!
//! Every test loads a program of its own, with maps of its own, so that tests know nothing of each other. Root only.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails like the test"
)]

mod dataplane {
    mod adoption;
    mod answers;
    mod arp;
    mod attachment;
    mod authenticity;
    mod differential;
    mod egress;
    mod forwarding;
    mod frames;
    mod handover;
    mod interfaces;
    mod ipv4;
    mod ipv6;
    mod membership;
    mod messages6;
    mod ndp;
    mod node;
    mod pins;
    mod races;
    mod records;
    mod requests;
    mod resume;
    mod tables;
    mod tee;
    mod user_plane;
    mod virtual_mac;
    mod vrrp;
}
