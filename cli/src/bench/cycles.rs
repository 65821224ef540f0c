//! The processor's counter of time, which `twinpath bench` times stages with: a system call or even
//! the kernel's fast clock costs more than a stage does.

#![expect(unsafe_code, reason = "reading the counter is an instruction")]

/// Ticks since the processor began; they are not the core's cycles but run at a constant rate.
#[inline(always)]
pub(super) fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, Linux lets programs use it, and it changes nothing
    // but its result.
    let ticks = unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(target_arch = "aarch64")]
    let ticks = {
        let ticks: u64;
        // SAFETY: Linux lets programs read this register, and reading changes nothing.
        unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    };
    ticks
}
