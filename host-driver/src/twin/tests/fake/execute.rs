//! Commands of the card of few lines.

use super::{Fake, Stored};
use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::command::{Command, EntryRef, Holding, Operand, opcode};
use twinpath_abi::completion::{Counters, Status};
use twinpath_abi::entry::{ENTRY_BYTES, EntryImage, NO_ENTRY};
use twinpath_abi::hash;
use twinpath_abi::sweep::{RECORD_BYTES, Record};

impl Fake {
    fn operand<const N: usize>(&self, operand: Operand) -> [u8; N] {
        let Operand::Dma(address) = operand else { panic!("the driver uses DMA") };
        let mut bytes = [0; N];
        self.memory.copy_out(Iova(address), &mut bytes);
        bytes
    }

    fn stored(&mut self, at: EntryRef) -> Result<&mut Stored, Status> {
        let slot = self.tables[usize::from(at.table)][at.place as usize].as_mut();
        slot.filter(|stored| stored.image.id == at.id).ok_or(Status::NoEntry)
    }

    /// Takes an entry out and returns its counters.
    fn take(&mut self, at: EntryRef) -> Result<Counters, Status> {
        self.stored(at)?;
        let stored = self.tables[usize::from(at.table)][at.place as usize].take().unwrap();
        Ok(self.counters[stored.image.counter as usize].take().unwrap())
    }

    /// `Ok(None)`: the command is parked.
    pub(super) fn execute(
        &mut self,
        command: &Command,
        tag: u64,
    ) -> Result<Option<(Option<Counters>, u32)>, Status> {
        let done = Ok(Some((None, 0)));
        match *command {
            Command::SetMask { table, mask } => {
                if self.tables[usize::from(table)].iter().any(Option::is_some) {
                    return Err(Status::NotEmpty);
                }
                self.masks[usize::from(table)] = self.operand(mask);
                done
            }
            Command::Add { at, holding, image } => {
                self.add(at, holding, image)?;
                done
            }
            Command::Modify { at, image } => {
                let new = EntryImage::decode(&self.operand::<ENTRY_BYTES>(image)).unwrap();
                let stored = self.stored(at)?;
                (stored.image.set, stored.image.edit) = (new.set, new.edit);
                let counter = stored.image.counter as usize;
                Ok(Some((self.counters[counter], 0)))
            }
            Command::Delete { at, until: Some(until) } if until > self.generation => {
                self.stored(at)?.ends = Some((until, tag));
                self.endings += 1;
                Ok(None)
            }
            Command::Delete { at, .. } => Ok(Some((Some(self.take(at)?), 0))),
            Command::Move { at, target } => {
                self.stored(at)?;
                let table = &mut self.tables[usize::from(at.table)];
                assert!(table[target as usize].is_none(), "move onto an entry");
                table[target as usize] = table[at.place as usize].take();
                done
            }
            Command::Commit { generation, ends } => self.commit(generation, ends).and(done),
            Command::Release { at, indices } => {
                let indices: [u8; 64] = self.operand(indices);
                let (words, _) = indices.as_chunks::<4>();
                assert_eq!(u32::from_le_bytes(words[0]), self.transmitted[0]);
                let stored = self.stored(at)?;
                if std::mem::take(&mut stored.held) { done } else { Err(Status::NotHeld) }
            }
            Command::Sweep { first, address, length } => self.sweep(first, address, length),
            Command::SetPort(_) | Command::SetTunnel { .. } | Command::Nop => done,
            Command::ReadEntry { .. } => Err(Status::BadCommand),
        }
    }

    fn add(&mut self, at: EntryRef, holding: Holding, image: Operand) -> Result<(), Status> {
        let image = EntryImage::decode(&self.operand::<ENTRY_BYTES>(image)).unwrap();
        assert_eq!(image.id, at.id);
        if let Some(bank) = self.capability.banks.get(usize::from(at.table)) {
            let ways = (0..).zip(hash::ways(&image.matching));
            let mut slots = ways.map(|(way, h)| way * bank.slots + hash::slot(h, bank.slots));
            if at.place < 4 * bank.slots && !slots.any(|slot| slot == at.place) {
                return Err(Status::WrongPlace);
            }
        }
        let counter = self.counters.get_mut(image.counter as usize).ok_or(Status::BadCounter)?;
        let slot = &mut self.tables[usize::from(at.table)][at.place as usize];
        if slot.is_some() {
            return Err(Status::Occupied);
        }
        if counter.is_some() {
            return Err(Status::BadCounter);
        }
        *counter = Some(Counters::ZERO);
        *slot = Some(Stored { image, held: holding == Holding::Hold, ends: None });
        Ok(())
    }

    fn commit(&mut self, generation: u32, ends: Option<u32>) -> Result<(), Status> {
        if generation <= self.generation {
            return Err(Status::BadGeneration);
        }
        assert_eq!(ends, Some(std::mem::take(&mut self.endings)));
        self.generation = generation;
        for table in 0..self.tables.len() {
            for place in 0..self.tables[table].len() {
                let stored = self.tables[table][place].as_ref();
                let ends = stored.and_then(|stored| stored.ends);
                let Some((_, tag)) = ends.filter(|(until, _)| *until <= generation) else {
                    continue;
                };
                let stored = self.tables[table][place].take().unwrap();
                let counters = self.counters[stored.image.counter as usize].take();
                self.complete((tag, opcode::DELETE), Status::Done, counters, 0);
            }
        }
        Ok(())
    }

    fn sweep(
        &self,
        first: u32,
        address: u64,
        length: u32,
    ) -> Result<Option<(Option<Counters>, u32)>, Status> {
        let count = length / 32;
        for index in first..first + count {
            let owner = self.tables.iter().flatten().flatten();
            let owner = owner.into_iter().find(|stored| stored.image.counter == index);
            let record = Record {
                counters: self.counters[index as usize].unwrap_or(Counters::ZERO),
                entry: owner.map_or(NO_ENTRY, |stored| stored.image.id),
            };
            let to = Iova(address).plus(u64::from(index - first) * RECORD_BYTES as u64);
            self.memory.copy_in(to, &record.encode());
        }
        Ok(Some((None, count)))
    }
}
