"""OVS-DPDK on one core: captures looped in memory in, a null port out."""

import re
import shutil
import tempfile
import time
from pathlib import Path

from failure import CannotMeasure
from process import PREFERRED, Frozen, run

DAEMON = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
# Flows stay although the daemon is frozen between measurements.
KEEP = ["other_config:flow-limit=2000000", "other_config:max-idle=3600000"]


class OvsDpdk:
    """One start serves all cases: rules and the capture's port are replaced."""

    name = "OVS-DPDK"

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="twinpath-ovs-"))
        self.database = f"unix:{self.folder}/db.sock"
        self.ports = 0
        self.processes = []
        self.daemon = None
        try:
            self._start()
        except CannotMeasure:
            self.end()
            raise

    def _run(self, *command, timeout=30):
        environment = {f"OVS_{what}DIR": str(self.folder) for what in ("RUN", "LOG", "DB")}
        environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = run(command, timeout, env=environment)
        if done.returncode != 0:
            told = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise CannotMeasure(f"{Path(command[0]).name}: {told}")
        return done.stdout

    def _vsctl(self, *words):
        return self._run("ovs-vsctl", "--timeout=30", f"--db={self.database}", *words)

    def _appctl(self, *words):
        return self._run("ovs-appctl", "-T", "20", "-t", self.control, *words)

    def _start(self):
        database = f"{self.folder}/conf.db"
        self._run("ovsdb-tool", "create", database, SCHEMA)
        self._run("ovsdb-server", database, f"--remote=punix:{self.folder}/db.sock", "--pidfile",
                  "--detach", "--log-file", "-vconsole:off")
        self.processes.append(Frozen(int((self.folder / "ovsdb-server.pid").read_text())))
        self._vsctl("--no-wait", "init")
        self._vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                    "other_config:pmd-cpu-mask=0x2", "other_config:dpdk-lcore-mask=0x1", *KEEP,
                    "other_config:dpdk-extra=--no-pci --in-memory -m 2000")
        try:
            self._run(*PREFERRED, DAEMON, self.database, "--pidfile", "--detach", "--log-file",
                      "-vconsole:off", timeout=60)
        except CannotMeasure as error:
            raise CannotMeasure(f"OVS-DPDK does not start: {self._last_log() or error}") from error
        self.daemon = Frozen(int((self.folder / "ovs-vswitchd-dpdk.pid").read_text()))
        self.processes.append(self.daemon)
        self.control = f"{self.folder}/ovs-vswitchd-dpdk.{self.daemon.pid}.ctl"
        self._vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                    "fail_mode=secure", "protocols=OpenFlow10,OpenFlow13")
        self._vsctl("add-port", "br0", "tx0", "--", "set", "interface", "tx0", "type=dpdk",
                    "ofport_request=1", "options:dpdk-devargs=net_null1,copy=0")

    def _last_log(self):
        log = self.folder / "ovs-vswitchd-dpdk.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return next((line for line in reversed(lines) if re.search(r"\|(ERR|EMER)\|", line)), "")

    def prepare(self, capture, rules):
        """Replaces rules and capture; returns when packets come in."""
        self.thaw()
        self._unplug()
        self._run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", "br0")
        self._run("ovs-ofctl", "-O", "OpenFlow13", "add-flows", "br0", str(rules), timeout=60)
        self._plug(capture)

    def _unplug(self):
        if self.ports:
            self._vsctl("del-port", "br0", f"rx{self.ports}")

    def _plug(self, capture):
        # A new name each time: the driver reads the capture when the device is made.
        self.ports += 1
        device = f"net_pcap{self.ports},rx_pcap={capture},infinite_rx=1"
        self._vsctl("add-port", "br0", f"rx{self.ports}", "--", "set", "interface",
                    f"rx{self.ports}", "type=dpdk", "ofport_request=2",
                    f"options:dpdk-devargs={device}")
        error = self._vsctl("get", "interface", f"rx{self.ports}", "error").strip()
        if error not in ("[]", '""'):
            raise CannotMeasure(f"OVS-DPDK does not take the capture: {error}")

    def settle(self, limit=40):
        """Waits until no new flows are made; returns their number."""
        made, still = -1, 0
        deadline = time.monotonic() + limit
        while still < 3 and time.monotonic() < deadline:
            time.sleep(0.25)
            now = self.upcalls()
            still = still + 1 if now == made else 0
            made = now
        return self.flows()

    def upcalls(self):
        """Packets that made a flow since the statistics were cleared."""
        found = re.search(r"miss with success upcall: (\d+)", self._pmd())
        return int(found[1]) if found else 0

    def _pmd(self):
        # The polling thread comes first; the main thread's section is of no interest.
        return self._appctl("dpif-netdev/pmd-stats-show").split("main thread:")[0]

    def flows(self):
        """Flows in the datapath."""
        found = re.search(r"flows: (\d+)", self._appctl("dpctl/show", "netdev@ovs-netdev"))
        if found:
            return int(found[1])
        return self._appctl("dpctl/dump-flows", "netdev@ovs-netdev").count("in_port")

    def measure(self, seconds):
        """(Mpps, cycles a packet) over so many seconds."""
        self.thaw()
        time.sleep(0.1)
        self._appctl("dpif-netdev/pmd-stats-clear")
        time.sleep(seconds)
        text = self._appctl("dpif-netdev/pmd-perf-show")
        self.freeze()
        found = re.search(r"Rx packets:\s+(\d+)\s+\((\d+) Kpps, (\d+) cycles/pkt\)", text)
        if not found or int(found[1]) == 0:
            raise CannotMeasure("OVS-DPDK received nothing; see its log")
        return int(found[2]) / 1000, int(found[3])

    def new_flows(self, capture, until):
        """Million flows a second while the first `until` are made, all anew."""
        self.thaw()
        self._unplug()
        time.sleep(0.3)
        self._appctl("dpif-netdev/pmd-stats-clear")
        before = self.upcalls()
        self._plug(capture)
        samples = []
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            made = self.upcalls() - before
            if made > 0:
                samples.append((time.monotonic(), made))
            if made >= until * 0.99 or (len(samples) > 20 and samples[-20][1] == made):
                break
            time.sleep(0.02)
        # Those at the bound may have been taken after the last flow was made.
        growing = [one for one in samples if one[1] < until * 0.99] or samples
        self.freeze()
        if len(growing) < 2 or growing[-1][1] == growing[0][1]:
            raise CannotMeasure(f"OVS-DPDK made {samples[-1][1] if samples else 0} flows, too fast to time")
        (start, first), (end, last) = growing[0], growing[-1]
        return (last - first) / (end - start) / 1e6, last

    def freeze(self):
        """Leaves the core to others."""
        self.daemon.freeze()

    def thaw(self):
        """Takes it back."""
        self.daemon.thaw()

    def end(self):
        """Ends the daemons and removes their folder."""
        for process in self.processes:
            process.end()
        shutil.rmtree(self.folder, ignore_errors=True)
