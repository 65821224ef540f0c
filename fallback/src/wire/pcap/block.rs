//! The blocks of a pcapng capture: sections, interfaces, packets; others are passed over.

use twinpath_flow::time::Time;

use super::super::error::{CaptureFault, WireError};
use super::reader::{FRAME_MAX, Found, LINK_ETHERNET, Order};
use super::source::Source;

/// Block types; the section header's reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Byte-order mark at the start of a section's body.
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Type and length before the body, and the length after it.
const HEAD_LEN: usize = 8;
const BLOCK_LEN_MIN: usize = 12;
/// Longest block believed: a frame and room for its options and for name resolution.
const BLOCK_LEN_MAX: u32 = 4 * FRAME_MAX;
/// Most interfaces kept per section.
const INTERFACES_MAX: usize = 4096;

/// Options of an interface description.
pub(super) const OPTION_RESOLUTION: u16 = 9;
const OPTION_FCS_LEN: u16 = 13;
const OPTION_OFFSET: u16 = 14;

/// How an interface counts time and frames.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    snap_len: u32,
    /// Timestamps are multiplied by the first and divided by the second to give nanoseconds.
    scale: (u128, u128),
    /// Seconds added to every timestamp.
    offset_seconds: i64,
    fcs_len: usize,
}

/// State of the present section.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    order: Option<Order>,
    interfaces: Vec<Interface>,
    /// Time of the last packet; simple packets have none of their own.
    latest: Time,
}

impl Blocks {
    /// Passes blocks up to and including the next packet; `None` at the end of the file.
    pub(super) fn advance(
        &mut self,
        source: &mut Source,
    ) -> Result<Option<(Time, Found)>, WireError> {
        // Ends: every turn passes a block of at least 12 bytes.
        loop {
            let Some((kind, block_len)) = self.peek_head(source)? else { return Ok(None) };
            let record = self.read_block(source, kind, block_len)?;
            source.pass(block_len);
            if let Some((time, at, frame_len)) = record {
                return Ok(Some((time, Found { frame_len, behind: block_len - at - frame_len })));
            }
        }
    }

    /// Type and length of the next block; takes the byte order from a section header.
    fn peek_head(&mut self, source: &mut Source) -> Result<Option<(u32, usize)>, WireError> {
        let Some(head) = source.peek(BLOCK_LEN_MIN, "block")? else { return Ok(None) };
        if Order::Little.u32(head, 0) == SECTION_HEADER {
            self.order = Some(match Order::Little.u32(head, 8) {
                BYTE_ORDER => Order::Little,
                mark if mark.swap_bytes() == BYTE_ORDER => Order::Big,
                mark => return Err(source.fault(CaptureFault::ByteOrder(mark))),
            });
        }
        let order = self.order.expect("the reader saw a section header first");
        let (kind, length) = (order.u32(head, 0), order.u32(head, 4));
        let block_len = length as usize;
        if length > BLOCK_LEN_MAX || block_len < BLOCK_LEN_MIN || !block_len.is_multiple_of(4) {
            return Err(source.fault(CaptureFault::Length { what: "block", length }));
        }
        Ok(Some((kind, block_len)))
    }

    /// Time, start within the block and length of a packet, or `None` for other blocks.
    fn read_block(
        &mut self,
        source: &mut Source,
        kind: u32,
        block_len: usize,
    ) -> Result<Option<(Time, usize, usize)>, WireError> {
        let order = self.order.expect("peek_head has set it");
        let block = source.peek(block_len, "block")?.expect("its head was there");
        let (head, tail) = (order.u32(block, 4), order.u32(block, block_len - 4));
        let body = &block[HEAD_LEN..block_len - 4];
        let result = if head == tail {
            match kind {
                SECTION_HEADER => self.read_section(order, body).map(|()| None),
                INTERFACE_DESCRIPTION => self.read_interface(order, body).map(|()| None),
                ENHANCED_PACKET | PACKET => self.read_packet(order, kind, body).map(Some),
                SIMPLE_PACKET => self.read_simple(order, body).map(Some),
                _ => Ok(None),
            }
        } else {
            Err(CaptureFault::Tail { head, tail })
        };
        result.map_err(|fault| source.fault(fault))
    }

