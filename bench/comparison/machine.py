"""The machine: packages, huge pages, what it is called."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from failure import CannotMeasure

PACKAGES = {"openvswitch-switch-dpdk": "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk",
            "openvswitch-switch": "/usr/sbin/ovs-vsctl",
            "dpdk": "/usr/bin/dpdk-testpmd", "dpdk-dev": "/usr/bin/dpdk-test-acl"}
HUGE = Path("/proc/sys/vm/nr_hugepages")
PAGES = 1300


def install():
    """Installs what is missing, three tries. Open vSwitch's service is not started by that."""
    missing = [name for name, path in PACKAGES.items() if not Path(path).exists()]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise CannotMeasure(f"install these packages first: {' '.join(missing)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    steps = (["apt-get", "update", "-q"],
             ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing])
    for _ in range(3):
        done = [subprocess.run(step, env=environment, capture_output=True, text=True) for step in steps]
        if done[-1].returncode == 0:
            return
    told = (done[-1].stderr.strip().splitlines() or ["apt-get failed"])[-1]
    raise CannotMeasure(f"cannot install {' '.join(missing)}: {told}")


class HugePages:
    """Sets huge pages aside and gives back what was there before."""

    def __init__(self):
        self.before = None

    def take(self):
        """At least PAGES; raises when the kernel has not enough memory in one piece."""
        before = int(HUGE.read_text())
        if before >= PAGES:
            return
        self.before = before
        try:
            HUGE.write_text(str(PAGES))
        except OSError as error:
            raise CannotMeasure(f"cannot set huge pages aside ({error}): run as root") from error
        have = int(HUGE.read_text())
        if have < PAGES:
            raise CannotMeasure(f"only {have} of {PAGES} huge pages: free memory, or reboot")

    def give_back(self):
        """As before."""
        if self.before is not None:
            HUGE.write_text(str(self.before))
            self.before = None


def output(*command):
    """First line of what a command prints, empty when it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]


def version(package):
    """Version of a Debian package, without its build suffix."""
    return output("dpkg-query", "-W", "-f", "${Version}", package).split("-")[0]


def describe(root):
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    mhz = re.search(r"cpu MHz\s*: (\d+)", info)
    flags = re.search(r"flags\s*: (.*)", info)
    sets = [name for name in ("avx2", "avx512f", "avx512_vbmi2", "vaes") if name in (flags[1] if flags else "")]
    return {"cpu": model[1] if model else "unknown", "mhz": int(mhz[1]) if mhz else None,
            "cpus": os.cpu_count(), "vectors": sets, "kernel": os.uname().release,
            "twinpath": output("git", "-C", str(root), "rev-parse", "--short", "HEAD"),
            "openvswitch": version("openvswitch-switch-dpdk"), "dpdk": version("dpdk"),
            "load": round(os.getloadavg()[0], 1)}
