#!/bin/sh
# Shows all that a function can learn of its container. It is the container's first process: what /proc/1 has is what that was given. Needs busybox and probe.c's program. Arguments are paths to look at.
exec 2>&1
section() { echo "== $*"; }
list() { busybox find "$@" -exec busybox stat -c '%n %A of %u:%g, device %t:%T' {} + | busybox sort; }

section status
# Left out: how much memory and time it took, and how many descriptors the process once had room for.
# By the shell itself: while it makes another process it blocks signals.
while read -r line; do
  case $line in Vm* | Rss* | Huge* | FDSize* | SigQ* | State* | *ctxt_switches*) ;; *) echo "$line" ;; esac
done </proc/1/status
for f in limits cgroup setgroups uid_map gid_map oom_score_adj coredump_filter timens_offsets personality timerslack_ns loginuid sessionid attr/current mountinfo; do
  section $f
  cat /proc/1/$f
done
section arguments
busybox tr '\0' '\n' </proc/1/cmdline
section environment
busybox tr '\0' '\n' </proc/1/environ
section group, session, terminal, priority, nice value, real-time priority, policy
busybox cut -d' ' -f5-7,18,19,40,41 /proc/1/stat
section where it is
pwd -P
readlink /proc/1/cwd /proc/1/root /proc/1/exe
for f in /proc/1/fd/*; do echo $f $(readlink $f); done
for f in mnt pid ipc uts cgroup net user time; do readlink /proc/1/ns/$f; done
section keys
cat /proc/keys
section files
list / -maxdepth 1
list /dev /tmp /etc
list /sys -maxdepth 2
list /proc -maxdepth 1 | busybox grep -vE '^/proc/[0-9]'
for f in fd stdin stdout stderr core ptmx; do readlink /dev/$f; done
section hidden
for f in acpi asound interrupts kcore keys latency_stats timer_list timer_stats sched_debug scsi; do
  if [ -d /proc/$f ]; then echo $f $(ls -A /proc/$f | wc -l); elif [ -e /proc/$f ]; then echo $f $(cat /proc/$f | wc -c); fi
done
for f in firmware fs/selinux dev/block devices/virtual/powercap devices/system/cpu/cpu0/thermal_throttle; do [ -d /sys/$f ] && echo $f $(ls -A /sys/$f | wc -l); done
section writable
for d in / /bin /etc /dev /dev/pts /dev/shm /dev/mqueue /proc /proc/acpi /sys /sys/firmware /sys/fs/cgroup /tmp "$(pwd)"; do touch $d/written && echo "$d" && busybox rm $d/written; done
section a program in /tmp
busybox cp /bin/busybox /tmp/true && /tmp/true && echo executed
section probe
/probe $(busybox find /dev -type c | busybox sort) /dev/stdin /dev/stdout /dev/fd/2 /proc/kcore /proc/kmsg /proc/keys /proc/interrupts /proc/timer_list /proc/sysrq-trigger \
  /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sys/user/max_user_namespaces /proc/1/oom_score_adj /proc/1/mem /proc/1/uid_map /proc/1/attr/exec
section more
busybox cut -d: -f1 /proc/net/dev
cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname /proc/sys/user/max_user_namespaces /proc/sys/fs/mqueue/msg_max
for f in "$@"; do list $f; cat $f | busybox md5sum; done
