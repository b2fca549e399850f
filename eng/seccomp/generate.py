#!/usr/bin/env python3
"""Makes the default seccomp profile: default.json (the runtime specification's linux.seccomp, without architectures) and a compiled filter for each
architecture, from profile.json. Needs libseccomp.so.2 in version 2.5.4 of Debian 12 (libseccomp2), so that the files come out the same everywhere.

Usage: generate.py [DIRECTORY]    where to write; src/Xfn.Core/Bundles/Seccomp by default
"""

import ctypes
import errno
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
FLTATR_ACT_BADARCH, FLTATR_CTL_OPTIMIZE = 2, 8
CMP_MASKED_EQ = 7

VERSION = (2, 5, 4)

lib = ctypes.CDLL("libseccomp.so.2")


class ArgCmp(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("datum", ctypes.c_uint64)]


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint)]


lib.seccomp_version.restype = ctypes.POINTER(Version)
lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_release.argtypes = [ctypes.c_void_p]
lib.seccomp_arch_add.argtypes = lib.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_arch_native.restype = ctypes.c_uint32
lib.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(ArgCmp)]
lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
lib.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
lib.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]


def check(result, what):
    if result < 0:
        raise SystemExit(f"cannot {what}: {errno.errorcode.get(-result, result)}")


def complement(values, bits=32, depth=0, prefix=0):
    """Masked comparisons that hold for just the 32-bit numbers that are none of the values. The kernel looks at the lower half of an int argument only,
    so must the filter: a plain "not equal" compares all 64 bits and lets 2^32 + VALUE pass."""
    if not values:
        yield ((1 << depth) - 1) << (bits - depth), prefix << (bits - depth)
    elif depth < bits:
        for bit in (0, 1):
            branch = prefix << 1 | bit
            yield from complement([v for v in values if v >> (bits - depth - 1) == branch], bits, depth + 1, branch)


def rules(profile):
    """(names, errno or None to allow, argument comparison or None)"""
    yield sorted(name for names in profile["allow"].values() for name in names), None, None
    yield sorted(name for names in profile["refuse"].values() for name in names), errno.EPERM, None
    for rule in profile["arguments"]:
        names, index, otherwise = [rule["call"]], rule["argument"], getattr(errno, rule["else"])
        if "without_bits" in rule:
            seen = 0
            for bit in (int(b, 0) for b in rule["without_bits"]):
                yield names, otherwise, (index, seen | bit, bit)
                seen |= bit
            yield names, None, (index, seen, 0)
            continue
        values = sorted(int(v, 0) for v in rule.get("values") or rule["not_values"])
        inside, outside = (None, otherwise) if "values" in rule else (otherwise, None)
        for value in values:
            yield names, inside, (index, 0xFFFFFFFF, value)
        for mask, datum in complement(values):
            yield names, outside, (index, mask, datum)


def check_complete(profile):
    listed = [name for part in ("allow", "refuse", "unknown") for names in profile[part].values() for name in names]
    listed += [rule["call"] for rule in profile["arguments"]]
    twice = {name for name in listed if listed.count(name) > 1}
    known = {lib.seccomp_syscall_resolve_num_arch(arch, number) for arch in ARCHITECTURES.values() for number in range(512)} - {None}
    missing = {name.decode() for name in known} - set(listed)
    misspelt = {name for name in listed if name.encode() not in known}
    if twice or missing or misspelt:
        raise SystemExit(f"cannot use profile.json: listed twice {sorted(twice)}, not listed {sorted(missing)}, on no architecture {sorted(misspelt)}")


def write_profile(profile, path):
    syscalls = []
    for names, error, comparison in rules(profile):
        entry = {"names": names, "action": "SCMP_ACT_ALLOW"} if error is None else {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error}
        if comparison:
            index, mask, datum = comparison
            entry["args"] = [{"index": index, "value": mask, "valueTwo": datum, "op": "SCMP_CMP_MASKED_EQ"}]
        syscalls.append(json.dumps(entry, separators=(",", ":")))
    head = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.ENOSYS}, separators=(",", ":"))
    path.write_text(head[:-1] + ',"syscalls":[\n' + ",\n".join(syscalls) + "\n]}\n")


def write_filter(profile, arch, path):
    context = lib.seccomp_init(0x00050000 | errno.ENOSYS)
    check(lib.seccomp_attr_set(context, FLTATR_ACT_BADARCH, KILL_PROCESS), "set the action for other architectures")
    # A binary tree: the kernel runs the filter once for every call it knows when the filter is set, to learn which are always allowed.
    check(lib.seccomp_attr_set(context, FLTATR_CTL_OPTIMIZE, 2), "ask for a binary tree")
    if arch != lib.seccomp_arch_native():
        check(lib.seccomp_arch_add(context, arch), "add an architecture")
        check(lib.seccomp_arch_remove(context, lib.seccomp_arch_native()), "remove the native architecture")
    for names, error, comparison in rules(profile):
        action = ALLOW if error is None else 0x00050000 | error
        array = (ArgCmp * 1)(ArgCmp(comparison[0], CMP_MASKED_EQ, *comparison[1:])) if comparison else None
        for name in (n.encode() for n in names):
            if lib.seccomp_syscall_resolve_name_arch(arch, name) < 0:
                continue
            number = lib.seccomp_syscall_resolve_name(name)
            check(lib.seccomp_rule_add_array(context, action, number, 1 if array else 0, array), f"add a rule for {name.decode()}")
    with open(path, "wb") as file:
        check(lib.seccomp_export_bpf(context, file.fileno()), "export the filter")
    lib.seccomp_release(context)


def main():
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent.parent / "src/Xfn.Core/Bundles/Seccomp"
    found = lib.seccomp_version().contents
    if (found.major, found.minor, found.micro) != VERSION:
        print(f"cannot make the filters: found libseccomp {found.major}.{found.minor}.{found.micro}, expected 2.5.4", file=sys.stderr)
        return 3
    profile = json.loads((HERE / "profile.json").read_text())
    check_complete(profile)
    write_profile(profile, target / "default.json")
    for name, arch in ARCHITECTURES.items():
        write_filter(profile, arch, target / f"default.{name}.bpf")


if __name__ == "__main__":
    sys.exit(main())
