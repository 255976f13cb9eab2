//! The frames that the program keeps while a lease changes hands: a perf buffer for each processor.

use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use aya::maps::{MapData, PerfEventArray};
use aya::util::online_cpus;

use super::{Error, KEPT, Maps};

/// Pages of each buffer, a power of two: half a megabyte, a few thousand small frames or a few hundred large ones.
const PAGES: usize = 128;

/// The frames that are kept. What does not fit is lost.
pub struct Kept {
    buffers: Vec<PerfEventArrayBuffer<MapData>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl Kept {
    pub(super) fn open(maps: &mut Maps<'_>) -> Result<Self, Error> {
        let failed = |error: String| Error::Load(format!("buffers for frames in a handover: {error}"));
        let mut map = PerfEventArray::try_from(maps.take(KEPT)?).map_err(Error::map(KEPT))?;
        let cpus = online_cpus().map_err(|(file, error)| failed(format!("{file}: {error}")))?;
        let buffers = cpus.into_iter().map(|cpu| map.open(cpu, Some(PAGES)));
        Ok(Self { buffers: buffers.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))? })
    }

    /// Takes all frames out, each with the slot of its group; those of one processor in the order in which they came.
    pub fn drain(&mut self, mut each: impl FnMut(u32, Vec<u8>)) {
        for buffer in &mut self.buffers {
            buffer.for_each(|event| {
                if let PerfEvent::Sample { head, tail } = event
                    && let Some((slot, frame)) = read(&[head, tail].concat())
                {
                    each(slot, frame);
                }
            });
        }
    }
}

/// A record is a [`KeptHead`](vip_common::maps::KeptHead), the frame, and padding.
fn read(record: &[u8]) -> Option<(u32, Vec<u8>)> {
    let (slot, rest) = record.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_ne_bytes(*len)).ok()?;
    Some((u32::from_ne_bytes(*slot), rest.get(..len)?.to_vec()))
}
