//! Steps without effect, taken out: sets that are overwritten or change nothing, and edits after
//! the last output.

use twinpath_flow::field::Field;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::steps::Step;

/// Takes out of `steps` what makes no difference to any packet of `matching`.
pub(super) fn tidy(steps: &mut Vec<Step>, matching: &MaskedKey) {
    let last = steps.iter().rposition(emits).map_or(0, |last| last + 1);
    steps.truncate(last);
    if may_be_idle(steps, matching) {
        remove_overwritten(steps);
        remove_unchanging(steps, matching);
    }
}

/// Whether some set could be idle: its bits are known, or set twice, or of a pushed tag.
fn may_be_idle(steps: &[Step], matching: &MaskedKey) -> bool {
    let mut fields = 0_u32;
    steps.iter().any(|step| match *step {
        Step::Set { field, mask, .. } => {
            let is_again = fields >> field as u32 & 1 != 0;
            fields |= 1 << field as u32;
            is_again || matching.mask.get(field) & mask == mask
        }
        Step::PushVlan(_) => true,
        _ => false,
    })
}

const fn emits(step: &Step) -> bool {
    matches!(step, Step::Output(_) | Step::Controller { .. })
}

/// Drops bits of sets that a later set overwrites before anything reads them.
fn remove_overwritten(steps: &mut Vec<Step>) {
    for at in (0..steps.len()).rev() {
        if let Step::Set { field, value, mask } = steps[at] {
            let mask = mask & !overwritten(field, &steps[at + 1..]);
            steps[at] = Step::Set { field, value: value & mask, mask };
        }
    }
    steps.retain(|step| !matches!(step, Step::Set { mask: 0, .. }));
}

/// Bits of a field that steps write before an output or a step that depends on them.
fn overwritten(field: Field, steps: &[Step]) -> u128 {
    let mut bits = 0;
    for step in steps {
        match *step {
            Step::Output(_) | Step::Controller { .. } => break,
            Step::PushVlan(_) | Step::PopVlan if field == Field::VlanTci => break,
            Step::DecTtl if field == Field::IpTtl => break,
            Step::Set { field: other, mask, .. } if other == field => bits |= mask,
            _ => {}
        }
    }
    bits
}

/// Drops sets whose bits are known to be what they would become.
fn remove_unchanging(steps: &mut Vec<Step>, matching: &MaskedKey) {
    let mut known = *matching;
    steps.retain(|step| match *step {
        Step::Set { field, value, mask } => {
            // The key of a fragment has no ports, whatever is in its bytes.
            let is_whole =
                known.mask.get(Field::IpFrag) & 1 != 0 && known.value.get(Field::IpFrag) & 1 == 0;
            let is_port = matches!(field, Field::L4Src | Field::L4Dst);
            // The key of a neighbour message may not say what is in its bytes (RFC 4861); and that
            // tunnel values are set matters besides the value, as received ones are not used.
            let says_all = !matches!(
                field,
                Field::NdTarget | Field::ArpSha | Field::ArpTha | Field::TunDst | Field::Qfi
            );
            let is_known = known.mask.get(field) & mask == mask;
            let is_idle = says_all
                && (is_whole || !is_port)
                && is_known
                && known.value.get(field) & mask == value;
            known.constrain(field, value, mask);
            !is_idle
        }
        Step::PushVlan(_) => {
            known.value.set(Field::VlanTci, 0x1000);
            known.mask.set(Field::VlanTci, 0xffff);
            true
        }
        Step::PopVlan => {
            known.value.set(Field::VlanTci, 0);
            known.mask.set(Field::VlanTci, 0);
            true
        }
        Step::DecTtl => {
            known.value.set(Field::IpTtl, 0);
            known.mask.set(Field::IpTtl, 0);
            true
        }
        Step::Output(_) | Step::Controller { .. } => true,
    });
}
