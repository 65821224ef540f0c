"""DPDK's testpmd swapping MAC addresses on one core: the ceiling without any lookup."""

import re
import subprocess
import threading
import time

from failure import CannotMeasure
from process import PREFERRED, Frozen


class Testpmd:
    """One port that plays the capture and takes back what is sent."""

    name = "testpmd macswap"

    def __init__(self, capture):
        # Line by line: it would keep its answers in a buffer otherwise.
        command = [*PREFERRED, "stdbuf", "-oL", "dpdk-testpmd", "-l", "0,1", "--no-pci",
                   "--in-memory", "-m", "2000",
                   f"--vdev=net_pcap0,rx_pcap={capture},infinite_rx=1", "--", "-i",
                   "--forward-mode=macswap", "--nb-cores=1", "--burst=32",
                   "--port-topology=loop", "--total-num-mbufs=262144", "--no-flush-rx"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.frozen = Frozen(self.process.pid)
        self._tell("start")
        self._until("packet forwarding", 30)

    def _tell(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise CannotMeasure("testpmd ended") from None

    def _until(self, pattern, limit):
        told = []
        watch = threading.Timer(limit, self.frozen.end)
        watch.start()
        try:
            for line in self.process.stdout:
                told.append(line.strip())
                if re.search(pattern, line):
                    return line
        finally:
            watch.cancel()
        why = next((line for line in told if re.search("Error|Cannot|Cause", line)), "no answer")
        self.end()
        raise CannotMeasure(f"testpmd: {why}")

    def measure(self, seconds):
        """Million packets a second received in so many seconds."""
        self.frozen.thaw()
        time.sleep(0.1)
        self._rate()
        time.sleep(seconds)
        rate = self._rate()
        self.frozen.freeze()
        return rate / 1e6

    def _rate(self):
        # Testpmd counts since it was asked last.
        self._tell("show port stats 0")
        return int(re.search(r"Rx-pps:\s+(\d+)", self._until("Rx-pps", 10))[1])

    def end(self):
        """Ends it."""
        self.frozen.end()
        self.process.wait()
