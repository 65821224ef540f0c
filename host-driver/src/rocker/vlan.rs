//! How frames keep their tags on their way through a device that puts a tag on every one.
//!
//! A frame without an outer 0x8100 tag gets the tag [`INTERNAL`] in the VLAN table and loses it
//! again in the group that sends it (`POP_VLAN`); a frame with one keeps it and leaves by a group
//! that pops nothing. VLAN 4095 is reserved by 802.1Q (table 9-2) and never on a wire; a frame that
//! comes tagged with exactly 4095, priority 0, could not be told from an untagged one and is
//! dropped by the device.

/// VLAN that stands for "no tag" within the device.
pub(crate) const INTERNAL: u16 = 0x0fff;

/// VLAN in the numbers of groups that send frames with the tag they came with. Groups do not look
/// at the tag, so one serves all VLANs.
pub(crate) const CARRIED: u16 = 1;

/// VLAN that the device can push: 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NewVlan(u16);

impl NewVlan {
    /// The VLAN of a tag to push, if the device can: a priority cannot be given, nor 0 or 4095.
    pub(crate) fn new(tci: u16) -> Option<Self> {
        (1..INTERNAL).contains(&tci).then_some(Self(tci))
    }

    /// The VLAN.
    pub(crate) const fn number(self) -> u16 {
        self.0
    }
}

/// How a group lets frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Leaving {
    /// Without the outer tag (their own or [`INTERNAL`]).
    Stripped,
    /// With the tag they came with.
    Carried,
    /// With this tag in the place of [`INTERNAL`].
    Tagged(NewVlan),
}

impl Leaving {
    /// VLAN in the numbers of the groups.
    pub(crate) const fn label(self) -> u16 {
        match self {
            Self::Stripped => INTERNAL,
            Self::Carried => CARRIED,
            Self::Tagged(vlan) => vlan.0,
        }
    }

    /// Whether the outer tag is taken off.
    pub(crate) const fn pops(self) -> bool {
        matches!(self, Self::Stripped)
    }
}

/// A flow of the VLAN table.
///
/// Each compares at least one bit: a rule with a VLAN and a zero mask, met by an untagged frame,
/// crashes QEMU, and none can be expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Frames without an outer tag; they get the tag [`INTERNAL`]. Frames tagged with TCI 0 too,
    /// which keep their tag.
    Untagged,
    /// Frames with this bit of the TCI set. The 16 bits admit every tag but TCI 0.
    TciBit(TciBit),
    /// Frames tagged with exactly [`INTERNAL`]: dropped.
    Reserved,
}

/// One bit of a TCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TciBit(u16);

impl TciBit {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|shift| Self(1 << shift))
    }
}

impl Admission {
    /// The flows that let in every frame of a port, dropping [`INTERNAL`] alone.
    pub(crate) fn every_frame() -> impl Iterator<Item = Self> {
        [Self::Untagged, Self::Reserved].into_iter().chain(TciBit::all().map(Self::TciBit))
    }

    /// TCI and mask compared; the mask is never 0.
    pub(crate) const fn tci(self) -> (u16, u16) {
        match self {
            Self::Untagged => (0, 0xffff),
            Self::TciBit(bit) => (bit.0, bit.0),
            Self::Reserved => (INTERNAL, 0xffff),
        }
    }

    /// Tag to insert.
    pub(crate) const fn inserts(self) -> Option<u16> {
        match self {
            Self::Untagged => Some(INTERNAL),
            Self::TciBit(_) | Self::Reserved => None,
        }
    }

    /// Whether the frame goes on.
    pub(crate) const fn admits(self) -> bool {
        !matches!(self, Self::Reserved)
    }

    /// [`Admission::Reserved`] goes before the bits it consists of.
    pub(crate) const fn priority(self) -> u32 {
        match self {
            Self::Untagged | Self::TciBit(_) => 1,
            Self::Reserved => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flow that takes a TCI, as the device chooses.
    fn taken(tci: u16) -> Option<Admission> {
        let hit = |rule: &Admission| tci & rule.tci().1 == rule.tci().0;
        Admission::every_frame().filter(hit).max_by_key(|rule| rule.priority())
    }

    #[test]
    fn every_tag_is_admitted_but_the_reserved_one() {
        for tci in 0..=u16::MAX {
            let admitted = taken(tci).is_some_and(Admission::admits);
            assert_eq!(admitted, tci != INTERNAL, "{tci:#x}");
        }
    }

    #[test]
    fn an_untagged_frame_meets_the_inserting_rule_only() {
        for rule in Admission::every_frame() {
            let (tci, mask) = rule.tci();
            assert_ne!(mask, 0);
            assert_eq!(tci == 0, rule == Admission::Untagged, "{rule:?}");
            assert_eq!(rule.inserts().is_some(), rule == Admission::Untagged);
        }
    }

    #[test]
    fn vlan_0_4095_and_priorities_cannot_be_pushed() {
        for tci in [0, 0x0fff, 0x1000, 0x2005, 0xffff] {
            assert_eq!(NewVlan::new(tci), None, "{tci:#x}");
        }
        assert_eq!(NewVlan::new(4094).map(NewVlan::number), Some(4094));
    }
}
