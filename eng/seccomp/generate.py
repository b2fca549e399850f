#!/usr/bin/env python3
"""Makes the default seccomp profile: default.json (the runtime specification's linux.seccomp, without architectures) and a compiled filter for each
architecture, from profile.json. Needs libseccomp.so.2 in version 2.5.4 of Debian 12 (libseccomp2), so that the files come out the same everywhere.

The filters are compiled here, not by libseccomp: its have 950 instructions, ours 190, which the kernel takes in half the time, in every run. libseccomp's
own (--reference) are what a test compares ours with.

Usage: generate.py [--reference] [DIRECTORY]    where to write; src/Xfn.Core/Bundles/Seccomp by default
"""

import ctypes
import errno
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
KILL_PROCESS = 0x80000000
X32_BIT = 0x40000000
FLTATR_ACT_BADARCH, FLTATR_CTL_OPTIMIZE = 2, 8
CMP_NE, CMP_EQ, CMP_MASKED_EQ = 1, 4, 7

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


def action_of(answer):
    """The filter's return value for a word of the profile."""
    return {"allow": ALLOW, "success": ERRNO}.get(answer) or ERRNO | getattr(errno, answer)


def paths(decision):
    """Every way through a decision, as libseccomp knows rules: (answer, comparisons that hold at once). No two hold for the same arguments."""
    if isinstance(decision, str):
        yield decision, []
    elif "without_bits" in decision:
        index, seen = decision["argument"], 0
        for bit in (int(b, 0) for b in decision["without_bits"]):
            yield decision["else"], [(index, CMP_MASKED_EQ, seen | bit, bit)]
            seen |= bit
        yield "allow", [(index, CMP_MASKED_EQ, seen, 0)]
    elif "null" in decision:
        for operator, answer in ((CMP_EQ, decision["null"]), (CMP_NE, decision["else"])):
            yield answer, [(decision["pointer"], operator, 0, 0)]
    else:
        index, bits = decision["argument"], decision.get("bits", 32)
        values = []
        for case in decision["cases"]:
            for value in (int(v, 0) for v in case["values"]):
                values.append(value)
                for answer, more in paths(case["then"]):
                    yield answer, [(index, CMP_MASKED_EQ, (1 << bits) - 1, value), *more]
        for mask, datum in complement(sorted(values), bits):
            for answer, more in paths(decision["else"]):
                yield answer, [(index, CMP_MASKED_EQ, mask, datum), *more]


def rules(profile):
    """(names, action, argument comparisons)"""
    yield sorted(name for names in profile["allow"].values() for name in names), ALLOW, []
    yield sorted(name for names in profile["refuse"].values() for name in names), ERRNO | errno.EPERM, []
    for rule in profile["arguments"]:
        for answer, comparisons in paths(rule):
            yield [rule["call"]], action_of(answer), comparisons


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
    operators = {CMP_NE: "SCMP_CMP_NE", CMP_EQ: "SCMP_CMP_EQ", CMP_MASKED_EQ: "SCMP_CMP_MASKED_EQ"}
    syscalls = []
    for names, action, comparisons in rules(profile):
        entry = {"names": names, "action": "SCMP_ACT_ALLOW"} if action == ALLOW else {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": action - ERRNO}
        if comparisons:
            entry["args"] = [{"index": index, "value": a, "valueTwo": b, "op": operators[operator]} for index, operator, a, b in comparisons]
        syscalls.append(json.dumps(entry, separators=(",", ":")))
    head = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.ENOSYS}, separators=(",", ":"))
    path.write_text(head[:-1] + ',"syscalls":[\n' + ",\n".join(syscalls) + "\n]}\n")


LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, JUMP, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x05, 0x06


def compile_decision(decision):
    """Instructions that end in an answer. Of an argument the lower half is loaded, as the kernel does with an int; a pointer is looked at whole."""
    if isinstance(decision, str):
        return [(RETURN, 0, 0, action_of(decision))]
    if "without_bits" in decision:
        any_of = sum(int(b, 0) for b in decision["without_bits"])
        return [(LOAD, 0, 0, 16 + 8 * decision["argument"]), (ANY_BIT, 0, 1, any_of), *compile_decision(decision["else"]), *compile_decision("allow")]
    if "null" in decision:
        half = 16 + 8 * decision["pointer"]
        null = compile_decision(decision["null"])
        return [(LOAD, 0, 0, half), (EQUAL, 0, 2 + len(null), 0), (LOAD, 0, 0, half + 4), (EQUAL, 0, len(null), 0), *null, *compile_decision(decision["else"])]
    code = [(LOAD, 0, 0, 16 + 8 * decision["argument"])]
    if "bits" in decision:
        code += [(AND, 0, 0, (1 << decision["bits"]) - 1)]
    blocks = compile_decision(decision["else"])
    targets = []
    for case in decision["cases"]:
        targets += [(int(value, 0), len(blocks)) for value in case["values"]]
        blocks += compile_decision(case["then"])
    code += [(EQUAL, len(targets) - 1 - i + target, 0, value) for i, (value, target) in enumerate(targets)]
    return code + blocks


