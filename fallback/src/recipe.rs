//! What flows do, kept once for all that do the same, whichever rules they count on.

use crate::compiled::{Program, Rewrite, context};
use crate::shape::ShapeNumber;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use twinpath_flow::key::Key;
use twinpath_flow::parse::Layout;
use twinpath_flow::port::PortTable;
use twinpath_flow::steps::{Flow, Step};

/// No recipe.
const NONE: u32 = u32::MAX;

/// Most shapes of packets for which a recipe has a rewrite; others are edited operation by operation.
const SHAPES_MAX: usize = 16;

/// What makes recipes one: steps and threshold; the ports they were compiled for; and what of the
/// match a tunnel's headers are made of.
#[derive(Debug)]
struct Identity {
    steps: Box<[Step]>,
    ttl_threshold: Option<u8>,
    ports: u32,
    context: Option<Box<Key>>,
    /// Of all that and of no more.
    hash: u64,
}

/// What a flow does with its packets.
#[derive(Debug)]
pub(crate) struct Recipe {
    identity: Box<Identity>,
    /// The steps, compiled.
    pub(crate) program: Program,
    /// Its edits for shapes of packets after the second.
    others: Vec<Rewrite>,
    users: u32,
    /// Another with the same hash.
    next: u32,
}

impl Recipe {
    /// The steps.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.identity.steps
    }

    /// Packets at or below this TTL are exceptions.
    pub(crate) fn ttl_threshold(&self) -> Option<u8> {
        self.identity.ttl_threshold
    }
}

/// All recipes.
#[derive(Debug, Default)]
pub(crate) struct Recipes {
    recipes: Vec<Option<Recipe>>,
    /// The edits of each for the shape of packets seen first.
    firsts: Vec<Rewrite>,
    /// For the second; as many as there are recipes that have seen one, and those before them.
    seconds: Vec<Rewrite>,
    free: Vec<u32>,
    /// The last that was asked for, if it is still there: flows that come together often do the same.
    latest: usize,
    /// The first of those with a hash.
    numbers: HashMap<u64, u32, FixedState>,
}

impl Recipes {
    /// The recipe of a flow, compiled for the ports of `epoch` when it is new. It has one user more.
    pub(crate) fn of(&mut self, flow: &Flow, (ports, epoch): (&PortTable, u32)) -> u32 {
        let context = context(flow, ports);
        let asked = (&*flow.steps, flow.ttl_threshold, epoch, context.as_ref());
        if let Some(Some(recipe)) = self.recipes.get_mut(self.latest)
            && recipe.identity.matches(asked)
        {
            recipe.users += 1;
            return u32::try_from(self.latest).expect("a recipe's number");
        }
        let number = self.find_or_make(flow, (ports, epoch), context);
        self.latest = number as usize;
        number
    }

    fn find_or_make(
        &mut self,
        flow: &Flow,
        (ports, epoch): (&PortTable, u32),
        context: Option<Key>,
    ) -> u32 {
        let asked = (&*flow.steps, flow.ttl_threshold, epoch, context.as_ref());
        let hash = self.numbers.hasher().hash_one(asked);
        let first = self.numbers.get(&hash).copied().unwrap_or(NONE);
        let mut number = first;
        // Ends: each recipe is in one chain once.
        while number != NONE {
            let recipe = self.at_mut(number);
            if recipe.identity.matches(asked) {
                recipe.users += 1;
                return number;
            }
            number = recipe.next;
        }
        let identity = Box::new(Identity {
            steps: (*flow.steps).into(),
            ttl_threshold: flow.ttl_threshold,
            ports: epoch,
            context: context.map(Box::new),
            hash,
        });
        let program = Program::new(flow, ports);
        let recipe = Recipe { identity, program, others: Vec::new(), users: 1, next: first };
        let number = self.free.pop().unwrap_or_else(|| {
            self.recipes.push(None);
            self.firsts.push(Rewrite::NEVER);
            u32::try_from(self.recipes.len() - 1).expect("fewer recipes than flows")
        });
        self.recipes[number as usize] = Some(recipe);
        self.numbers.insert(hash, number);
        number
    }

