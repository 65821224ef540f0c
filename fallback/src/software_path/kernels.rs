//! The packet path compiled once for each [`Kernel`].

#![expect(unsafe_code, reason = "code for instructions that not every processor has")]

use super::SoftwarePath;
use super::watch::{Unwatched, Watch};
use crate::compiled::Effects;
use crate::isa::{self, Scalar};
use crate::kernel::Kernel;
use crate::outbox::Outbox;
use crate::packet::{Packet, PacketPool};
use twinpath_flow::time::Time;

impl SoftwarePath {
    /// Decides all packets of `burst`, in order, and empties it. Any length; 32 is best.
    ///
    /// Packets that are not sent go back to `pool`, which also gives the buffers for copies.
    /// Each packet is decided by the generation it carries: the prepared one if it is that or
    /// newer, else the current one.
    pub fn process(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        pool: &mut PacketPool,
        out: &mut Outbox,
    ) {
        self.dispatch(now, burst, &mut Effects { pool, out }, &mut Unwatched);
    }

    /// As [`Self::process`], telling `watch` when the burst has passed each stage.
    pub fn process_watched(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        (pool, out): (&mut PacketPool, &mut Outbox),
        watch: &mut impl Watch,
    ) {
        self.dispatch(now, burst, &mut Effects { pool, out }, watch);
    }

    #[inline(always)]
    fn dispatch(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        effects: &mut Effects<'_>,
        watch: &mut impl Watch,
    ) {
        match self.kernel {
            Kernel::Scalar => self.process_inlined::<Scalar>(now, burst, effects, watch),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `SoftwarePath::new` takes a kernel only if this processor has all of its
            // instructions (`Kernel::is_here`), and those are the features below.
            Kernel::Avx2 => unsafe { self.process_avx2(now, burst, effects, watch) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 => unsafe { self.process_avx512(now, burst, effects, watch) },
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Avx2 | Kernel::Avx512 => {
                self.process_inlined::<Scalar>(now, burst, effects, watch)
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,aes")]
    fn process_avx2(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        effects: &mut Effects<'_>,
        watch: &mut impl Watch,
    ) {
        self.process_inlined::<isa::Avx2>(now, burst, effects, watch);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,bmi1,bmi2,lzcnt,aes,vaes"
    )]
    fn process_avx512(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        effects: &mut Effects<'_>,
        watch: &mut impl Watch,
    ) {
        self.process_inlined::<isa::Avx512>(now, burst, effects, watch);
    }
}
