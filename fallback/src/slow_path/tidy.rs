//! Steps without effect, taken out: sets that are overwritten or change nothing, and edits after
//! the last output.

use twinpath_flow::field::Field;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::steps::Step;

/// Steps that do to every packet of `matching` what `steps` do, without the idle ones.
pub(super) fn tidy(steps: &[Step], matching: &MaskedKey) -> Vec<Step> {
    let last = steps.iter().rposition(emits).map_or(0, |last| last + 1);
    let mut kept = without_overwritten(&steps[..last]);
    remove_unchanging(&mut kept, matching);
    kept
}

const fn emits(step: &Step) -> bool {
    matches!(step, Step::Output(_) | Step::Controller { .. })
}

/// Drops bits of sets that a later set overwrites before anything reads them.
fn without_overwritten(steps: &[Step]) -> Vec<Step> {
    // Bits of each field written later, before an output or a step that depends on them.
    let mut later: Vec<(Field, u128)> = Vec::new();
    let mut kept = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        match *step {
            Step::Output(_) | Step::Controller { .. } => later.clear(),
            Step::PushVlan(_) | Step::PopVlan => {
                later.retain(|(field, _)| *field != Field::VlanTci);
            }
            Step::DecTtl => later.retain(|(field, _)| *field != Field::IpTtl),
            Step::Set { field, value, mask } => {
                let covered = later.iter().filter(|(other, _)| *other == field);
                let mask = mask & !covered.fold(0, |bits, (_, more)| bits | more);
                if mask == 0 {
                    continue;
                }
                later.push((field, mask));
                kept.push(Step::Set { field, value: value & mask, mask });
                continue;
            }
        }
        kept.push(*step);
    }
    kept.reverse();
    kept
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
