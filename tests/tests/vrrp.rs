//! VRRP beside other programs that speak it: real daemons, and keepalived, on virtual wires.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper of a test fails like the test")]

mod vrrp {
    mod beside;
    mod capture;
    mod case;
    mod frr;
    mod keepalived;
    mod moving;
    mod mute;
    mod programs;
    mod three;
}

use std::time::Duration;

/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);
