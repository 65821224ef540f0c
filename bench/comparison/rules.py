"""Rule files for the comparison, in the syntax of `ovs-ofctl add-flows`, and the ACL set."""

import random
from pathlib import Path

from capture import TCP, UDP, frame

# What every rule does: a rewrite, so that nobody is measured for passing frames on untouched.
REWRITE = "mod_dl_dst:02:00:00:00:00:{0:02x},dec_ttl,output:1"


def dotted(address):
    """An IPv4 address as people write it."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def write(path, lines):
    """Writes a rule file."""
    path = Path(path)
    path.write_text("\n".join(lines) + "\n")
    return path


def one():
    """One rule that rewrites all."""
    yield "priority=1,in_port=2,ip,actions=" + REWRITE.format(1)


def targets(count):
    """`count` rules for /32 targets in 192.168.0.0/16, and one for the rest."""
    for i in range(count):
        address = dotted(0xC0A80000 + i)
        yield f"priority={100 + i % 20},in_port=2,ip,nw_dst={address},actions=" + REWRITE.format(i % 256)
    yield "priority=1,in_port=2,actions=output:1"


def address_pairs(side):
    """Sources in one table, targets in the next: as many exact flows as there are pairs."""
    for i in range(side):
        yield f"table=0,priority=10,ip,nw_src={dotted(0x0A000000 + i)},actions=goto_table:1"
    for i in range(side):
        address = dotted(0xC0A80000 + i)
        yield f"table=1,priority=10,ip,nw_dst={address},actions=" + REWRITE.format(i % 256)


def prefixes(count):
    """Disjoint target prefixes of lengths 18 to 28: (address, length)."""
    return [((20 + i // 64 << 24) + (i % 64 << 18), 18 + i % 11) for i in range(count)]


def port_and_prefix(ports, nets):
    """Target ports in one table, target prefixes in the next."""
    for i in range(ports):
        yield f"table=0,priority=10,udp,tp_dst={2000 + i},actions=goto_table:1"
    for i, (address, length) in enumerate(nets):
        net = f"{dotted(address)}/{length}"
        yield f"table=1,priority=10,ip,nw_dst={net},actions=" + REWRITE.format(i % 256)


def sessions(_count):
    """What comes out of the tunnel port (12) is rewritten as plain packets are."""
    yield "priority=1,in_port=12,ip,actions=mod_dl_src:02:00:00:00:00:02," + REWRITE.format(1)


class Acl:
    """An access list as ClassBench's `acl` seeds look: nested prefixes, few source ports, exact,
    masked or any target ports, TCP and UDP. The order is the priority."""

    # (source length, target length): mostly specific targets; weights as in published seeds' shape.
    LENGTHS = [(0, 32, 8), (24, 32, 10), (32, 32, 14), (16, 24, 10), (28, 30, 6), (24, 24, 8),
               (8, 28, 6), (0, 24, 5), (32, 24, 6), (20, 27, 5), (26, 32, 6), (16, 16, 3),
               (30, 29, 5), (12, 26, 4), (32, 0, 4)]
    # Target port: (mask, weight): exact, ranges of powers of two, any.
    PORTS = [(0xFFFF, 55), (0xFC00, 8), (0xFFF0, 7), (0x0000, 30)]
    PROTOCOLS = [(TCP, 60), (UDP, 40)]

    def __init__(self, count, seed=7):
        self.random = random.Random(seed)
        self.rules = []
        seen = set()
        nets = [self.random.getrandbits(32) for _ in range(300)]
        while len(self.rules) < count:
            rule = self._rule(nets)
            if rule not in seen:
                seen.add(rule)
                self.rules.append(rule)

    def _pick(self, weighted):
        return self.random.choices(weighted, [one[-1] for one in weighted])[0]

    def _prefix(self, nets, length):
        # Near a known net, so that prefixes nest.
        base = self.random.choice(nets) ^ self.random.getrandbits(32) >> self.random.choice((16, 20, 24))
        return base & (0xFFFFFFFF << (32 - length) & 0xFFFFFFFF)

    def _rule(self, nets):
        source_length, target_length, _ = self._pick(self.LENGTHS)
        mask, _ = self._pick(self.PORTS)
        protocol, _ = self._pick(self.PROTOCOLS)
        port = self.random.choice((22, 25, 53, 80, 123, 443, 1521, 8080, self.random.randrange(1024, 65536)))
        return (self._prefix(nets, source_length), source_length,
                self._prefix(nets, target_length), target_length, port & mask, mask, protocol)

    def masks(self):
        """Number of distinct masks."""
        return len({(rule[1], rule[3], rule[5], rule[6]) for rule in self.rules})

    def flows(self):
        """The rules as Open vSwitch and Twinpath read them."""
        for i, (source, slen, target, tlen, port, mask, protocol) in enumerate(self.rules):
            match = ["tcp" if protocol == TCP else "udp"]
            match += [f"nw_src={dotted(source)}/{slen}"] if slen else []
            match += [f"nw_dst={dotted(target)}/{tlen}"] if tlen else []
            match += [f"tp_dst={port:#x}/{mask:#x}"] if mask else []
            yield f"priority={30000 - i},in_port=2,{','.join(match)},actions=" + REWRITE.format(i % 256)
        yield "priority=1,in_port=2,actions=output:1"

    def classbench(self):
        """The rules as `dpdk-test-acl` reads them: ClassBench's format."""
        for source, slen, target, tlen, port, mask, protocol in self.rules:
            high = port | ~mask & 0xFFFF
            yield (f"@{dotted(source)}/{slen} {dotted(target)}/{tlen} 0 : 65535 "
                   f"{port} : {high} {protocol:#04x}/0xff")

    def headers(self, count, seed=11):
        """`count` distinct 5-tuples, each within a rule; some rules are met much more often."""
        draw = random.Random(seed)
        seen = set()
        while len(seen) < count:
            at = min(int(draw.paretovariate(0.4)) - 1, 1 << 40) % len(self.rules)
            source, slen, target, tlen, port, mask, protocol = self.rules[at]
            header = (source | draw.getrandbits(32) >> slen, target | draw.getrandbits(32) >> tlen,
                      draw.randrange(1024, 65536), port | draw.getrandbits(16) & ~mask & 0xFFFF, protocol)
            if header not in seen:
                seen.add(header)
                yield header

    def frames(self, count):
        """A frame for each of the headers."""
        return (frame(*header) for header in self.headers(count))

    def trace(self, count):
        """The headers as `dpdk-test-acl` reads them."""
        return (" ".join(map(str, header)) for header in self.headers(count))
