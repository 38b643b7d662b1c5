"""A process that reaches no network from here on.

By a filter of system calls, which needs no right and so works in containers too. Its layout, and that PR_SET_NO_NEW_PRIVS has to
come first, are of the kernel's Documentation/userspace-api/seccomp_filter.rst; the numbers of calls are of its
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import struct
import sys
from typing import Any, Final

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000

LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
CALL_AT, ARCHITECTURE_AT = 0, 4
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000

X32_CALLS: Final = 0x40000000
"""From here on x86_64 has its calls a second time; the other has none there."""

IO_URING_SETUP: Final = 425
"""A ring opens sockets without calling `socket`."""

MACHINES: Final = {
    "x86_64": (0xC000003E, (41, 53, IO_URING_SETUP)),
    "aarch64": (0xC00000B7, (198, 199, IO_URING_SETUP)),
}
"""The kernel's number of the architecture, and its numbers of `socket`, `socketpair` and `io_uring_setup`."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def keep_from_network() -> None:
    """Have this thread, and all it starts, get EPERM for each new socket, for ever; what is open stays so.

    Where the kernel has no such filter, or it is not known here, the process moves into a network without interfaces. OSError when
    it may do neither; nothing is done on systems other than Linux.
    """
    if sys.platform != "linux":
        return
    try:
        _refuse_sockets()
    except OSError:
        _checked(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET))


def _refuse_sockets() -> None:
    machine = os.uname().machine
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    instructions = _filter(*MACHINES[machine])
    program = _Program(len(instructions) // 8, instructions)
    control: Any = ctypes.CDLL(None, use_errno=True).prctl
    control.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    _checked(control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _filter(architecture: int, calls: tuple[int, ...]) -> bytes:
    """Return the instructions, 8 bytes each: what to do, how many to skip if so and if not, and with which number.

    The calls are refused, those of another architecture kill the process, which could name the same ones by other numbers.
    """
    skipped = range(len(calls) + 1, 0, -1)
    instructions = (
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, CALL_AT),
        (IF_AT_LEAST, skipped[0], 0, X32_CALLS),
        *((IF_EQUAL, skip, 0, call) for call, skip in zip(calls, skipped[1:], strict=True)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
