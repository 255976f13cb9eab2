//! Has the kernel run a program on frame after frame in one system call.
//!
//! BPF_PROG_TEST_RUN gives each run the bytes that the run before has left, which are the answer where there is one. So it runs a
//! program of this bench, which puts the next frame in their place and calls the program that is measured (bpf_tail_call).

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use vip_tests::bpf::{self, ARRAY, Instruction, MAPPABLE};

/// Frames that a run of all of them takes.
pub(crate) const FRAMES: usize = 10_000;
/// Most bytes of a frame.
const LONGEST: usize = 1 << LONGEST_SHIFT;
const LONGEST_SHIFT: i32 = 7;

/// The frames, in memory that the kernel's program has as well.
pub(crate) struct Frames {
    map: OwnedFd,
    memory: NonNull<Replayed>,
    /// Of each frame.
    len: usize,
}

/// The value of the map.
#[repr(C)]
struct Replayed {
    /// Which of the frames is next.
    next: u64,
    reserved: [u64; 15],
    frames: [[u8; LONGEST]; FRAMES],
}

const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<Replayed>()).unwrap();

impl Frames {
    /// Room for frames of this length.
    pub(crate) fn new(len: usize) -> Result<Self> {
        ensure!((WORD..=LONGEST).contains(&len), "a frame of {len} bytes");
        let map = bpf::create_map(ARRAY, SIZE.get(), MAPPABLE)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: new memory, wherever the kernel finds room for it.
        let memory = unsafe { mmap(None, SIZE, access, MapFlags::MAP_SHARED, &map, 0) }.context("mmap")?;
        Ok(Self { map, memory: memory.cast(), len })
    }

    /// Makes the frames these.
    pub(crate) fn set(&mut self, frames: impl Iterator<Item = Vec<u8>>) {
        // SAFETY: mapped for as long as this lives; the program runs only when `Replay::time` has it run.
        let replayed = unsafe { self.memory.as_mut() };
        for (to, from) in replayed.frames.iter_mut().zip(frames) {
            to[..self.len].copy_from_slice(&from);
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; nobody else has the address.
        let _ = unsafe { munmap(self.memory.cast(), SIZE.get()) };
    }
}

/// A program that is to be run on frames.
pub(crate) struct Replay {
    program: OwnedFd,
    /// Empties when nobody has it open.
    _measured: OwnedFd,
}

impl Replay {
    /// `measured` is an XDP program as `bpf::load` loads them.
    pub(crate) fn new(frames: &Frames, measured: impl AsFd) -> Result<Self> {
        let measured = bpf::program_array(measured)?;
        let program = bpf::load("replay", &instructions(frames, &measured)?)?;
        Ok(Self { program, _measured: measured })
    }

    /// How long the program takes for each of the frames, with what it takes to put it there.
    pub(crate) fn time(&self, frames: &Frames) -> Result<Duration> {
        bpf::time(&self.program, &vec![0; frames.len], u32::try_from(FRAMES)?)
    }
}

const WORD: usize = size_of::<u64>();

/// What the registers hold.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const MAP: u8 = 2;
const INDEX: u8 = 3;
const REPLAYED: u8 = 6;
const NEXT: u8 = 7;
const PACKET: u8 = 8;
const END: u8 = 9;

fn instructions(frames: &Frames, measured: &OwnedFd) -> Result<Vec<Instruction>> {
    let (len, last) = (i32::try_from(frames.len)?, i32::try_from(FRAMES - 1)?);
    let first = i32::try_from(std::mem::offset_of!(Replayed, frames))?;
    let mut program = vec![
        instruction(LOAD_U32, PACKET, CONTEXT, DATA, 0),
        instruction(LOAD_U32, END, CONTEXT, DATA_END, 0),
        instruction(MOVE, RESULT, PACKET, 0, 0),
        instruction(ADD_NUMBER, RESULT, 0, 0, len),
        instruction(JUMP_UNLESS_GREATER, RESULT, END, 2, 0),
    ];
    program.extend(ABORT);
    program.extend(address(REPLAYED, MAP_VALUE, &frames.map)?);
    // After the last frame comes the first one.
    program.extend([
        instruction(LOAD_U64, NEXT, REPLAYED, 0, 0),
        instruction(JUMP_UNLESS_GREATER_NUMBER, NEXT, 0, 1, last),
        Instruction::set(NEXT, 0),
        instruction(MOVE, INDEX, NEXT, 0, 0),
        instruction(ADD_NUMBER, INDEX, 0, 0, 1),
        instruction(SHIFT_LEFT, NEXT, 0, 0, LONGEST_SHIFT),
        instruction(ADD, NEXT, REPLAYED, 0, 0),
        instruction(ADD_NUMBER, NEXT, 0, 0, first),
    ]);
    for offset in (0..frames.len - WORD).step_by(WORD).chain([frames.len - WORD]) {
        let offset = i16::try_from(offset)?;
        program.push(instruction(LOAD_U64, RESULT, NEXT, offset, 0));
        program.push(instruction(STORE_U64, PACKET, RESULT, offset, 0));
    }
    // Atomically, which waits until the stores before it are in the cache, as a driver's frames are: a load that takes of two
    // stores that are not would have to wait for them in the program that is measured.
    program.push(instruction(ATOMIC_U64, REPLAYED, INDEX, 0, EXCHANGE));
    program.extend(address(MAP, MAP_ITSELF, measured)?);
    program.extend([Instruction::set(INDEX, 0), instruction(CALL, 0, 0, 0, TAIL_CALL)]);
    program.extend(ABORT);
    Ok(program)
}

/// As in include/uapi/linux/bpf.h; offsets in `struct xdp_md` first.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const LOAD_U32: u8 = 0x61;
const LOAD_U64: u8 = 0x79;
const STORE_U64: u8 = 0x7b;
const ATOMIC_U64: u8 = 0xdb;
const EXCHANGE: i32 = 0xe1;
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x0f;
const ADD_NUMBER: u8 = 0x07;
const SHIFT_LEFT: u8 = 0x67;
const JUMP_UNLESS_GREATER: u8 = 0xbd;
const JUMP_UNLESS_GREATER_NUMBER: u8 = 0xb5;
const CALL: u8 = 0x85;
const TAIL_CALL: i32 = 12;
const LOAD_ADDRESS: u8 = 0x18;
const MAP_ITSELF: u8 = 1;
const MAP_VALUE: u8 = 2;

/// The end of a program that could not do its work: XDP_ABORTED.
const ABORT: [Instruction; 2] = [Instruction::set(RESULT, 0), Instruction::EXIT];

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: source << 4 | destination, offset, immediate }
}

/// The address of a map, or of its value.
fn address(destination: u8, what: u8, map: &OwnedFd) -> Result<[Instruction; 2]> {
    let low = instruction(LOAD_ADDRESS, destination, what, 0, bpf::number(map)?);
    Ok([low, instruction(0, 0, 0, 0, 0)])
}
