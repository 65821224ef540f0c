//! The entries of one flow: mostly one.

use twinpath_flow::card::EntryId;

/// Identities of entries, in the order of their making.
#[derive(Debug, Default)]
pub(crate) enum EntryList {
    /// No entry.
    #[default]
    None,
    /// One, as most flows have.
    One(EntryId),
    /// Several, or one left of several.
    #[expect(clippy::box_collection, reason = "a flow without specialisations pays 8 bytes for it")]
    Many(Box<Vec<EntryId>>),
}

impl EntryList {
    pub(crate) fn as_slice(&self) -> &[EntryId] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, EntryId> {
        self.as_slice().iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn push(&mut self, id: EntryId) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, id])),
            Self::Many(ids) => ids.push(id),
        }
    }

    pub(crate) fn remove(&mut self, id: EntryId) {
        match self {
            Self::One(only) if *only == id => *self = Self::None,
            Self::Many(ids) => {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_and_go_in_their_order() {
        let mut list = EntryList::default();
        assert!(list.is_empty());
        (1..=3).for_each(|id| list.push(EntryId(id)));
        list.remove(EntryId(2));
        list.remove(EntryId(9));
        assert_eq!(list.as_slice(), [EntryId(1), EntryId(3)]);
        list.remove(EntryId(1));
        list.remove(EntryId(3));
        assert!(list.is_empty());
        assert_eq!(size_of::<EntryList>(), 16);
    }
}
