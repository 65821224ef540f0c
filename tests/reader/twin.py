"""A model of the "twin" card's packet path, written from its specification (nic-abi.md) alone.
usage: twin.py CASES.json; prints what the card gives to the host and to its ports, frame by frame.
Section numbers in comments are those of the specification."""
import json, struct, sys
from collections import namedtuple
from types import SimpleNamespace as Record
A = [int(w, 16) for w in """243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89
     452821e638d01377 be5466cf34e90c6c c0ac29b7c97c50dd 3f84d5b5b5470917""".split()]
IPV4, IPV6, ARP, RARP, M32, M64 = 0x0800, 0x86DD, 0x0806, 0x8035, 2**32 - 1, 2**64 - 1
ICMP, IGMP, TCP, UDP, ICMP6, SCTP = 1, 2, 6, 17, 58, 132
L4_SIZE = {TCP: 20, UDP: 8, SCTP: 12, ICMP: 8, IGMP: 8, ICMP6: 8}
SUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2, SCTP: 8}
L3_FIELDS = {IPV4: [(8, 8, 1), (12, 36, 4), (16, 52, 4)], IPV6: [(7, 8, 1), (8, 24, 32)],
             ARP: [(7, 6, 1), (14, 36, 4), (24, 52, 4)], None: []}  # 7.2: offset, key byte, bytes
TUNNEL = struct.Struct("<HBBHH4s4s6s6sBBB33x")  # 9.12
Tunnel = namedtuple("Tunnel", "number kind flags over port local remote mac peer tos ttl qfi")
ENTRY = struct.Struct("<64s64s64sQQBBHBBBB8sHxB4s8xII8x")  # 7.1
Entry = namedtuple("Entry", "match mask set bytes outputs tos dec tag low flags pops pushes "
                   "pushed tunnel qfi to start until")
two = struct.Struct(">H").pack
def be(data, at):
    return int.from_bytes(data[at:at + 2], "big")

def parse(frame, number, tun_id=bytes(4)):  # 5.2; kind: an L3 to edit, l4_sum: an L4 to sum
    p = Record(key=bytearray(two(number) + bytes(58) + tun_id), tags=0, snap=False, kind=None,
               end=len(frame), l4=None, l4_edit=None, l4_sum=None, covers=True)
    if len(frame) < 14:
        return p
    p.key[12:24], at = frame[0:12], 12
    while p.tags < 2 and be(frame, at) in (0x8100, 0x88A8) and len(frame) - at >= 6:
        p.key[4:6] = p.key[4:6] if p.tags else two(be(frame, at + 2) | 0x1000)
        p.tags, at = p.tags + 1, at + 4
    p.eth_type, p.l3 = be(frame, at), at + 2
    if p.eth_type < 0x0600:
        p.snap = frame[p.l3:p.l3 + 6] == b"\xaa\xaa\x03\0\0\0" and be(frame, at + 8) >= 0x0600
        p.eth_type, p.l3 = (be(frame, at + 8), at + 10) if p.snap else (0x05FF, at + 2)
    p.key[2:4] = two(p.eth_type)
    readers = {IPV4: parse_ipv4, IPV6: parse_ipv6, ARP: parse_arp, RARP: parse_arp}
    readers.get(p.eth_type, lambda *_: None)(p, frame[p.l3:])
    return p
def parse_ipv4(p, d):  # 5.3
    header, total, word = (d[0] & 15) * 4 if len(d) >= 20 else 0, be(d, 2), be(d, 6)
    if 20 <= header <= total <= len(d) <= total + 65535:
        p.key[6:10] = d[9], d[1], d[8], 3 if word & 0x1FFF else word >> 13 & 1
        p.key[36:40], p.key[52:56] = d[12:16], d[16:20]
        p.end, p.kind = p.l3 + total, IPV4 if d[9] else None
        parse_l4(p, d[:total], header)
