"""Sends the frames of a capture out of an interface as fast as one core can, until it is killed.

usage: sender.py CAPTURE INTERFACE
"""

import ctypes
import socket
import struct
import sys
from pathlib import Path

BATCH = 64
SOL_PACKET, QDISC_BYPASS = 263, 20


class Vector(ctypes.Structure):
    """struct iovec"""
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr"""
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
                ("vectors", ctypes.POINTER(Vector)), ("count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("sent", ctypes.c_uint)]


def frames(path):
    """All frames of a capture."""
    data = Path(path).read_bytes()
    at = 24
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def main():
    """Everything."""
    path, interface = sys.argv[1:]
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.setsockopt(SOL_PACKET, QDISC_BYPASS, 1)
    out.bind((interface, 0))
    whole = [ctypes.create_string_buffer(one, len(one)) for one in frames(path)]
    count = len(whole) // BATCH * BATCH
    vectors = (Vector * count)(*[Vector(ctypes.addressof(one), len(one)) for one in whole[:count]])
    messages = (Message * count)()
    for at in range(count):
        messages[at].vectors = ctypes.pointer(vectors[at])
        messages[at].count = 1
    send = ctypes.CDLL(None).sendmmsg
    places = [ctypes.byref(messages, at * ctypes.sizeof(Message)) for at in range(0, count, BATCH)]
    descriptor = out.fileno()
    while True:
        for place in places:
            send(descriptor, place, BATCH, 0)


main()
