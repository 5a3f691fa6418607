"""Landlock: from here on this process reaches no file, no TCP port and no process outside its own domain.

Kernel ABI: Documentation/userspace-api/landlock.rst. One path stays open by the kernel's own rule: memory files and
pipes, whose file systems nobody can mount, may be opened through /proc/self/fd/N by whoever holds the descriptor.
"""

from __future__ import annotations

import ctypes
import os

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_VERSION = 1 << 0

# how many of the file-system rights, counted from bit 0, each ABI version knows
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_BIND_CONNECT = 0b11  # ABI 4
_SCOPE_ABSTRACT_SOCKET_AND_SIGNAL = 0b11  # ABI 6

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def abi() -> int:
    """Return the ABI version of this kernel's Landlock, 0 where it has none."""
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(version, 0)


def deny_all() -> int:
    """Deny the calling thread every right this kernel can deny; return the ABI version. Needs no_new_privs.

    Raises:
        OSError: Landlock is there and refuses.
    """
    version = abi()
    if not version:
        return 0
    ruleset = _Ruleset(
        handled_access_fs=(1 << _FS_RIGHTS.get(version, 16)) - 1,
        handled_access_net=_NET_BIND_CONNECT if version >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_SOCKET_AND_SIGNAL if version >= 6 else 0,
    )
    # older kernels refuse fields they do not know unless these are zero, so the full size is always right
    size = ctypes.c_size_t(ctypes.sizeof(ruleset))
    fd: int = _libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, ctypes.c_uint32(0))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        # a ruleset without rules: everything it handles is denied
        if _libc.syscall(_RESTRICT_SELF, ctypes.c_int(fd), ctypes.c_uint32(0)):
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(fd)
    return version
