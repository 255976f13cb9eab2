//! The body of a Hello whose tag was right: of a node of the cluster, but maybe one that is newer, broken or taken over.
//!
//! Promised: what decodes is in its ranges, encodes in no more bytes, and decodes to the same. A node that hears it, however
//! far it is itself, can still say Hello, goes to no older configuration, and comes to rest.

#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use vip_fuzz::{assert_plain, identity};
use vip_user::membership::{Action, Configuration, Durable, Hello, Membership, Sender, Stored};

const START: u64 = 1_000_000_000_000;
/// The most actions that follow from one event. A node that has more to do is going round in circles.
const MOST_ACTIONS: usize = 32;

fuzz_target!(|body: &[u8]| {
    match Hello::decode(body) {
        Ok(hello) => {
            let encoded = hello.encode().expect("what was decoded is in its ranges");
            assert!(encoded.len() <= body.len());
            assert_eq!(Hello::decode(&encoded).as_ref(), Ok(&hello));
            let first = Configuration::new(1, vec![1, 2, 3]).expect("a configuration");
            hear(&hello, Stored::default());
            hear(&hello, Stored { consent: Some(first.clone()), ..Stored::default() });
            hear(&hello, Stored { configuration: Some(first), ..Stored::default() });
        }
        Err(error) => assert_plain(&error.to_string()),
    }
});

/// Node 1 starts with `stored` and hears `hello` from node 2, again and again, and from node 3 meanwhile.
fn hear(hello: &Hello, stored: Stored) {
    let mut now = START;
    let mut node = Membership::new(identity(1, START), stored, now).expect("a valid start");
    act(&mut node, now);
    for round in 0..6 {
        let id = 2 + round % 2;
        let from = Sender { id, incarnation: START, address: Ipv4Addr::new(10, 0, 0, 2).into() };
        node.handle_hello(from, hello.clone(), now);
        act(&mut node, now);
        let deadline = node.next_deadline();
        assert!(deadline > now, "due at {deadline}, and it is {now}");
        now = deadline;
        node.handle_timeout(now);
        act(&mut node, now);
    }
}

/// Does what a daemon does, with a disk that never fails.
fn act(node: &mut Membership, now: u64) {
    let mut epoch = 0;
    for _ in 0..MOST_ACTIONS {
        match node.poll_action() {
            None => return,
            Some(Action::SendHello) => {
                node.hello().encode().expect("a node can always say Hello");
            }
            Some(Action::Adopt(configuration)) => {
                assert!(configuration.epoch() > epoch, "{configuration} after epoch {epoch}");
                epoch = configuration.epoch();
            }
            Some(Action::StoreConsent(consent)) => node.handle_stored(Durable::Consent(consent), now),
            Some(Action::StoreConfiguration(configuration)) => {
                node.handle_stored(Durable::Configuration(configuration), now);
            }
            Some(Action::StorePledge(pledge)) => node.handle_stored(Durable::Pledge(pledge), now),
            Some(Action::PeersChanged | Action::NameTaken(_) | Action::Member(..)) => {}
            Some(Action::Notice(notice)) => assert_plain(&notice.to_string()),
        }
    }
    panic!("more than {MOST_ACTIONS} actions at once");
}
