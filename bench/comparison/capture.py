"""Captures for the comparison: the frames every contender is given, written once for each description."""

import random
import struct
from pathlib import Path

UDP, TCP = 17, 6
MAC_HEADER = bytes.fromhex("020000000002020000000001") + b"\x08\x00"
# The simple Internet mix: 7 of 64, 4 of 570 and 1 of 1,518 bytes with FCS.
IMIX = [60] * 7 + [566] * 4 + [1514]


def checksum(header):
    """The Internet checksum of a header whose own checksum is zero."""
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(source, target, protocol, length):
    """An IPv4 header in front of `length` bytes."""
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, protocol, 0)
    addresses = struct.pack("!II", source, target)
    return start[:10] + struct.pack("!H", checksum(start + addresses)) + addresses


def frame(source, target, sport, dport, protocol=UDP, size=60):
    """An Ethernet frame of `size` bytes without FCS."""
    if protocol == TCP:
        upper = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, 0x10, 0xFFFF, 0, 0)
    else:
        upper = struct.pack("!HHHH", sport, dport, size - 34, 0)
    head = MAC_HEADER + ipv4(source, target, protocol, size - 34) + upper
    return head + bytes(size - len(head))


def gtpu(teid, inner):
    """A GTP-U G-PDU from the gateway's peer (10.255.0.2) to the gateway (10.255.0.1)."""
    packet = inner[14:]
    gtp = struct.pack("!BBHI", 0x30, 0xFF, len(packet), teid)
    length = 8 + len(gtp) + len(packet)
    udp = struct.pack("!HHHH", 2152, 2152, length, 0)
    outer = ipv4(0x0AFF0002, 0x0AFF0001, UDP, length)
    return MAC_HEADER + outer + udp + gtp + packet


def write(path, frames):
    """Writes a capture whose frames all arrive at time 0, unless it is there."""
    path = Path(path)
    if path.exists():
        return path
    part = path.with_suffix(".part")
    with open(part, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for one in frames:
            out.write(struct.pack("<IIII", 0, 0, len(one), len(one)) + one)
    part.rename(path)
    return path


def shuffled(count, seed=1):
    """The numbers below `count` in an order that jumps about, the same each time."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def udp_flows(count, sizes=(60,)):
    """`count` distinct UDP flows, one frame each; targets spread over 192.168.0.0/16."""
    for i in shuffled(count):
        target = 0xC0A80000 | (i * 2654435761 & 0xFFFF)
        size = sizes[i % len(sizes)]
        yield frame(0x0A000000 | (i & 0xFFFF), target, 1024 + (i >> 16), 80 + i % 7, size=size)


def address_pairs(side, count):
    """The first `count` of `side` * `side` pairs of a source and a target address, shuffled."""
    for i in shuffled(side * side)[:count]:
        yield frame(0x0A000000 + i % side, 0xC0A80000 + i // side, 1024, 80)


def port_and_prefix(ports, prefixes):
    """Each pair of one of `ports` target ports and one of `prefixes` (address, length), shuffled."""
    for i in shuffled(ports * len(prefixes)):
        address, _ = prefixes[i // ports]
        yield frame(0x0A000000 | (i & 0xFFFF), address + 1, 1024, 2000 + i % ports)


def gtpu_sessions(count):
    """One G-PDU for each of `count` sessions; the packets inside are those of `udp_flows`."""
    for i in shuffled(count):
        target = 0xC0A80000 | (i * 2654435761 & 0xFFFF)
        yield gtpu(i + 1, frame(0x0A000000 | (i & 0xFFFF), target, 1024 + (i >> 16), 80))