def parse_ipv6(p, d):  # 5.4
    if len(d) < 40 or be(d, 4) > len(d) - 40:
        return
    p.key[24:56], d, proto, at, frag = d[8:40], d[:40 + be(d, 4)], d[6], 40, 0
    while proto in (0, 43, 60, 51, 44) and frag < 3:
        here = d[at:at + 8] if len(d) - at >= 8 else bytes(8)
        size = {44: 8, 51: (here[1] + 2) * 4}.get(proto, (here[1] + 1) * 8)
        if size > len(d) - at:
            return
        word = be(here, 2) if proto == 44 else 0
        whole = proto == 44 and word & 0xFFF9 == 0
        p.covers = p.covers and not whole and not (proto == 43 and here[3])  # 8.5
        frag = 3 if word & 0xFFF8 else 1 if word else frag
        proto, at = (here[0], at + size) if frag < 3 else (44, at)
    p.key[6:10], p.kind, p.end = (proto, be(d, 0) >> 4 & 255, d[7], frag), IPV6, p.l3 + len(d)
    parse_l4(p, d, at)
def parse_l4(p, d, at):  # 5.5
    proto, left, p.l4 = p.key[6], len(d) - at, p.l3 + at
    alien = (ICMP, IGMP) if p.kind == IPV6 else (ICMP6,)
    read = not p.key[9] & 2 and proto in L4_SIZE and proto not in alien
    if read and left >= L4_SIZE[proto]:
        ports = d[at:at + 4] if proto in (TCP, UDP, SCTP) else (0, d[at], 0, d[at + 1])
        p.key[56:60] = ports if not p.key[9] else bytes(4)
        p.key[10:12] = two(be(d, at + 12) & 0xFFF) if proto == TCP else bytes(2)
        p.l4_sum = proto if proto != IGMP else None
        p.l4_edit = p.l4_sum if proto != TCP or 20 <= (d[at + 12] >> 4) * 4 <= left else None
    elif read and proto == ICMP6 and left >= 4:
        p.l4_sum = ICMP6
def parse_arp(p, d):  # 5.6
    if len(d) >= 28 and d[:6] == b"\0\1\x08\0\6\4":
        p.key[6], p.key[36:40], p.key[52:56] = 0 if d[6] else d[7], d[14:18], d[24:28]
        p.kind = ARP if p.eth_type == ARP and p.key[6] else None

def strip(kind, d):  # 5.7: (tun_id, inner frame), no inner frame where a rule is broken
    h = d[:12] + bytes(12)
    rule = {1: h[:4] + h[7:8] == b"\x08\0\0\0\0", 2: h[0] < 64 and be(h, 2) == 0x6558}
    at, more = {1: (8, 0), 2: (8 + (h[0] & 63) * 4, 0),
                3: (12 if h[0] & 7 else 8, h[11] if h[0] & 4 else 0)}[kind]
    while more and d[at:at + 1] > b"\0":
        at, more = at + d[at] * 4, d[at + d[at] * 4 - 1] if at + d[at] * 4 <= len(d) else 1
    version = {"4": IPV4, "6": IPV6}.get(d[at:at + 1].hex()[:1], 0)
    inner = (bytes(12) + two(version) if kind == 3 else b"") + d[at:]
    good = rule.get(kind, h[1] == 255) and not more and at <= len(d) and (version or kind < 3)
    return d[4:8] if kind == 3 else b"\0" + d[4:7], inner if good else b""
def decapsulate(p, frame, port, tunnels):  # 5.7: (parse, inner or same frame) or None
    ok = not p.tags and p.kind == IPV4 and not p.key[9] and p.l4_sum == UDP
    fit = [t for t in tunnels if ok and (not t.flags & 2 or t.remote == p.key[36:40])
           and t.flags & 1 and (t.over, t.local, t.port) == (port, p.key[52:56], be(p.key, 58))]
    if not fit:
        return (p, frame) if len(frame) >= 14 else None
    tunnel = min(fit, key=lambda t: not t.flags & 2)
    right = [ones_sum(frame[at:at + 2] + data) == 0xFFFF or proto == UDP and not be(frame, at)
             for proto, at, data in covered(p, frame)]
    tun_id, inner = strip(tunnel.kind, frame[p.l4 + 8:p.end])
    inner += frame[p.end:] if inner else b""
    q = parse(inner, tunnel.number, tun_id)
    clash = p.key[7] & 3 == 3 and be(q.key, 2) in (IPV4, IPV6) and q.key[7] & 3 != 3
    good = not p.snap and p.l4 - p.l3 == 20 and all(right) and len(inner) >= 14 and not clash
    return (q, inner) if good else None

def mix(z):  # 6.2
    z = (z ^ z >> 33) * 0x9216D5D98979FB1B & M64
    z = (z ^ z >> 29) * 0xD1310BA698DFB5AD & M64
    return z ^ z >> 32
