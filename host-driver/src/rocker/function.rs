//! A rocker held through VFIO.

use super::io::RockerIo;
use crate::vfio::Function;
use std::io;
use twinpath_abi::bus::{AllocError, Iova};

impl RockerIo for Function {
    fn read32(&self, offset: u32) -> u32 {
        Self::read32(self, offset)
    }

    fn write32(&self, offset: u32, value: u32) {
        Self::write32(self, offset, value);
    }

    fn read64(&self, offset: u32) -> u64 {
        Self::read64(self, offset)
    }

    fn write64(&self, offset: u32, value: u64) {
        Self::write64(self, offset, value);
    }

    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        Self::alloc(self, bytes)
    }

    fn copy_out(&self, from: Iova, out: &mut [u8]) {
        Self::copy_out(self, from, out);
    }

    fn copy_in(&self, to: Iova, bytes: &[u8]) {
        Self::copy_in(self, to, bytes);
    }

    fn load64(&self, from: Iova) -> u64 {
        Self::load64(self, from)
    }

    fn vectors(&self) -> u16 {
        Self::vectors(self)
    }

    fn poll_interrupt(&self, vector: u16) -> u64 {
        Self::poll_interrupt(self, vector)
    }

    fn start_dma(&self) -> io::Result<()> {
        Self::start_dma(self)
    }

    fn stop_dma(&self) -> io::Result<()> {
        Self::stop_dma(self)
    }
}
