"""Sends 64-byte UDP frames of many flows out of an interface until it is killed, faster than sockets can.

usage: sender.py FLOWS INTERFACE

The kernel runs a program of ours on frames of its own and sends them on without socket buffers
(BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18). The program draws the source port of
each frame and redirects it to the interface; of a veth the peer needs an XDP program too.
"""

import ctypes
import os
import platform
import socket
import struct
import sys

import capture

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PROGRAM_LOAD, PROGRAM_RUN = 5, 10
XDP, LIVE_FRAMES = 6, 2
FIRST_PORT, PORT_AT, BATCH, REPEAT = 1024, 34, 64, 1 << 20


def instruction(code, registers, offset, number):
    """Code, registers (source above, target below), offset, number."""
    return struct.pack("<BBhi", code, registers, offset, number)


def program(flows, interface):
    """Draws a port, writes it, redirects."""
    return b"".join([
        instruction(0xBF, 0x16, 0, 0),  # r6 = the frame's description
        instruction(0x85, 0, 0, 7),  # r0 = a random number
        instruction(0x94, 0x00, 0, flows),  # r0 %= flows
        instruction(0x07, 0x00, 0, FIRST_PORT),  # r0 += the first port
        instruction(0xDC, 0x00, 0, 16),  # in network order
        instruction(0x61, 0x62, 0, 0),  # r2 = start of the frame
        instruction(0x61, 0x63, 4, 0),  # r3 = its end
        instruction(0xBF, 0x24, 0, 0),
        instruction(0x07, 0x04, 0, PORT_AT + 2),
        instruction(0x2D, 0x34, 1, 0),  # no longer than that: not written
        instruction(0x6B, 0x02, PORT_AT, 0),
        instruction(0xB7, 0x01, 0, interface),
        instruction(0xB7, 0x02, 0, 0),
        instruction(0x85, 0, 0, 23),  # r0 = bpf_redirect(interface, 0)
        instruction(0x95, 0, 0, 0),
    ])


def bpf(command, *words):
    """bpf(2) with an argument of (format, value) one behind the other; its answer."""
    argument = b"".join(struct.pack(form, value) for form, value in words).ljust(128, b"\0")
    buffer = ctypes.create_string_buffer(argument, len(argument))
    done = ctypes.CDLL(None, use_errno=True).syscall(BPF, command, buffer, len(argument))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def main():
    """Everything."""
    flows, interface = int(sys.argv[1]), socket.if_nametoindex(sys.argv[2])
    code = program(flows, interface)
    data = capture.frame(0x0A000001, 0xC0A80001, FIRST_PORT, 80)
    code_at, licence_at, data_at = (ctypes.create_string_buffer(one) for one in (code, b"GPL", data))
    loaded = bpf(PROGRAM_LOAD, ("<I", XDP), ("<I", len(code) // 8), ("<Q", ctypes.addressof(code_at)),
                 ("<Q", ctypes.addressof(licence_at)))
    while True:
        bpf(PROGRAM_RUN, ("<I", loaded), ("<I", 0), ("<I", len(data)), ("<I", 0),
            ("<Q", ctypes.addressof(data_at)), ("<Q", 0), ("<I", REPEAT), ("<I", 0), ("<I", 0), ("<I", 0),
            ("<Q", 0), ("<Q", 0), ("<I", LIVE_FRAMES), ("<I", 0), ("<I", BATCH))


main()
