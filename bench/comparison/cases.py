"""The cases: what each contender is given, what is taken from it, and the bar."""

import statistics

from failure import CannotMeasure
import capture
import rules

FLOWS, MANY, MOST = 1_000, 100_000, 1_000_000
RULES = 10_000
NEW_PORTS, NEW_PREFIXES = 500, 400


class Row:
    """One case's result: pairs of runs, taken in turn."""

    def __init__(self, name, peer, bar=None, unit="Mpps"):
        self.name, self.peer, self.bar, self.unit = name, peer, bar, unit
        self.ours, self.theirs, self.notes, self.reason = [], [], [], None
        self.ratio_value = None

    def add(self, ours, theirs=None):
        """One run of each."""
        self.ours.append(ours)
        if theirs is not None:
            self.theirs.append(theirs)

    def fail(self, error):
        """Says why something is missing."""
        self.reason = str(error)

    @staticmethod
    def _median(values):
        return statistics.median(values) if values else None

    @staticmethod
    def _spread(values):
        return [round(min(values), 4), round(max(values), 4)] if values else None

    def ratio(self):
        """Ours by theirs, medians; `None` when one is missing."""
        ours, theirs = self._median(self.ours), self._median(self.theirs)
        if self.ratio_value is not None:
            return self.ratio_value
        return ours / theirs if ours is not None and theirs else None

    def met(self):
        """Whether the bar is reached; `None` without a bar or a figure."""
        figure = self.ratio()
        if self.bar is None:
            return None
        return figure is not None and figure >= self.bar

    def as_dict(self):
        """For compare.json."""
        def rounded(value):
            return None if value is None else round(value, 4)
        return {"name": self.name, "twinpath_mpps": rounded(self._median(self.ours)), "peer": self.peer,
                "peer_mpps": rounded(self._median(self.theirs)), "ratio": rounded(self.ratio()),
                "runs": len(self.ours), "unit": self.unit, "twinpath_spread": self._spread(self.ours),
                "peer_spread": self._spread(self.theirs), "bar": self.bar, "met": self.met(),
                "reason": self.reason, "notes": self.notes}


