//! A service with a state, as a hot standby is for: it counts and adds up what it is sent, and says so when it is asked. And what
//! sends it numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{lab::Lab, net::in_netns, worker::Worker};

/// The port of the service.
pub const PORT: u16 = 5000;
/// A datagram begins with its number, big-endian; the answer repeats it and appends the node's.
const NUMBER_LEN: usize = 8;
/// The length of every so manyth datagram, more than a frame takes.
const LONG: usize = 4000;
const LONG_EVERY: u64 = 16;
const LONGEST: usize = 65_507;
const RECEIVE_BUFFER: usize = 32 << 20;
const LOOK: Duration = Duration::from_millis(50);
/// What answers may take after the last datagram.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// What a service knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct State {
    /// Datagrams.
    pub count: u64,
    /// Of their numbers.
    pub sum: u64,
    /// Datagrams whose number had come before.
    pub doubles: u64,
}

#[derive(Default, Debug)]
struct Heard {
    state: State,
    numbers: BTreeSet<u64>,
}

/// The service of one node. Dropping it stops it.
#[derive(Debug)]
pub struct Tally {
    heard: Arc<Mutex<Heard>>,
    _threads: [Worker<()>; 2],
}

impl Tally {
    /// Serves the VIP at node `node`, and answers questions at that node's own `address`.
    pub fn start(lab: &Lab, node: u8, vip: IpAddr, address: IpAddr) -> Result<Self> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let [data, questions] =
            [vip, address].map(|at| in_netns(&lab.node_netns(node), || bind(SocketAddr::new(at, PORT))));
        let (data, questions) = (data?, questions?);
        let (hearing, telling) = (Arc::clone(&heard), Arc::clone(&heard));
        let hears = Worker::start(&format!("tally-{node}"), move |order| {
            let mut packet = vec![0; LONGEST];
            while !order.is_to_end() {
                if let Ok((len, client)) = data.recv_from(&mut packet)
                    && let Some(number) = packet[..len].first_chunk::<NUMBER_LEN>()
                {
                    take_in(&mut locked(&hearing), u64::from_be_bytes(*number));
                    // On a standby it does not leave, and the socket hears of that.
                    let _ = data.send_to(&[&number[..], &[node]].concat(), client);
                }
            }
        });
        let tells = Worker::start(&format!("state-{node}"), move |order| {
            while !order.is_to_end() {
                if let Ok((_, client)) = questions.recv_from(&mut [0; 16]) {
                    let State { count, sum, doubles } = locked(&telling).state;
                    // Who asks asks again.
                    let _ = questions.send_to(&[count, sum, doubles].map(u64::to_be_bytes).concat(), client);
                }
            }
        });
        Ok(Self { heard, _threads: [hears?, tells?] })
    }

    /// The numbers that have come.
    pub fn numbers(&self) -> BTreeSet<u64> {
        locked(&self.heard).numbers.clone()
    }
}

fn take_in(heard: &mut Heard, number: u64) {
    heard.state.count += 1;
    heard.state.sum += number;
    heard.state.doubles += u64::from(!heard.numbers.insert(number));
}

/// Asks the service of the node at this address, from the client.
pub fn state_at(lab: &Lab, address: IpAddr) -> Result<State> {
    let socket = in_netns(&lab.client_netns(), || open(address))?;
    socket.send_to(b"state", (address, PORT))?;
    let mut answer = [0; 24];
    let len = socket.recv(&mut answer).context("no answer to the question for the state")?;
    let number = |index: usize| Some(u64::from_be_bytes(*answer[..len].get(8 * index..)?.first_chunk()?));
    let state = || Some(State { count: number(0)?, sum: number(1)?, doubles: number(2)? });
    state().context("an answer that is too short")
}

/// Sends numbers, one after the other, to the service at the VIP, some in datagrams that take several frames. Dropping it stops it.
#[derive(Debug)]
pub struct Feeder {
    sent: Arc<AtomicU64>,
    answers: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
    thread: Worker<()>,
}

/// What a feeder has sent and heard.
#[derive(Debug)]
pub struct Fed {
    /// The highest number.
    pub sent: u64,
    /// The nodes that have answered, by number.
    pub answers: BTreeMap<u64, Vec<u8>>,
}

impl Feeder {
    /// Sends from the client, from the number after `last` on, one in each `period`.
    pub fn start(lab: &Lab, vip: IpAddr, last: u64, period: Duration) -> Result<Self> {
        let socket = in_netns(&lab.client_netns(), || open(vip))?;
        let (sent, answers) = (Arc::new(AtomicU64::new(last)), Arc::new(Mutex::new(BTreeMap::new())));
        let (count, heard) = (Arc::clone(&sent), Arc::clone(&answers));
        socket.set_nonblocking(true)?;
        let thread = Worker::start("feeder", move |order| {
            let mut number = last;
            while !order.is_to_end() {
                number += 1;
                let len = if number.is_multiple_of(LONG_EVERY) { LONG } else { NUMBER_LEN };
                let padding = iter::repeat_n(0, len - NUMBER_LEN);
                let datagram: Vec<u8> = number.to_be_bytes().into_iter().chain(padding).collect();
                // One that is not sent is lost, which the caller looks at.
                let _ = socket.send_to(&datagram, (vip, PORT));
                count.store(number, Ordering::Release);
                read_answers(&socket, &heard);
                thread::sleep(period);
            }
            thread::sleep(LAST_ANSWERS);
            read_answers(&socket, &heard);
        })?;
        Ok(Self { sent, answers, thread })
    }

    /// The highest number so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// The lowest number after `number` that this node has answered.
    pub fn answer_after(&self, number: u64, node: u8) -> Option<u64> {
        let answers = locked(&self.answers);
        answers.range(number + 1..).find(|(_, nodes)| nodes.contains(&node)).map(|(number, _)| *number)
    }

    /// Ends it, and waits for the last answers.
    pub fn finish(self) -> Fed {
        let Self { sent, answers, thread } = self;
        drop(thread);
        Fed { sent: sent.load(Ordering::Acquire), answers: locked(&answers).clone() }
    }
}

fn read_answers(socket: &UdpSocket, answers: &Mutex<BTreeMap<u64, Vec<u8>>>) {
    let mut answer = [0; NUMBER_LEN + 1];
    while let Ok(len) = socket.recv(&mut answer) {
        if let Some((number, [node])) = answer[..len].split_first_chunk::<NUMBER_LEN>() {
            locked(answers).entry(u64::from_be_bytes(*number)).or_default().push(*node);
        }
    }
}

fn open(peer: IpAddr) -> Result<UdpSocket> {
    let any: IpAddr = if peer.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(socket)
}

fn bind(address: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(LOOK))?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket.into())
}

/// What was written before a panic is as good as any: a number or two.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
