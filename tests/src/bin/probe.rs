//! Runs in the guest: one step of a test at one PCI function, below any card's driver.
//!
//! `probe ADDRESS STEP [ARGUMENT]`; prints what it saw, ends with 1 when that is not right.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

use std::process::ExitCode;
use std::time::Duration;
use twinpath_abi::bus::Iova;
use twinpath_host_driver::pci::Address;
use twinpath_host_driver::vfio::{Function, Notice, Settings};

/// Longest wait for an interrupt.
const INTERRUPT_MAX: Duration = Duration::from_secs(5);
/// Longer than the throttling of interrupts, by far.
const THROTTLING_MAX: Duration = Duration::from_millis(50);
/// Longest wait for a notice, in waits of [`NOTICE_WAIT`].
const NOTICE_WAITS: u32 = 200;
const NOTICE_WAIT: Duration = Duration::from_millis(100);
/// DMA memory of a step.
const DMA_BYTES: usize = 1 << 20;

/// Registers of the rocker (QEMU docs/specs/rocker.txt).
mod rocker {
    pub(super) const TEST_REG: u32 = 0x0010;
    pub(super) const TEST_REG64: u32 = 0x0018;
    pub(super) const TEST_IRQ: u32 = 0x0020;
    pub(super) const TEST_DMA_ADDR: u32 = 0x0028;
    pub(super) const TEST_DMA_SIZE: u32 = 0x0030;
    pub(super) const TEST_DMA_CTRL: u32 = 0x0034;
    pub(super) const FILL: u32 = 2;
    pub(super) const FILLED: u8 = 0x96;
    pub(super) const INVERT: u32 = 4;
}

/// Registers of the e1000e (Intel 82574 datasheet, section 10.2).
mod e1000e {
    pub(super) const CTRL: u32 = 0x0000;
    pub(super) const STATUS: u32 = 0x0008;
    pub(super) const ICR: u32 = 0x00c0;
    pub(super) const ICS: u32 = 0x00c8;
    pub(super) const IMS: u32 = 0x00d0;
    pub(super) const IMC: u32 = 0x00d8;
    pub(super) const IVAR: u32 = 0x00e4;
    /// Vectors 2 and 4 for the causes "transmit queue 0" and "other".
    pub(super) const VECTORS: u32 = (8 | 2) << 8 | (8 | 4) << 16;
    /// Those causes and their vectors. Two in turn: QEMU 7.2 remembers the last cause over resets,
    /// and does not tell it twice.
    pub(super) const CAUSES: [(u32, u16); 2] = [(1 << 22, 2), (1 << 24, 4)];
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, step, rest @ ..] = &arguments[..] else {
        eprintln!("usage: probe ADDRESS registers|interrupts|dma|fault|e1000e|reset|notice|open");
        return ExitCode::from(2);
    };
    match run(address, step, rest) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(address: &str, step: &str, rest: &[String]) -> Result<String, String> {
    let address: Address = address.parse().map_err(|error| format!("{error}"))?;
    let settings = Settings { dma_bytes: dma_bytes(rest)?, vectors_max: u16::MAX };
    let function = Function::open(address, settings).map_err(|error| error.to_string())?;
    function.start_dma().map_err(|error| error.to_string())?;
    match step {
        "open" => {
            Ok(format!("{} vectors, bar of {} bytes", function.vectors(), function.bar_bytes()))
        }
        "registers" => registers(&function),
        "interrupts" => interrupts(&function),
        "dma" => dma(&function),
        "fault" => fault(&function),
        "e1000e" => gigabit(&function),
        "reset" => reset(&function),
        "notice" => notice(&function),
        _ => Err(format!("no step {step:?}")),
    }
}

/// Bytes of DMA memory, from the argument if there is one.
fn dma_bytes(rest: &[String]) -> Result<usize, String> {
    rest.first().map_or(Ok(DMA_BYTES), |text| text.parse().map_err(|error| format!("{error}")))
}

fn check(what: &str, right: bool) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("{what} is wrong")) }
}

/// Test registers read back twice what was written.
fn registers(function: &Function) -> Result<String, String> {
    check("the signature", function.read32(0) == 0xdead_babe)?;
    function.write32(rocker::TEST_REG, 0x1234_5678);
    check("the 32-bit register", function.read32(rocker::TEST_REG) == 0x2468_acf0)?;
    function.write64(rocker::TEST_REG64, 0x1234_5678_0000_0001);
    check("the 64-bit register", function.read64(rocker::TEST_REG64) == 0x2468_acf0_0000_0002)?;
    Ok(format!("bar of {} bytes, 32- and 64-bit registers double", function.bar_bytes()))
}

