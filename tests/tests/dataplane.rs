//! The real XDP program, run on frames by the kernel.
use vip_user::dataplane::{self, ProgramLog};

#[test]
fn loads() {
    let plane = dataplane::load(None, ProgramLog::Off).unwrap();
    let mut out = [0; 2048];
    let frame = [0; 64];
    assert_eq!(plane.program.run(&frame, &mut out).unwrap(), (dataplane::Action::Pass, 64));
}
