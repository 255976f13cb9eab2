//! placeholder
fn main() { println!("{:?}", ebpf_build::build(std::path::Path::new("/tmp/ebpf-out"))); }