/// Every vector comes, once, and no other with it.
fn interrupts(function: &Function) -> Result<String, String> {
    let vectors = function.vectors();
    for wanted in 0..vectors {
        function.write32(rocker::TEST_IRQ, wanted.into());
        check("an interrupt", function.wait_interrupt(INTERRUPT_MAX))?;
        for vector in 0..vectors {
            let came = function.poll_interrupt(vector);
            check(&format!("vector {vector} after {wanted}"), came == u64::from(vector == wanted))?;
        }
    }
    Ok(format!("{vectors} msi-x vectors, each alone"))
}

/// The device fills and inverts memory, and nothing beside it.
fn dma(function: &Function) -> Result<String, String> {
    let buffer = function.alloc(8192).map_err(|error| error.to_string())?;
    for (offset, size) in [(0, 64), (1, 8), (4095, 4097)] {
        let zeros = [0; 8192];
        function.copy_in(buffer, &zeros);
        test_dma(function, Iova(buffer.0 + offset), size, rocker::FILL);
        test_dma(function, Iova(buffer.0 + offset), size, rocker::INVERT);
        let mut bytes = [0; 8192];
        function.copy_out(buffer, &mut bytes);
        let touched = offset..offset + u64::from(size);
        let right = (0..)
            .zip(bytes)
            .all(|(at, byte)| byte == if touched.contains(&at) { !rocker::FILLED } else { 0 });
        check(&format!("memory after {size} bytes at {offset}"), right)?;
    }
    Ok(format!("3 windows written by the device at {:#x}", buffer.0))
}

fn test_dma(function: &Function, address: Iova, size: u32, what: u32) {
    function.write64(rocker::TEST_DMA_ADDR, address.0);
    function.write32(rocker::TEST_DMA_SIZE, size);
    function.write32(rocker::TEST_DMA_CTRL, what);
}

/// A write outside the map goes nowhere: the arena stays as it was.
fn fault(function: &Function) -> Result<String, String> {
    let buffer = function.alloc(4096).map_err(|error| error.to_string())?;
    let before = [0x5a; 4096];
    function.copy_in(buffer, &before);
    let outside = Iova(buffer.0 + 0x1000_0000);
    test_dma(function, outside, 4096, rocker::FILL);
    let mut after = [0; 4096];
    function.copy_out(buffer, &mut after);
    check("memory after a stray write", after == before)?;
    Ok(format!("a write to {:#x} went nowhere", outside.0))
}

/// The registers of an e1000e, and one of its vectors by its own interrupt logic.
fn gigabit(function: &Function) -> Result<String, String> {
    let (control, status) = (function.read32(e1000e::CTRL), function.read32(e1000e::STATUS));
    check("STATUS", status != 0 && status != u32::MAX)?;
    function.write32(e1000e::IVAR, e1000e::VECTORS);
    for (cause, vector) in e1000e::CAUSES {
        function.write32(e1000e::IMC, u32::MAX);
        function.write32(e1000e::ICR, u32::MAX);
        function.write32(e1000e::IMS, cause);
        function.write32(e1000e::ICS, cause);
        check("an interrupt", function.wait_interrupt(INTERRUPT_MAX))?;
        check(&format!("vector {vector}"), function.poll_interrupt(vector) == 1)?;
    }
    function.write32(e1000e::IMC, u32::MAX);
    function.write32(e1000e::ICR, u32::MAX);
    // QEMU 7.2 aborts when its interrupt throttling outlives MSI-X: nothing comes any more, so this
    // waits it out.
    check("silence", !function.wait_interrupt(THROTTLING_MAX))?;
    Ok(format!(
        "CTRL {control:#x} STATUS {status:#x}, vectors 2 and 4 of {} by their causes",
        function.vectors()
    ))
}

/// A reset clears the device and leaves interrupts and memory usable.
fn reset(function: &Function) -> Result<String, String> {
    function.write32(rocker::TEST_REG, 21);
    function.reset().map_err(|error| error.to_string())?;
    function.start_dma().map_err(|error| error.to_string())?;
    check("the register after a reset", function.read32(rocker::TEST_REG) == 0)?;
    let interrupts = interrupts(function)?;
    let dma = dma(function)?;
    Ok(format!("register cleared, then {interrupts}, {dma}"))
}

/// Says when it listens, and what it heard.
fn notice(function: &Function) -> Result<String, String> {
    println!("listening");
    for _ in 0..NOTICE_WAITS {
        match function.poll_notice() {
            Some(Notice::RemovalRequested) => return Ok("removal".into()),
            Some(Notice::DeviceError) => return Ok("error".into()),
            // What it waited for is polled next.
            None => _ = function.wait_interrupt(NOTICE_WAIT),
        }
    }
    Err("no notice".into())
}
