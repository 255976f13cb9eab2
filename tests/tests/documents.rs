//! The commands of documents, run as they are printed: on machines that are namespaces, with what stands there for systemd, apt
//! and ssh. A document that does not work any more fails here.

mod documents {
    mod haproxy;
    mod machine;
    mod script;
}