def hashes(key):  # 6.2
    k = [w + a & M64 for w, a in zip(struct.unpack("<8Q", key), A)]
    p = sum(k[i] * k[i + 1] for i in (0, 2, 4, 6))
    f = mix((p ^ p >> 32 & M32 << 32 ^ p >> 96 & M32) & M64)
    g = mix((p >> 64) + f & M64)
    return [f & M32, f >> 32, g & M32, g >> 32]
def lookup(card, key):  # 6.3: all entries that match, the winner first
    for table, bank in enumerate(card.banks):
        masked = bytes(a & b for a, b in zip(key, bytes.fromhex(bank["mask"])))
        n, stash = bank["slots"], [*range(4 * bank["slots"], 4 * bank["slots"] + bank["stash"])]
        ways = [w * n + (h * n >> 32) for w, h in enumerate(hashes(masked)) if n]
        found = (card.entries.get((table, place)) for place in ways + stash)
        yield from (e for e in found if e and e.match == masked)
    yield from (e for (table, _), e in sorted(card.entries.items()) if table == len(card.banks)
                and bytes(a & b for a, b in zip(key, e.mask)) == e.match)

def ones_sum(data):
    total = sum(be(bytes(data[i:i + 2]) + b"\0", 0) for i in range(0, len(data), 2))
    return (total - 1) % 0xFFFF + 1 if total else 0
def crc32c(data):
    c = M32
    for bit in (byte >> i & 1 for byte in data for i in range(8)):
        c = c >> 1 ^ (0x82F63B78 if (c ^ bit) & 1 else 0)
    return c ^ M32
def covered(p, f):  # 8.5: (protocol or 0 for IPv4, offset, what it covers) of each checksum
    spans = [(0, p.l3 + 10, 2, p.l3, p.l3 + (f[p.l3] & 15) * 4, b"")] if p.kind == IPV4 else []
    if p.l4_sum:
        addresses = f[p.l3 + 12:p.l3 + 20] if p.kind == IPV4 else f[p.l3 + 8:p.l3 + 40]
        pseudo = struct.pack(">II", p.end - p.l4, p.l4_sum) + (addresses if p.covers else b"")
        spans.append((p.l4_sum, p.l4 + SUM_AT[p.l4_sum], 4 if p.l4_sum == SCTP else 2, p.l4, p.end,
                      b"" if p.l4_sum in (ICMP, SCTP) else pseudo))
    return [(proto, at, pseudo + f[start:at] + bytes(size) + f[at + size:end])
            for proto, at, size, start, end, pseudo in spans]
def fix_checksums(p, old, f):  # 8.5
    for (proto, at, before), (_, _, after) in zip(covered(p, old), covered(p, f)):
        if proto == SCTP:
            change = struct.pack("<I", crc32c(before) ^ crc32c(after))
            f[at:at + 4] = bytes(a ^ b for a, b in zip(f[at:at + 4], change))
        elif before != after and not (proto == UDP and be(f, at) == 0):
            change = (be(f, at) ^ 0xFFFF, ones_sum(before) ^ 0xFFFF, ones_sum(after))
            c = ones_sum(struct.pack(">3H", *change)) ^ 0xFFFF
            f[at:at + 2] = two(c or 0xFFFF * (proto == UDP))

def edit(p, frame, e):  # 7.2: (edited frame, its ip_tos, bytes in front of L3)
    f, tos = bytearray(frame), p.key[7]
    l4 = [(0, 57, 1), (1, 59, 1)] if p.l4_edit in (ICMP, ICMP6) else [(0, 56, 4)]
    for at, k, n in [(0, 12, 12)] + [(p.l3 + at, *rest) for at, *rest in L3_FIELDS[p.kind]] + [
            (p.l4 + at, *rest) for at, *rest in l4 if p.l4_edit]:  # (1)
        f[at:at + n] = [e.set[k + i] if e.bytes >> k + i & 1 else f[at + i] for i in range(n)]
    if p.kind in (IPV4, IPV6):
        tos, shift, ttl = tos & ~e.tos | e.set[7] & e.tos, *((0, 8) if p.kind == IPV4 else (4, 7))
        f[p.l3:p.l3 + 2] = two(be(f, p.l3) & ~(0xFF << shift) | tos << shift)
        f[p.l3 + ttl] = max(f[p.l3 + ttl] - e.dec, 0)  # (2)
    fix_checksums(p, frame, f)
    pops = min(e.pops, p.tags)
    del f[12:12 + 4 * pops]  # (3)
    if pops < p.tags:
        f[14:16] = two(be(f, 14) & ~e.tag | be(e.set, 4) & e.tag)  # (4)
    for i in range(0, 4 * e.pushes, 4):
        f[12:12] = struct.pack(">2H", *struct.unpack_from("<2H", e.pushed, i))  # (5)
    return bytes(f), tos, p.l3 - 4 * pops + 4 * e.pushes