class Material:
    """Captures and rule files below target/bench, made when they are asked for."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.set = None

    def capture(self, name, frames):
        """A capture, made once; change the name when the frames change."""
        return capture.write(self.folder / f"{name}.pcap", frames)

    def rules(self, name, lines):
        """A rule file, made anew."""
        return rules.write(self.folder / f"{name}.flows", lines)

    def acl(self):
        """The access list."""
        self.set = self.set or rules.Acl(RULES)
        return self.set

    def prefixes(self):
        """The target prefixes of new_flows."""
        return rules.prefixes(NEW_PREFIXES)


def open_vswitch_cases(material):
    """(name, capture, rules, bar) of the cases that loop a capture through OVS-DPDK."""
    one = material.rules("one", rules.one())
    yield "flows_1k", material.capture("udp-1k", capture.udp_flows(FLOWS)), one, 4.0
    yield ("flows_100k_rules_10k", material.capture("udp-100k", capture.udp_flows(MANY)),
           material.rules("targets-10k", rules.targets(RULES)), 4.0)
    acl = material.acl()
    yield ("flows_100k_acl_10k", material.capture("acl-100k", acl.frames(MANY)),
           material.rules("acl-10k", acl.flows()), 4.0)
    yield "imix", material.capture("imix-1k", capture.udp_flows(FLOWS, capture.IMIX)), one, None
    yield "frames_1500", material.capture("1500-1k", capture.udp_flows(FLOWS, (1514,))), one, None


def loop(twinpath, ovs, case, plan):
    """A capture looped through both, in turn."""
    name, frames, flows, bar = case
    row = Row(name, ovs.name if ovs else "OVS-DPDK", bar)
    if ovs:
        ovs.prepare(frames, flows)
        theirs = ovs.settle()
        ovs.freeze()
    cycles = []
    for _ in range(plan.runs):
        told = twinpath.forward(frames, flows, plan.seconds)
        rate = None
        if ovs:
            rate, spent = ovs.measure(plan.seconds)
            cycles.append(spent)
        row.add(told["mpps"], rate)
    row.notes.append(f"flows under masks: {told['flows']:,} under {told['masks']}")
    if ovs:
        row.notes.append(f"flows in OVS: {theirs:,}; {statistics.median(cycles):.0f} cycles a packet")
    return row


def new_flows(twinpath, ovs, material, plan):
    """Each packet needs a flow that is not there yet."""
    nets = material.prefixes()
    count = NEW_PORTS * len(nets)
    frames = material.capture("new-200k", capture.port_and_prefix(NEW_PORTS, nets))
    flows = material.rules("new", rules.port_and_prefix(NEW_PORTS, nets))
    row = Row("new_flows", ovs.name if ovs else "OVS-DPDK", 10.0, "M flows/s")
    if ovs:
        ovs.prepare(frames, flows)
    for _ in range(plan.runs):
        if ovs:
            ovs.freeze()
        told = twinpath.forward(frames, flows, plan.seconds, "--cold")
        if told["flows_made"] < count:
            raise CannotMeasure(f"twinpath made {told['flows_made']} flows of {count}")
        row.add(told["mpps"], ovs.new_flows(frames, count)[0] if ovs else None)
    row.notes.append(f"{count:,} flows, {NEW_PORTS + len(nets)} rules")
    return row


def testpmd_share(twinpath, testpmd, material, plan):
    """Lookup, edit and counters against no lookup at all."""
    frames = material.capture("udp-1k", capture.udp_flows(FLOWS))
    flows = material.rules("one", rules.one())
    row = Row("testpmd_share", testpmd.name, 1.0)
    for _ in range(plan.runs):
        testpmd.frozen.freeze()
        row.add(twinpath.forward(frames, flows, plan.seconds)["mpps"], testpmd.measure(plan.seconds))
    return row


def growth(twinpath, material, plan):
    """What is left of the net rate when there are a thousand times more flows; and their memory."""
    few = material.capture("pairs-1k", capture.address_pairs(1000, FLOWS))
    many = material.capture("pairs-1m", capture.address_pairs(1000, MOST))
    flows = material.rules("pairs", rules.address_pairs(1000))
    row = Row("growth_1m", "Twinpath at 1,000 flows", 0.25, "Mpps net")
    memory = Row("memory_1m", "", None, "MB")
    for _ in range(plan.runs):
        net = []
        for frames in (many, few):
            told = twinpath.forward(frames, flows, plan.seconds)
            net.append(1 / (1 / told["mpps"] - 1 / told["source_mpps"]))
            if frames is many:
                row.notes = [f"gross {told['mpps']:.1f}, source alone {told['source_mpps']:.1f} Mpps"]
                if told["flows"] < MOST:
                    raise CannotMeasure(f"twinpath keeps {told['flows']} flows of {MOST}")
                if "memory_mb" in told:
                    memory.ours.append(told["memory_mb"])
        row.add(*net)
    memory.notes.append("megabytes for 1,000,000 flows; bar: at most 300")
    if not memory.ours:
        memory.fail("this twinpath does not report memory")
    return row, memory


def gtpu(twinpath, material, plan):
    """Decapsulation and a rewrite, beside the same rewrite of the packets inside."""
    outer = material.capture("gtpu-100k", capture.gtpu_sessions(MANY))
    plain = material.capture("udp-100k", capture.udp_flows(MANY))
    inside = material.rules("gtpu", rules.sessions(MANY))
    one = material.rules("one", rules.one())
    row = Row("gtpu_decap", "Twinpath, plain packets", 0.5)
    for _ in range(plan.runs):
        row.add(twinpath.forward(outer, inside, plan.seconds, "--gtpu", "10.255.0.1")["mpps"],
                twinpath.forward(plain, one, plan.seconds)["mpps"])
    return row


def workers(twinpath, material, plan):
    """Two workers on two cores beside one, each with its own source."""
    frames = material.capture("udp-1k", capture.udp_flows(FLOWS))
    flows = material.rules("one", rules.one())
    row = Row("workers_2", "Twinpath, one worker", 1.8)
    for _ in range(plan.runs):
        row.add(twinpath.forward(frames, flows, plan.seconds, "--workers", 2, cpu=0)["mpps"],
                twinpath.forward(frames, flows, plan.seconds)["mpps"])
    return row
