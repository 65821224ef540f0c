//! The steps of a flow folded into one edit followed by outputs: the form a card can hold.

use crate::field::Field;
use crate::key::Key;
use crate::port::PortNo;
use crate::steps::{Flow, Step};

/// A VLAN tag to push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// TPID.
    pub tpid: u16,
    /// TCI without the present bit: pcp, DEI 0, vid.
    pub tci: u16,
}

/// One edit and the outputs that all see its result.
///
/// Order of application: TTL, masked sets, pops, tag rewrite, pushes; then outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Edit {
    /// Bits written by masked sets, in key layout; VLAN and TTL bits are not here but below, except
    /// a plain TTL set. Includes [`Field::TunId`], [`Field::TunDst`], [`Field::Qfi`].
    pub set_mask: Key,
    /// New bits; none outside `set_mask`.
    pub set_value: Key,
    /// Decrements after any TTL set, 0 when none.
    pub ttl_decrements: u8,
    /// Outer tags of the received frame removed, 0 to 2.
    pub pops: u8,
    /// Bits rewritten in the outermost remaining received tag: (value, mask); mask 0 when none.
    pub tci: (u16, u16),
    /// Tags pushed after that, innermost first; at most two.
    pub pushes: Vec<Tag>,
    /// Output ports in order; may hold tunnel ports.
    pub outputs: Vec<PortNo>,
    /// Copies for the controller ring.
    pub controller: bool,
}

/// Why the steps of a flow are not one edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FoldError {
    /// An edit comes after an output, so outputs see different packets.
    #[error("outputs see different edits")]
    EditAfterOutput,
    /// TTL is set after it was decremented, or the second tag is rewritten.
    #[error("the order of edits cannot be kept")]
    Order,
    /// More than two tags are pushed, or popped.
    #[error("too many tags")]
    Tags,
}

impl Edit {
    /// Folds the steps of `flow`.
    ///
    /// Trailing edits after the last output have no effect and are dropped.
    ///
    /// # Errors
    /// [`FoldError`] when the steps are not one edit followed by outputs.
    pub fn fold(flow: &Flow) -> Result<Self, FoldError> {
        let emits = |step: &Step| matches!(step, Step::Output(_) | Step::Controller { .. });
        let end = flow.steps.iter().rposition(emits).map_or(0, |last| last + 1);
        let mut edit = Self::default();
        for step in &flow.steps[..end] {
            if !emits(step) && (!edit.outputs.is_empty() || edit.controller) {
                return Err(FoldError::EditAfterOutput);
            }
            edit.fold_step(*step)?;
        }
        Ok(edit)
    }

    fn fold_step(&mut self, step: Step) -> Result<(), FoldError> {
        match step {
            Step::Output(port) => self.outputs.push(port),
            Step::Controller { .. } => self.controller = true,
            Step::Set { field: Field::VlanTci, value, mask } => self.set_tci(value, mask),
            Step::Set { field: Field::InnerVlanTci | Field::InnerVlanTpid, .. } => {
                return Err(FoldError::Order);
            }
            Step::Set { field, value, mask } => {
                if field == Field::IpTtl && self.ttl_decrements > 0 {
                    return Err(FoldError::Order);
                }
                let kept = self.set_value.get(field) & !mask;
                self.set_value.set(field, kept | value);
                self.set_mask.or_field(field, mask);
            }
            Step::DecTtl => self.ttl_decrements = self.ttl_decrements.saturating_add(1),
            Step::PushVlan(tpid) if self.pushes.len() < 2 => {
                self.pushes.push(Tag { tpid, tci: 0 });
            }
            Step::PopVlan if self.pushes.pop().is_some() => {}
            Step::PopVlan if self.pops < 2 => {
                self.pops += 1;
                self.tci = (0, 0);
            }
            Step::PushVlan(_) | Step::PopVlan => return Err(FoldError::Tags),
        }
        Ok(())
    }

    fn set_tci(&mut self, value: u128, mask: u128) {
        // The present bit is not a bit of the frame: DEI keeps its value.
        let (value, mask) = ((value & 0xefff) as u16, (mask & 0xefff) as u16);
        let tci = match self.pushes.last_mut() {
            Some(tag) => &mut tag.tci,
            None => {
                self.tci.1 |= mask;
                &mut self.tci.0
            }
        };
        *tci = (*tci & !mask) | (value & mask);
    }
}