def source_port(key):  # 8.7
    h = 0x54574E50
    for w in (key[6], *struct.unpack(">9I", key[24:60])):
        h = (x := (h + w) * 1025 & M32) ^ x >> 6  # += << 10
    for _ in range(2):
        h = ((x := h * 9 & M32) ^ x >> 11) * 32769 & M32  # += << 3, 15
    return 32768 + h % 28233
def encapsulate(p, e, t, edited, tos, l3):  # 8.7: the frames to send, one or none
    to = t.remote if t.flags & 2 else e.to if e.flags & 8 else bytes(4)
    tun_id = bytes(e.set[i] if e.bytes >> i & 1 else p.key[i] for i in range(60, 64))
    body = (b"\x08\0\0\0" if t.kind == 1 else b"\0\0\x65\x58") + tun_id[1:] + b"\0" + edited
    if t.kind == 3:
        qfi = [q & 63 for q, given in ((t.qfi, t.flags & 8), (e.qfi, e.flags & 16)) if given][:1]
        inner = b"".join(bytes([0, 0, 0, 0x85, 1, 0, q, 0]) for q in qfi) + edited[l3:]
        body = two(0x34FF if qfi else 0x30FF) + two(len(inner) & 0xFFFF) + tun_id + inner
    fits = 28 + len(body) <= 65535 and (t.kind < 3 or be(p.key, 2) in (IPV4, IPV6))
    if not t.flags & 1 or to == bytes(4) or not fits:
        return []
    tos = (tos if t.flags & 4 else t.tos) & 0xFC | (2 if tos & 3 == 3 else tos & 3)
    ip = struct.pack(">BBHIBBH4s4s", 0x45, tos, 28 + len(body), 0x4000, t.ttl, UDP, 0, t.local, to)
    udp = struct.pack(">4H", source_port(p.key), t.port, 8 + len(body), 0) + body
    return [t.peer + t.mac + b"\x08\0" + ip[:10] + two(ones_sum(ip) ^ 0xFFFF) + ip[12:] + udp]

def receive(card, port, frame):  # 8.1: (frames to the host, frames to the ports)
    ports, p = card.ports, parse(frame, card.ports[port]["number"])
    if len(frame) > ports[port]["mtu_in"]:  # (2)
        return [], []
    p, inner = decapsulate(p, frame, port, card.tunnels) or (None, None)  # (4)
    e = next(lookup(card, bytes(p.key)), None) if p else None  # (5)
    if not e or e.flags & 1 and p.key[8] <= e.low:  # (6)
        return [("no_entry" if p and not e else "exception", frame)], []
    edited, tos, l3 = edit(p, inner, e)  # (8)
    sent = [(i, edited) for i in range(len(ports)) if e.outputs >> i & 1]
    for t in [card.tunnels[e.tunnel]] if e.flags & 4 else []:
        sent += [(t.over, f) for f in encapsulate(p, e, t, edited, tos, l3)]
    limits = [M32 if q["mtu_out"] is None else q["mtu_out"] for q in ports]
    sent = sorted((s for s in sent if len(s[1]) <= limits[s[0]]), key=lambda s: s[0])
    return [("to_host", edited)] if e.flags & 2 else [], sent
def run(case):
    d, unhex = case["card"], bytes.fromhex
    card = Record(ports=d["ports"], banks=d["banks"],
                  tunnels=[Tunnel(*TUNNEL.unpack(unhex(t))) for t in d["tunnels"]])
    entries = [(e, Entry(*ENTRY.unpack(unhex(e["image"])))) for e in d["entries"]]
    card.entries = {(at["table"], at["place"]): e for at, e in entries if e.start == 0 < e.until}
    for port, frame in case["frames"]:
        host, sent = receive(card, port, unhex(frame))
        yield {"host": [(r, f.hex()) for r, f in host], "outputs": [(i, f.hex()) for i, f in sent]}
if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        json.dump([result for case in json.load(file) for result in run(case)], sys.stdout)
