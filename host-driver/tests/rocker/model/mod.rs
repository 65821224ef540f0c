//! A scripted rocker: registers, rings, commands and pipeline, as measured on QEMU 7.2.
//!
//! It reads requests with its own TLV reader, chooses among flows of equal priority at random, and
//! notes whatever would crash QEMU or swallow all traffic, in [`Device::crash`]. Tables other than
//! VLAN and ACL, which the driver does not use, are not modelled: a flow for one is noted as well.

pub(crate) mod commands;
pub(crate) mod frame;
pub(crate) mod pipeline;
pub(crate) mod rings;

use pipeline::{Flow, Group};
use rings::RingState;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard};
use twinpath_abi::bus::{AllocError, Iova};
use twinpath_host_driver::rocker::RockerIo;

/// Bus address of the first byte of DMA memory.
const MEMORY_AT: u64 = 0x40_0000_0000;

/// Everything inside the device.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) ports: u32,
    pub(crate) vectors: u16,
    memory: Vec<u8>,
    allocated: usize,
    /// Bus mastering.
    pub(crate) master: bool,
    /// Whether the function has left the bus.
    pub(crate) gone: bool,
    /// Vectors that never arrive, by bit.
    pub(crate) deaf: u128,
    interrupts: Vec<u64>,
    test: u32,
    test64: u64,
    test_dma: (u64, u32),
    pub(crate) enabled: u64,
    /// Cables that are plugged in.
    pub(crate) carrier: u64,
    pub(crate) learning: u64,
    rings: Vec<RingState>,
    pub(crate) flows: BTreeMap<u64, Flow>,
    pub(crate) groups: BTreeMap<u32, Group>,
    /// Frames that left by ports.
    pub(crate) sent: Vec<(u32, Vec<u8>)>,
    /// Frames for the host that found no descriptor.
    pub(crate) overruns: u64,
    /// Error numbers to answer to the next commands, 0 for none.
    pub(crate) script: VecDeque<u16>,
    /// Commands carried out.
    pub(crate) commands: u64,
    /// What would have crashed QEMU, or worse.
    pub(crate) crash: Option<String>,
    /// Writes nonsense about received frames.
    pub(crate) corrupt_receive: bool,
    /// Writes of the driver's process until it is killed; then no more of them come.
    pub(crate) fuse: Option<u64>,
    /// Decides among flows of one priority.
    pub(crate) seed: u64,
}

/// The device as the driver reaches it.
pub(crate) struct Device(Mutex<State>);

impl Device {
    pub(crate) fn new(ports: u32) -> Self {
        let state = State {
            ports,
            vectors: u16::try_from(4 + 2 * ports).unwrap(),
            interrupts: vec![0; 128],
            rings: vec![RingState::default(); 2 + 2 * ports as usize],
            carrier: u64::MAX,
            learning: u64::MAX,
            memory: vec![0; 64 << 20],
            ..State::default()
        };
        Self(Mutex::new(state))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A frame arrives at a port.
    pub(crate) fn inject(&self, port: u32, frame: &[u8]) {
        self.state().receive(port, frame);
    }

    /// Takes what left by ports.
    pub(crate) fn sent(&self) -> Vec<(u32, Vec<u8>)> {
        std::mem::take(&mut self.state().sent)
    }

    /// Pulls or plugs a cable.
    pub(crate) fn set_link(&self, port: u32, up: bool) {
        let mut state = self.state();
        let bit = 1 << port;
        state.carrier = if up { state.carrier | bit } else { state.carrier & !bit };
        state.tell_link(port);
    }

    /// What a bus reset does.
    pub(crate) fn forget_everything(&self) {
        let mut state = self.state();
        state.reset();
        state.rings.iter_mut().for_each(|ring| *ring = RingState::default());
    }

    /// A driver's process of its own begins: it has allocated nothing yet.
    pub(crate) fn begin_process(&self) {
        let mut state = self.state();
        (state.fuse, state.allocated) = (None, 0);
    }

    /// Number of flows and of groups.
    pub(crate) fn holds(&self) -> (usize, usize) {
        let state = self.state();
        (state.flows.len(), state.groups.len())
    }

    pub(crate) fn crash(&self) -> Option<String> {
        self.state().crash.clone()
    }
}

impl State {
    /// Whether a write of the driver's process still comes.
    fn burn(&mut self) -> bool {
        let lives = self.fuse != Some(0);
        self.fuse = self.fuse.map(|left| left.saturating_sub(1));
        lives
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.crash.get_or_insert_with(|| what.to_owned());
    }

    /// Where in memory these bytes begin.
    pub(crate) fn memory_of(&self, bytes: &[u8]) -> usize {
        self.memory.windows(bytes.len()).position(|window| window == bytes).unwrap()
    }

    /// Changes a byte of memory.
    pub(crate) fn scribble(&mut self, at: usize) {
        self.memory[at] ^= 0xff;
    }

    /// DMA read; nothing mapped reads as zeros.
    pub(crate) fn dma_read(&self, at: u64, bytes: usize) -> Vec<u8> {
        let start = usize::try_from(at.wrapping_sub(MEMORY_AT)).unwrap();
        let mapped = self.master && start.saturating_add(bytes) <= self.allocated;
        if mapped { self.memory[start..start + bytes].to_vec() } else { vec![0; bytes] }
    }

