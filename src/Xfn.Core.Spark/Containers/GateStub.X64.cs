namespace Xfn.Core.Spark.Containers;

/// <summary>The program that a gate is while it waits: one thread, two pages. Else the kernel would stop the .NET
/// runtime's threads and free its memory when it executes the function, and the caller would wait for that.</summary>
/// <remarks>For Linux on x86-64, in machine code: NativeAOT makes no program without a runtime. Its arguments are a
/// name, a path to execute, and arguments; it hands its environment on. It talks to <see cref="StartGate"/>.</remarks>
internal static class GateStub
{
    public static ReadOnlySpan<byte> Image =>
    [
        // ELF header: 64 bits, little-endian, executable, x86-64, starts at 0x4000b0, two program headers.
        0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x3e, 0, 1, 0, 0, 0, 0xb0, 0, 0x40, 0, 0, 0, 0, 0,
        0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x38, 0, 2, 0, 0x40, 0, 0, 0, 0, 0,

        // PT_LOAD, read and execute: the whole file, 0x18c bytes, at 0x400000.
        1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
        0x8c, 1, 0, 0, 0, 0, 0, 0, 0x8c, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,

        // PT_GNU_STACK, read and write.
        0x51, 0xe5, 0x74, 0x64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0,

        // The function is to have neither descriptor: fcntl(4, F_SETFD, FD_CLOEXEC), and 6 likewise.
        0xbb, 0x04, 0x00, 0x00, 0x00, //                   mov  ebx, 4
        0x89, 0xdf, //                               next: mov  edi, ebx
        0xbe, 0x02, 0x00, 0x00, 0x00, //                   mov  esi, F_SETFD
        0xba, 0x01, 0x00, 0x00, 0x00, //                   mov  edx, FD_CLOEXEC
        0xb8, 0x48, 0x00, 0x00, 0x00, //                   mov  eax, SYS_fcntl
        0x0f, 0x05, //                                     syscall
        0x83, 0xc3, 0x02, //                               add  ebx, 2
        0x83, 0xfb, 0x06, //                               cmp  ebx, 6
        0x76, 0xe5, //                                     jbe  next

        // Ready, with the processor time so far: getrusage(RUSAGE_SELF, rsp - 256), user and system, in microseconds.
        0x48, 0x8d, 0xb4, 0x24, 0x00, 0xff, 0xff, 0xff, // lea  rsi, [rsp - 256]
        0x31, 0xff, //                                     xor  edi, edi
        0xb8, 0x62, 0x00, 0x00, 0x00, //                   mov  eax, SYS_getrusage
        0x0f, 0x05, //                                     syscall
        0x48, 0x8b, 0x9c, 0x24, 0x00, 0xff, 0xff, 0xff, // mov  rbx, [rsp - 256]
        0x48, 0x03, 0x9c, 0x24, 0x10, 0xff, 0xff, 0xff, // add  rbx, [rsp - 240]
        0x48, 0x69, 0xdb, 0x40, 0x42, 0x0f, 0x00, //       imul rbx, 1000000
        0x48, 0x03, 0x9c, 0x24, 0x08, 0xff, 0xff, 0xff, // add  rbx, [rsp - 248]
        0x48, 0x03, 0x9c, 0x24, 0x18, 0xff, 0xff, 0xff, // add  rbx, [rsp - 232]
        0xbd, 0x01, 0x00, 0x00, 0x00, //                   mov  ebp, GateState.Ready
        0xe8, 0x61, 0x00, 0x00, 0x00, //                   call tell

        // read(4, rsp - 8, 1): anything but one byte is the end of the runner.
        0x31, 0xc0, //                               wait: xor  eax, eax
        0xbf, 0x04, 0x00, 0x00, 0x00, //                   mov  edi, 4
        0x48, 0x8d, 0x74, 0x24, 0xf8, //                   lea  rsi, [rsp - 8]
        0xba, 0x01, 0x00, 0x00, 0x00, //                   mov  edx, 1
        0x0f, 0x05, //                                     syscall
        0x48, 0x83, 0xf8, 0xfc, //                         cmp  rax, -EINTR
        0x74, 0xe7, //                                     je   wait
        0x48, 0x83, 0xf8, 0x01, //                         cmp  rax, 1
        0x75, 0x36, //                                     jne  end
        0xbd, 0x02, 0x00, 0x00, 0x00, //                   mov  ebp, GateState.Released
        0x31, 0xdb, //                                     xor  ebx, ebx
        0xe8, 0x36, 0x00, 0x00, 0x00, //                   call tell

        // execve(argv[1], argv + 2, envp): argc is at rsp, argv behind it, envp behind that and a null.
        0x48, 0x8b, 0x0c, 0x24, //                         mov  rcx, [rsp]
        0x48, 0x8d, 0x54, 0xcc, 0x10, //                   lea  rdx, [rsp + rcx * 8 + 16]
        0x48, 0x8b, 0x7c, 0x24, 0x10, //                   mov  rdi, [rsp + 16]
        0x48, 0x8d, 0x74, 0x24, 0x18, //                   lea  rsi, [rsp + 24]
        0xb8, 0x3b, 0x00, 0x00, 0x00, //                   mov  eax, SYS_execve
        0x0f, 0x05, //                                     syscall
        0x48, 0xf7, 0xd8, //                               neg  rax
        0x48, 0x89, 0xc3, //                               mov  rbx, rax
        0xbd, 0x03, 0x00, 0x00, 0x00, //                   mov  ebp, GateState.NotExecuted
        0xe8, 0x0c, 0x00, 0x00, 0x00, //                   call tell
        0xbf, 0x7f, 0x00, 0x00, 0x00, //              end: mov  edi, 127
        0xb8, 0xe7, 0x00, 0x00, 0x00, //                   mov  eax, SYS_exit_group
        0x0f, 0x05, //                                     syscall

        // A GateRecord of ebp and rbx: write(6, rsp, 16).
        0x53, //                                     tell: push rbx
        0x55, //                                           push rbp
        0xbf, 0x06, 0x00, 0x00, 0x00, //                   mov  edi, 6
        0x48, 0x89, 0xe6, //                               mov  rsi, rsp
        0xba, 0x10, 0x00, 0x00, 0x00, //                   mov  edx, 16
        0xb8, 0x01, 0x00, 0x00, 0x00, //                   mov  eax, SYS_write
        0x0f, 0x05, //                                     syscall
        0x5d, //                                           pop  rbp
        0x5b, //                                           pop  rbx
        0xc3, //                                           ret
    ];
}