    /// Places for recipes.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.recipes.len()
    }

    /// Asks for the edits of a recipe ahead of their use.
    #[inline(always)]
    pub(crate) fn touch(&self, number: u32) {
        if let Some(rewrite) = self.firsts.get(number as usize) {
            rewrite.touch();
        }
    }

    /// What a recipe does with packets of a shape, if that is one of the two it has seen first.
    #[inline(always)]
    pub(crate) fn usual(&self, number: u32, shape: ShapeNumber) -> Option<&Rewrite> {
        let first = &self.firsts[number as usize];
        if first.fits(shape) {
            return Some(first);
        }
        self.seconds.get(number as usize).filter(|rewrite| rewrite.fits(shape))
    }

    /// What a recipe in use does with packets of any shape; compiled for `layout` when it is new.
    pub(crate) fn any(&mut self, number: u32, shape: ShapeNumber, layout: &Layout) -> &Rewrite {
        let recipe = self.recipes[number as usize].as_mut().expect("a flow uses it");
        let first = &mut self.firsts[number as usize];
        if first.is_free() && shape != ShapeNumber::UNKNOWN {
            *first = recipe.program.rewrite(shape, layout);
        }
        if first.fits(shape) {
            return first;
        }
        if self.seconds.len() <= number as usize {
            self.seconds.resize(number as usize + 1, Rewrite::NEVER);
        }
        let second = &mut self.seconds[number as usize];
        if second.is_free() && shape != ShapeNumber::UNKNOWN {
            *second = recipe.program.rewrite(shape, layout);
        }
        if second.fits(shape) {
            return second;
        }
        let mut others = recipe.others.iter();
        let place = others.position(|rewrite| rewrite.fits(shape)).unwrap_or(recipe.others.len());
        let is_new = place == recipe.others.len() && shape != ShapeNumber::UNKNOWN;
        if is_new && place < SHAPES_MAX {
            recipe.others.push(recipe.program.rewrite(shape, layout));
        }
        recipe.others.get(place).unwrap_or(&Rewrite::NEVER)
    }

    /// A recipe in use.
    ///
    /// # Panics
    /// No flow uses it.
    #[inline(always)]
    pub(crate) fn at(&self, number: u32) -> &Recipe {
        self.recipes[number as usize].as_ref().expect("a flow uses it")
    }

    /// A recipe in use, whose program is to run.
    ///
    /// # Panics
    /// No flow uses it.
    #[inline(always)]
    pub(crate) fn at_mut(&mut self, number: u32) -> &mut Recipe {
        self.recipes[number as usize].as_mut().expect("a flow uses it")
    }

    /// A flow less uses it; without any it goes.
    pub(crate) fn release(&mut self, number: u32) {
        let place = &mut self.recipes[number as usize];
        let Some(recipe) = place else { return };
        recipe.users -= 1;
        if recipe.users == 0 {
            let (hash, next) = (recipe.identity.hash, recipe.next);
            *place = None;
            self.firsts[number as usize] = Rewrite::NEVER;
            if let Some(second) = self.seconds.get_mut(number as usize) {
                *second = Rewrite::NEVER;
            }
            self.free.push(number);
            self.unchain(hash, number, next);
        }
    }

    /// Takes a recipe that is gone, before `next`, out of its chain.
    fn unchain(&mut self, hash: u64, number: u32, next: u32) {
        let Some(first) = self.numbers.get_mut(&hash) else { return };
        if *first != number {
            let mut before = *first;
            // Ends: the recipe is in this chain, further on.
            while self.at(before).next != number {
                before = self.at(before).next;
            }
            self.at_mut(before).next = next;
        } else if next == NONE {
            self.numbers.remove(&hash);
        } else {
            *first = next;
        }
    }
}

impl Identity {
    /// Whether it is what is asked for.
    fn matches(
        &self,
        (steps, ttl_threshold, ports, context): (&[Step], Option<u8>, u32, Option<&Key>),
    ) -> bool {
        *self.steps == *steps
            && (self.ttl_threshold, self.ports) == (ttl_threshold, ports)
            && self.context.as_deref() == context
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::key::MaskedKey;
    use twinpath_flow::port::PortNo;

    fn flow(port: u16) -> Flow {
        let steps = vec![Step::Output(PortNo(port))];
        Flow { matching: MaskedKey::default(), steps, ttl_threshold: None, rules: Vec::new() }
    }

    #[test]
    fn equal_steps_share_a_recipe_until_the_last_user_is_gone() {
        let ports = PortTable::default();
        let mut recipes = Recipes::default();
        let first = recipes.of(&flow(1), (&ports, 0));
        assert_eq!(recipes.of(&flow(1), (&ports, 0)), first);
        assert_ne!(recipes.of(&flow(1), (&ports, 1)), first);
        recipes.release(first);
        assert_eq!(recipes.of(&flow(1), (&ports, 0)), first);
        recipes.release(first);
        recipes.release(first);
        assert_eq!(recipes.of(&flow(2), (&ports, 0)), first);
        assert_eq!(recipes.at(first).steps(), flow(2).steps);
    }

    #[test]
    fn recipes_of_one_hash_are_told_apart_and_leave_alone() {
        let ports = PortTable::default();
        let mut recipes = Recipes::default();
        let numbers: Vec<u32> = (1..4).map(|port| recipes.of(&flow(port), (&ports, 0))).collect();
        // As if all had one hash.
        recipes.numbers.clear();
        for (number, next) in [(0, NONE), (1, 0), (2, 1)] {
            recipes.at_mut(number).identity.hash = 9;
            recipes.at_mut(number).next = next;
        }
        recipes.numbers.insert(9, 2);
        recipes.release(numbers[1]);
        assert_eq!(recipes.at(2).next, 0);
        recipes.release(numbers[2]);
        assert_eq!(recipes.numbers.get(&9), Some(&0));
        recipes.release(numbers[0]);
        assert!(recipes.numbers.is_empty());
    }
}