def decisions(profile, arch):
    """What is done from which number on, to the next one's."""
    calls = {}
    for part, action in (("allow", ALLOW), ("refuse", ERRNO | errno.EPERM)):
        calls |= {name: [(RETURN, 0, 0, action)] for names in profile[part].values() for name in names}
    calls |= {rule["call"]: compile_decision(rule) for rule in profile["arguments"]}
    numbers = {lib.seccomp_syscall_resolve_name_arch(arch, name.encode()): code for name, code in calls.items()}
    unknown = [(RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    starts = []
    for number in range(max(numbers) + 2):
        code = numbers.get(number, unknown)
        if not starts or starts[-1][1] != code:
            starts.append((number, code))
    if arch == ARCHITECTURES["x86_64"]:
        # -1 is no call, but what a tracer leaves of one.
        starts += [(X32_BIT, [(RETURN, 0, 0, KILL_PROCESS)]), (0xFFFFFFFF, unknown)]
    return starts


def search(starts):
    """A binary search: the kernel runs the filter for every call it knows when the filter is set, to learn which are always allowed."""
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    below, above = search(starts[:middle]), search(starts[middle:])
    # Conditional jumps reach 255 instructions.
    skip = [(AT_LEAST, len(below), 0, starts[middle][0])] if len(below) < 256 else [(AT_LEAST, 0, 1, starts[middle][0]), (JUMP, 0, 0, len(below))]
    return skip + below + above


def write_filter(profile, arch, path):
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, arch), (RETURN, 0, 0, KILL_PROCESS), (LOAD, 0, 0, 0), *search(decisions(profile, arch))]
    path.write_bytes(b"".join(struct.pack("<HBBI", *instruction) for instruction in code))


def write_reference(profile, arch, path):
    context = lib.seccomp_init(ERRNO | errno.ENOSYS)
    check(lib.seccomp_attr_set(context, FLTATR_ACT_BADARCH, KILL_PROCESS), "set the action for other architectures")
    check(lib.seccomp_attr_set(context, FLTATR_CTL_OPTIMIZE, 2), "ask for a binary tree")
    if arch != lib.seccomp_arch_native():
        check(lib.seccomp_arch_add(context, arch), "add an architecture")
        check(lib.seccomp_arch_remove(context, lib.seccomp_arch_native()), "remove the native architecture")
    for names, action, comparisons in rules(profile):
        array = (ArgCmp * len(comparisons))(*(ArgCmp(*comparison) for comparison in comparisons))
        for name in (n.encode() for n in names):
            if lib.seccomp_syscall_resolve_name_arch(arch, name) < 0:
                continue
            number = lib.seccomp_syscall_resolve_name(name)
            check(lib.seccomp_rule_add_array(context, action, number, len(comparisons), array), f"add a rule for {name.decode()}")
    with open(path, "wb") as file:
        check(lib.seccomp_export_bpf(context, file.fileno()), "export the filter")
    lib.seccomp_release(context)


def main():
    found = lib.seccomp_version().contents
    if (found.major, found.minor, found.micro) != VERSION:
        print(f"cannot make the filters: found libseccomp {found.major}.{found.minor}.{found.micro}, expected 2.5.4", file=sys.stderr)
        return 3
    arguments = sys.argv[1:]
    reference = "--reference" in arguments
    directories = [a for a in arguments if a != "--reference"]
    target = pathlib.Path(directories[0]) if directories else HERE.parent.parent / "src/Xfn.Core/Bundles/Seccomp"
    profile = json.loads((HERE / "profile.json").read_text())
    check_complete(profile)
    write_profile(profile, target / "default.json")
    for name, arch in ARCHITECTURES.items():
        (write_reference if reference else write_filter)(profile, arch, target / f"default.{name}.bpf")
    return 0


if __name__ == "__main__":
    sys.exit(main())
