//! Operations under way, by tag: tags ascend, so they stand in a queue.

use crate::ledger::Op;
use std::collections::VecDeque;
use twinpath_flow::card::OpTag;
use twinpath_flow::time::Time;

/// Operations handed out and not ended.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// Tag of the first.
    first: u64,
    /// `None` for those that have ended; never the first.
    queue: VecDeque<Option<(Op, Time)>>,
    len: usize,
}

impl UnderWay {
    /// None; the next tag is `first`.
    pub(crate) const fn new(first: u64) -> Self {
        Self { first, queue: VecDeque::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds one.
    ///
    /// # Panics
    /// When its tag is not the next.
    pub(crate) fn push(&mut self, tag: OpTag, op: Op, now: Time) {
        assert_eq!(tag.0, self.first + self.queue.len() as u64, "tags are handed out in order");
        self.queue.push_back(Some((op, now)));
        self.len += 1;
    }

    /// Ends one; `None` when it is not under way.
    pub(crate) fn end(&mut self, tag: OpTag) -> Option<Op> {
        let index = usize::try_from(tag.0.checked_sub(self.first)?).ok()?;
        let (op, _) = self.queue.get_mut(index)?.take()?;
        self.len -= 1;
        while self.queue.pop_front_if(|first| first.is_none()).is_some() {
            self.first += 1;
        }
        Some(op)
    }

    /// When the oldest was handed out.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.queue.front()?.map(|(_, since)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::card::EntryId;

    #[test]
    fn operations_end_once_in_any_order() {
        let mut ops = UnderWay::new(7);
        for tag in 7..10 {
            ops.push(OpTag(tag), Op::Add(EntryId(1)), Time(tag));
        }
        assert_eq!(ops.end(OpTag(8)), Some(Op::Add(EntryId(1))));
        assert_eq!((ops.end(OpTag(8)), ops.end(OpTag(6)), ops.end(OpTag(10))), (None, None, None));
        assert_eq!((ops.oldest(), ops.len()), (Some(Time(7)), 2));
        ops.end(OpTag(7));
        assert_eq!(ops.oldest(), Some(Time(9)));
        ops.end(OpTag(9));
        assert_eq!((ops.oldest(), ops.len()), (None, 0));
        ops.push(OpTag(10), Op::Release(EntryId(1)), Time(0));
    }
}