    /// DMA write; outside what is mapped it vanishes.
    pub(crate) fn dma_write(&mut self, at: u64, bytes: &[u8]) {
        let start = usize::try_from(at.wrapping_sub(MEMORY_AT)).unwrap();
        if self.master && start.saturating_add(bytes.len()) <= self.allocated {
            self.memory[start..start + bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(crate) fn interrupt(&mut self, vector: usize) {
        if self.deaf >> vector & 1 == 0 && vector < usize::from(self.vectors) {
            self.interrupts[vector] += 1;
        }
    }

    pub(crate) fn links(&self) -> u64 {
        self.enabled & self.carrier
    }

    /// Control bit 0: learning stays.
    fn reset(&mut self) {
        self.set_enabled(0);
        self.flows.clear();
        self.groups.clear();
        self.rings.iter_mut().for_each(|ring| *ring = RingState::default());
    }

    fn set_enabled(&mut self, bits: u64) {
        let present = (1..=self.ports).fold(0, |bits, port| bits | 1_u64 << port);
        let changed = self.enabled ^ (bits & present);
        self.enabled = bits & present;
        for port in (1..=self.ports).filter(|port| changed >> port & 1 == 1) {
            self.tell_link(port);
        }
    }

    fn test_dma(&mut self, control: u32) {
        let (at, size) = self.test_dma;
        let bytes = self.dma_read(at, size as usize);
        let bytes: Vec<u8> = match control {
            1 => bytes.iter().map(|_| 0).collect(),
            2 => bytes.iter().map(|_| 0x96).collect(),
            4 => bytes.iter().map(|byte| !byte).collect(),
            _ => return,
        };
        self.dma_write(at, &bytes);
        self.interrupt(2);
    }

    fn read(&self, offset: u32) -> u64 {
        match offset {
            0x0000 => 0xdead_babe_dead_babe,
            0x0010 => u64::from(self.test.wrapping_mul(2)),
            0x0018 => self.test64.wrapping_mul(2),
            0x0304 => u64::from(self.ports),
            0x0310 => self.links(),
            0x0318 => self.enabled,
            0x1000.. => self.read_ring(offset),
            _ => 0,
        }
    }

    fn write(&mut self, offset: u32, value: u64) {
        let low = value as u32;
        match offset {
            0x0010 => self.test = low,
            0x0018 => self.test64 = value,
            0x0020 => self.interrupt(low as usize),
            0x0028 => self.test_dma.0 = value,
            0x0030 => self.test_dma.1 = low & 0xffff,
            0x0034 => self.test_dma(low),
            0x0300 if low & 1 == 1 => self.reset(),
            0x0318 => self.set_enabled(value),
            0x1000.. => self.write_ring(offset, value),
            _ => {}
        }
    }
}

impl RockerIo for Device {
    fn read32(&self, offset: u32) -> u32 {
        let state = self.state();
        if state.gone { u32::MAX } else { state.read(offset) as u32 }
    }

    fn write32(&self, offset: u32, value: u32) {
        let mut state = self.state();
        let wide = matches!(offset, 0x18 | 0x28 | 0x310 | 0x318 | 0x320)
            || (offset >= 0x1000 && offset.is_multiple_of(32));
        assert!(!wide, "half a register: {offset:#x}");
        if !state.gone && state.burn() {
            state.write(offset, u64::from(value));
        }
    }

    fn read64(&self, offset: u32) -> u64 {
        let state = self.state();
        if state.gone { u64::MAX } else { state.read(offset) }
    }

    fn write64(&self, offset: u32, value: u64) {
        let mut state = self.state();
        if !state.gone && state.burn() {
            state.write(offset, value);
        }
    }

    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        let mut state = self.state();
        let at = state.allocated;
        let free = state.memory.len() - at;
        if bytes > free {
            return Err(AllocError { wanted: bytes, free });
        }
        state.allocated += bytes.next_multiple_of(4096);
        Ok(Iova(MEMORY_AT + at as u64))
    }

    fn copy_out(&self, from: Iova, out: &mut [u8]) {
        let state = self.state();
        let start = (from.0 - MEMORY_AT) as usize;
        out.copy_from_slice(&state.memory[start..start + out.len()]);
    }

    fn copy_in(&self, to: Iova, bytes: &[u8]) {
        let mut state = self.state();
        let start = (to.0 - MEMORY_AT) as usize;
        assert!(start + bytes.len() <= state.allocated);
        if !state.burn() {
            return;
        }
        state.memory[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn load64(&self, from: Iova) -> u64 {
        let mut bytes = [0; 8];
        self.copy_out(from, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn vectors(&self) -> u16 {
        self.state().vectors
    }

    fn poll_interrupt(&self, vector: u16) -> u64 {
        std::mem::take(&mut self.state().interrupts[usize::from(vector)])
    }

    fn start_dma(&self) -> io::Result<()> {
        self.state().master = true;
        Ok(())
    }

    fn stop_dma(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.burn() {
            state.master = false;
        }
        Ok(())
    }
}
