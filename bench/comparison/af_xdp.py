"""Sockets: Twinpath and Open vSwitch between two veth pairs, a sender in front that is faster than both."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cases import FLOWS, Row
from failure import CannotMeasure
from process import PREFERRED, Frozen, run

SPACE = "twinpath-bench"
SENDER = Path(__file__).with_name("sender.py")
RULE = "priority=1,in_port={0},ip,actions=mod_dl_dst:02:00:00:00:00:01,dec_ttl,output:{1}"
INSIDE = ["ip", "netns", "exec", SPACE]
# The sender and the kernel's part of veth have the one CPU, what is measured the other.
SENDER_CPU, OWN_CPU = "0", "1"


def ip(*words):
    """Runs `ip`, which must succeed."""
    done = run(["ip", *words], 20)
    if done.returncode != 0:
        raise CannotMeasure(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Wires:
    """sender -> in0 | in1 -> forwarder -> out0 | out1, in a network namespace of their own."""

    def __enter__(self):
        run(["ip", "netns", "del", SPACE], 20)
        ip("netns", "add", SPACE)
        for pair in ("in", "out"):
            ip("-n", SPACE, "link", "add", f"{pair}0", "type", "veth", "peer", "name", f"{pair}1")
            for end in (f"{pair}0", f"{pair}1"):
                run([*INSIDE, "sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1"], 20)
                run([*INSIDE, "ethtool", "-K", end, "tx", "off", "rx", "off", "gro", "off"], 20)
                ip("-n", SPACE, "link", "set", end, "up")
        # The far end's stack takes its frames on the sender's CPU.
        steering = "/sys/class/net/out1/queues/rx-0/rps_cpus"
        run([*INSIDE, "sh", "-c", f"echo {1 << int(SENDER_CPU):x} > {steering}"], 20)
        return self

    def __exit__(self, *_):
        run(["ip", "netns", "del", SPACE], 20)

    @staticmethod
    def counts(pid):
        """Frames that came out at both far ends so far, as a process in the namespace sees them."""
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()
        ends = {name.strip(): figures.split() for name, _, figures in (line.partition(":") for line in lines)}
        return int(ends["out1"][1]), int(ends["in1"][1])

    def rate(self, pid, seconds):
        """Million packets a second that arrive at the far end, and that are offered."""
        time.sleep(0.3)
        start, first = time.monotonic(), self.counts(pid)
        time.sleep(seconds)
        passed, last = time.monotonic() - start, self.counts(pid)
        return tuple((end - begin) / passed / 1e6 for begin, end in zip(first, last))


class Sender:
    """Frames into the first pair for as long as it lives."""

    def __init__(self):
        command = [*INSIDE, "taskset", "-c", SENDER_CPU, *PREFERRED, sys.executable, str(SENDER), str(FLOWS), "in0"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.frozen = Frozen(self.process.pid)

    def end(self):
        """Ends it."""
        self.frozen.end()
        self.process.wait()


class Forwarder:
    """`twinpath run` between the pairs."""

    def __init__(self, binary, wire, folder):
        rules = folder / "rules.flows"
        rules.write_text(RULE.format(1, 2) + "\n")
        config = folder / "twinpath.toml"
        ports = "".join(f'[[port]]\nnumber = {number}\nwire = "{wire}:{end}"\n'
                        for number, end in ((1, "in1"), (2, "out0")))
        config.write_text(f'device = "none"\nrules = "rules.flows"\npoll = "busy"\n'
                          f'control = "{folder}/control"\n{ports}')
        command = [*INSIDE, "taskset", "-c", OWN_CPU, *PREFERRED, binary, "run", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.frozen = Frozen(self.process.pid)
        time.sleep(0.5)
        if self.process.poll() is not None:
            self.frozen.end()
            told = (self.process.stderr.read().strip().splitlines() or ["it ended"])[-1]
            raise CannotMeasure(f"twinpath with {wire}: {told}")

    def end(self):
        """Ends it."""
        self.frozen.end()
        self.process.wait()
        self.process.stderr.close()


class OpenVSwitch:
    """Debian's Open vSwitch with its datapath in user space, between the same pairs."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.kind = "AF_XDP"
        database = f"{folder}/conf.db"
        self._run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        self._run("ovsdb-server", database, f"--remote=punix:{folder}/db.sock", "--pidfile", "--detach",
                  "--log-file", "-vconsole:off")
        self._own("ovsdb-server")
        self._vsctl("--no-wait", "init")
        self._vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:pmd-cpu-mask=0x2")
        self._run("taskset", "-c", OWN_CPU, *PREFERRED, "/usr/lib/openvswitch-switch/ovs-vswitchd",
                  f"unix:{folder}/db.sock", "--pidfile", "--detach", "--log-file", "-vconsole:off")
        self._own("ovs-vswitchd")
        self._vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure")
        self._ports()
        self._run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", "br0", RULE.format(1, 2))

    def _run(self, *command):
        environment = {f"OVS_{what}DIR": str(self.folder) for what in ("RUN", "LOG", "DB")}
        environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
        done = run([*INSIDE, *command], 40, env=environment)
        if done.returncode != 0:
            self.end()
            raise CannotMeasure(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return done.stdout

    def _own(self, name):
        self.processes.append(Frozen(int((self.folder / f"{name}.pid").read_text())))

    def _vsctl(self, *words):
        return self._run("ovs-vsctl", "--timeout=20", f"--db=unix:{self.folder}/db.sock", *words)

    def _ports(self):
        for kind in ("afxdp", "system"):
            for number, end in ((1, "in1"), (2, "out0")):
                self._vsctl("--if-exists", "del-port", end, "--", "add-port", "br0", end, "--", "set",
                            "interface", end, f"type={kind}", f"ofport_request={number}")
            if all(self._vsctl("get", "interface", end, "ofport").strip() in ("1", "2") for end in ("in1", "out0")):
                self.kind = "AF_XDP" if kind == "afxdp" else "AF_PACKET"
                return
        self.end()
        raise CannotMeasure("Open vSwitch takes the interfaces neither by AF_XDP nor by AF_PACKET")

    def end(self):
        """Ends the daemons."""
        for process in self.processes:
            process.end()


def one_run(make, wires, seconds):
    """The rate of one forwarder, from its start to its end; its kind."""
    with tempfile.TemporaryDirectory(prefix="twinpath-xdp-") as folder:
        forwarder = make(Path(folder))
        sender = None
        try:
            sender = Sender()
            time.sleep(0.3)
            if sender.process.poll() is not None:
                raise CannotMeasure("the sender ended: Linux 5.18 and root are needed")
            return (*wires.rate(sender.process.pid, seconds), getattr(forwarder, "kind", None))
        finally:
            forwarder.end()
            if sender:
                sender.end()


def af_xdp(twinpath, _, plan):
    """Both in turn, each started anew, with AF_XDP where it is there."""
    if not shutil.which("ip"):
        raise CannotMeasure("ip is missing: apt-get install iproute2")
    seconds = max(plan.seconds, 1.0)
    row = Row("af_xdp", "Open vSwitch", 1.5)
    wire, offers = "xdp", []
    for _ in range(plan.runs):
        with Wires() as wires:
            try:
                ours = one_run(lambda folder: Forwarder(twinpath.binary, wire, folder), wires, seconds)
            except CannotMeasure as error:
                if wire != "xdp":
                    raise
                row.notes.append(f"no AF_XDP wire ({error}): packet sockets instead")
                wire = "packet"
                ours = one_run(lambda folder: Forwarder(twinpath.binary, wire, folder), wires, seconds)
        with Wires() as wires:
            theirs = one_run(OpenVSwitch, wires, seconds)
        row.peer = f"Open vSwitch, {theirs[2]}"
        offers.append(f"{ours[1]:.2f}/{theirs[1]:.2f}")
        row.add(ours[0], theirs[0])
    row.notes.append(f"Twinpath by {wire}; offered to each, Mpps: {', '.join(offers)}")
    return row
