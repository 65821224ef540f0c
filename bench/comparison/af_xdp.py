"""Sockets: Twinpath and Open vSwitch between two veth pairs."""

from failure import CannotMeasure


def af_xdp(_twinpath, _material, _plan):
    """Not yet: the AF_XDP wire comes first."""
    raise CannotMeasure("the AF_XDP wire is not there yet")
