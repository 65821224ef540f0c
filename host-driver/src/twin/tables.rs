//! The card's tables: masks and places.

use super::placement::{Bank, Candidates, Move, Occupants, Shape};
use super::roster::{Life, Roster};
use twinpath_abi::hash;
use twinpath_flow::card::TableKind;
use twinpath_flow::key::Line;

/// Candidate places of a masked key in a bank of `rows` slots a way.
pub(crate) fn candidates(value: &Line, rows: u32) -> Candidates {
    let mut places = [0; hash::WAYS];
    for ((way, hash), place) in (0..).zip(hash::ways(&value.0)).zip(&mut places) {
        *place = way * rows + hash::slot(hash, rows);
    }
    places
}

/// A table of the card.
#[derive(Debug)]
pub(crate) enum Table {
    /// A bank: its mask once set, and its places.
    Exact {
        /// Mask; `None` until it is set.
        mask: Option<Line>,
        /// Shape.
        shape: Shape,
        /// Places.
        bank: Box<Bank>,
    },
    /// The ternary table: free places, the lowest last. Flows of one generation that overlap
    /// have the same fate, so any place is right.
    Ternary {
        /// Free places.
        free: Vec<u32>,
        /// Who has each place.
        owners: Vec<Option<u32>>,
    },
}

/// All tables, in the card's order.
#[derive(Debug)]
pub(crate) struct Tables {
    tables: Vec<Table>,
}

impl Occupants for Roster {
    fn candidates(&self, occupant: u32) -> Candidates {
        self.record(occupant).map_or_else(Candidates::default, |record| record.candidates)
    }

    fn movable(&self, occupant: u32) -> bool {
        self.record(occupant).is_some_and(|record| record.life == Life::Live)
    }
}

impl Tables {
    pub(crate) fn new(shapes: &[Shape], ternary: u32) -> Self {
        let exact = |shape: &Shape| Table::Exact {
            mask: None,
            shape: *shape,
            bank: Box::new(Bank::new(*shape)),
        };
        let mut tables: Vec<_> = shapes.iter().map(exact).collect();
        if ternary > 0 {
            let owners = vec![None; ternary as usize];
            tables.push(Table::Ternary { free: (0..ternary).rev().collect(), owners });
        }
        Self { tables }
    }

    /// Kind of a table, if there is one of that number.
    pub(crate) fn kind(&self, table: u8) -> Option<TableKind> {
        Some(match self.tables.get(usize::from(table))? {
            Table::Exact { .. } => TableKind::Exact,
            Table::Ternary { .. } => TableKind::Ternary,
        })
    }

    /// Mask of a bank, if it is one and has one.
    pub(crate) fn mask(&self, table: u8) -> Option<Line> {
        match self.tables.get(usize::from(table))? {
            Table::Exact { mask, .. } => *mask,
            Table::Ternary { .. } => None,
        }
    }

    /// Sets the mask of a bank, or forgets it.
    pub(crate) fn set_mask(&mut self, table: u8, wanted: Option<Line>) {
        if let Some(Table::Exact { mask, .. }) = self.tables.get_mut(usize::from(table)) {
            *mask = wanted;
        }
    }

    /// Places in use.
    pub(crate) fn used(&self, table: u8) -> u32 {
        match self.tables.get(usize::from(table)) {
            Some(Table::Exact { bank, .. }) => bank.used(),
            _ => 0,
        }
    }

    /// Candidate places of a masked key; `None` in the ternary table, where any place will do.
    pub(crate) fn candidates(&self, table: u8, value: &Line) -> Option<Candidates> {
        match self.tables.get(usize::from(table))? {
            Table::Exact { shape, .. } => Some(candidates(value, shape.rows)),
            Table::Ternary { .. } => None,
        }
    }

    /// Asks for the memory of candidate places.
    pub(crate) fn touch(&self, table: u8, candidates: Option<&Candidates>) {
        if let (Some(Table::Exact { bank, .. }), Some(places)) =
            (self.tables.get(usize::from(table)), candidates)
        {
            bank.touch(places);
        }
    }

    /// Finds a place for an entry with these candidates and takes it for `occupant`; `moves` come
    /// first.
    pub(crate) fn place(
        &mut self,
        table: u8,
        (occupant, candidates): (u32, Candidates),
        roster: &Roster,
        moves: &mut Vec<Move>,
    ) -> Option<u32> {
        moves.clear();
        match self.tables.get_mut(usize::from(table))? {
            Table::Exact { bank, .. } => bank.place(occupant, &candidates, roster, moves),
            Table::Ternary { free, owners } => {
                let place = free.pop()?;
                owners[place as usize] = Some(occupant);
                Some(place)
            }
        }
    }

    /// Takes a place in which the card already has `occupant`; its candidates, if the place was free
    /// and may be its.
    pub(crate) fn adopt(
        &mut self,
        (table, place): (u8, u32),
        occupant: u32,
        value: &Line,
    ) -> Option<Candidates> {
        match self.tables.get_mut(usize::from(table))? {
            Table::Exact { mask, shape, bank } => {
                let inside = mask.is_some_and(|mask| value.is_subset_of(&mask));
                let candidates = candidates(value, shape.rows);
                let stash = shape.ways * shape.rows;
                let may_live = place >= stash || candidates.contains(&place);
                (inside && may_live && bank.adopt(place, occupant)).then_some(candidates)
            }
            Table::Ternary { free, owners } => {
                let owner = owners.get_mut(place as usize)?;
                if owner.is_some() {
                    return None;
                }
                *owner = Some(occupant);
                free.retain(|other| *other != place);
                Some(Candidates::default())
            }
        }
    }

    /// Gives a place back.
    pub(crate) fn remove(&mut self, table: u8, place: u32) {
        match self.tables.get_mut(usize::from(table)) {
            Some(Table::Exact { bank, .. }) => bank.remove(place),
            Some(Table::Ternary { free, owners }) => {
                owners[place as usize] = None;
                free.push(place);
            }
            None => {}
        }
    }

    /// Places of a table; `None` when there is no table of that number.
    pub(crate) fn places(&self, table: u8) -> Option<u32> {
        Some(match self.tables.get(usize::from(table))? {
            Table::Exact { shape, .. } => shape.slots(),
            Table::Ternary { owners, .. } => u32::try_from(owners.len()).expect("from u32"),
        })
    }

    /// Who has a place, when all commands given so far are done.
    pub(crate) fn occupant(&self, table: u8, place: u32) -> Option<u32> {
        match self.tables.get(usize::from(table))? {
            Table::Exact { bank, .. } => bank.occupant(place),
            Table::Ternary { owners, .. } => *owners.get(place as usize)?,
        }
    }

    /// Says that an entry of the table became movable.
    pub(crate) fn unstick(&mut self, table: u8) {
        if let Some(Table::Exact { bank, .. }) = self.tables.get_mut(usize::from(table)) {
            bank.unstick();
        }
    }
}