    fn read_section(&mut self, order: Order, body: &[u8]) -> Result<(), CaptureFault> {
        require(body, 16, "section header")?;
        let version = (order.u16(body, 4), order.u16(body, 6));
        // 1.0 and 1.2 (written by mistake by some tools) mean the same.
        if version.0 != 1 {
            return Err(CaptureFault::Version(version.0, version.1));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn read_interface(&mut self, order: Order, body: &[u8]) -> Result<(), CaptureFault> {
        require(body, 8, "interface description")?;
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(CaptureFault::Interfaces(INTERFACES_MAX));
        }
        let mut interface = Interface {
            link: u32::from(order.u16(body, 0)),
            snap_len: order.u32(body, 4),
            scale: (1_000, 1),
            offset_seconds: 0,
            fcs_len: 0,
        };
        let mut rest = &body[8..];
        // Ends: every turn shortens the rest by at least four bytes.
        while rest.len() >= 4 {
            let (code, length) = (order.u16(rest, 0), usize::from(order.u16(rest, 2)));
            let padded = 4 + length.next_multiple_of(4);
            if padded > rest.len() {
                let length = u32::try_from(length).expect("16 bits");
                return Err(CaptureFault::Length { what: "option", length });
            }
            let value = &rest[4..4 + length];
            match (code, length) {
                (0, _) => break,
                (OPTION_RESOLUTION, 1) => interface.scale = scale(value[0])?,
                (OPTION_FCS_LEN, 1) => interface.fcs_len = usize::from(value[0]),
                (OPTION_OFFSET, 8) => {
                    let (first, second) = (order.u32(value, 0), order.u32(value, 4));
                    let (high, low) =
                        if order == Order::Little { (second, first) } else { (first, second) };
                    let word = (u64::from(high) << 32) | u64::from(low);
                    interface.offset_seconds = word.cast_signed();
                }
                _ => {}
            }
            rest = &rest[padded..];
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// Enhanced packet block, or the obsolete packet block with its shorter interface number.
    fn read_packet(
        &mut self,
        order: Order,
        kind: u32,
        body: &[u8],
    ) -> Result<(Time, usize, usize), CaptureFault> {
        require(body, 20, "packet block")?;
        let number =
            if kind == PACKET { u32::from(order.u16(body, 0)) } else { order.u32(body, 0) };
        let interface = self.interface(number)?;
        let ticks = (u64::from(order.u32(body, 4)) << 32) | u64::from(order.u32(body, 8));
        let (captured, original) = (order.u32(body, 12), order.u32(body, 16));
        if captured > FRAME_MAX || captured as usize > body.len() - 20 {
            return Err(CaptureFault::Length { what: "packet", length: captured });
        }
        self.latest = interface.time(ticks).max(self.latest);
        let frame_len =
            (captured as usize).min((original as usize).saturating_sub(interface.fcs_len));
        Ok((self.latest, HEAD_LEN + 20, frame_len))
    }

    /// Simple packet block: interface 0, no time of its own.
    fn read_simple(&self, order: Order, body: &[u8]) -> Result<(Time, usize, usize), CaptureFault> {
        require(body, 4, "simple packet block")?;
        let interface = self.interface(0)?;
        let original = order.u32(body, 0) as usize;
        let limit = if interface.snap_len == 0 { usize::MAX } else { interface.snap_len as usize };
        let captured = original.min(limit);
        if captured > body.len() - 4 {
            let length = order.u32(body, 0);
            return Err(CaptureFault::Length { what: "packet", length });
        }
        let frame_len = captured.min(original.saturating_sub(interface.fcs_len));
        Ok((self.latest, HEAD_LEN + 4, frame_len))
    }

    fn interface(&self, number: u32) -> Result<Interface, CaptureFault> {
        let interface =
            self.interfaces.get(number as usize).ok_or(CaptureFault::Interface(number))?;
        if interface.link != LINK_ETHERNET {
            return Err(CaptureFault::LinkType(interface.link));
        }
        Ok(*interface)
    }
}

impl Interface {
    /// Nanoseconds since 1970, held within 64 bits.
    fn time(&self, ticks: u64) -> Time {
        let nanoseconds = u128::from(ticks) * self.scale.0 / self.scale.1;
        let offset = i128::from(self.offset_seconds) * 1_000_000_000;
        let total = i128::try_from(nanoseconds).unwrap_or(i128::MAX).saturating_add(offset);
        Time(u64::try_from(total.max(0)).unwrap_or(u64::MAX))
    }
}

fn require(body: &[u8], need: usize, what: &'static str) -> Result<(), CaptureFault> {
    if body.len() < need {
        let length = u32::try_from(body.len()).expect("bounded by the longest block");
        return Err(CaptureFault::Length { what, length });
    }
    Ok(())
}

/// What turns ticks of `if_tsresol` into nanoseconds: powers of ten, or of two with the top bit.
fn scale(resolution: u8) -> Result<(u128, u128), CaptureFault> {
    let power = u32::from(resolution & 0x7f);
    match resolution & 0x80 {
        0 if power <= 9 => Ok((10u128.pow(9 - power), 1)),
        0 if power <= 19 => Ok((1, 10u128.pow(power - 9))),
        0x80 if power <= 63 => Ok((1_000_000_000, 1 << power)),
        _ => Err(CaptureFault::Resolution(resolution)),
    }
}
