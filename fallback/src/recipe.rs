//! What flows do, kept once for all that do the same.

use crate::compiled::{Program, context};
use crate::prefetch::prefetch;
use std::collections::HashMap;
use std::sync::Arc;
use twinpath_flow::key::Key;
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, Step};

/// What makes recipes one: steps, rules and threshold; the ports they were compiled for; and what of
/// the match a tunnel's headers are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    steps: Vec<Step>,
    rules: Vec<RuleId>,
    ttl_threshold: Option<u8>,
    ports: u32,
    context: Option<Box<Key>>,
}

/// What a flow does with its packets: two cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Recipe {
    identity: Arc<Identity>,
    /// The steps, compiled.
    pub(crate) program: Program,
    users: u32,
}

impl Recipe {
    /// The steps.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.identity.steps
    }

    /// The rules its packets count on.
    pub(crate) fn rules(&self) -> &[RuleId] {
        &self.identity.rules
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
    free: Vec<u32>,
    numbers: HashMap<Arc<Identity>, u32>,
}

impl Recipes {
    /// The recipe of a flow, compiled for the ports of `epoch` when it is new. It has one user more.
    pub(crate) fn of(&mut self, flow: &Flow, (ports, epoch): (&PortTable, u32)) -> u32 {
        let context = context(flow, ports);
        let identity = Identity {
            steps: flow.steps.clone(),
            rules: flow.rules.clone(),
            ttl_threshold: flow.ttl_threshold,
            ports: epoch,
            context: (context != Key::ZERO).then(|| Box::new(context)),
        };
        if let Some(number) = self.numbers.get(&identity) {
            let recipe = self.recipes[*number as usize].as_mut();
            recipe.expect("numbers are of recipes that are used").users += 1;
            return *number;
        }
        let identity = Arc::new(identity);
        let program = Program::new(flow, ports);
        let recipe = Recipe { identity: Arc::clone(&identity), program, users: 1 };
        let number = self.free.pop().unwrap_or_else(|| {
            self.recipes.push(None);
            u32::try_from(self.recipes.len() - 1).expect("fewer recipes than flows")
        });
        self.recipes[number as usize] = Some(recipe);
        self.numbers.insert(identity, number);
        number
    }

    /// Places for recipes.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.recipes.len()
    }

    /// Asks for a recipe ahead of its use.
    #[inline(always)]
    pub(crate) fn touch(&self, number: u32) {
        if let Some(recipe) = self.recipes.get(number as usize) {
            prefetch(recipe);
        }
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
            self.numbers.remove(&recipe.identity);
            *place = None;
            self.free.push(number);
        }
    }
}
