//! What is to happen, by true time, and at one time in the order of planning.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of things to come. Their order depends on nothing but the calls made.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// When, in which order, and where in `places`. The things themselves stay where they are while the heap sorts.
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    places: Vec<Option<T>>,
    free: Vec<u32>,
    planned: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), planned: 0 }
    }

    /// Plans `thing` for true time `at`, in ns.
    pub(crate) fn plan(&mut self, at: u64, thing: T) {
        self.planned += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        self.places[place as usize] = Some(thing);
        self.heap.push(Reverse((at, self.planned, place)));
    }

    /// The next thing, if it is to happen by `until`, and when.
    pub(crate) fn next_until(&mut self, until: u64) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = *self.heap.peek().filter(|Reverse((at, ..))| *at <= until)?;
        self.heap.pop();
        self.free.push(place);
        Some((at, self.places[place as usize].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_by_time_and_then_in_the_order_of_planning() {
        let mut queue = Queue::new();
        for (at, thing) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            queue.plan(at, thing);
        }
        assert_eq!(queue.next_until(4), Some((3, 'a')));
        queue.plan(5, 'e');
        let rest: Vec<char> = std::iter::from_fn(|| queue.next_until(5)).map(|(_, thing)| thing).collect();
        assert_eq!(rest, ['b', 'c', 'd', 'e']);
        assert_eq!(queue.next_until(u64::MAX), None);
    }
}
