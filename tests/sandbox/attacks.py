# SPDX-License-Identifier: Apache-2.0
"""The attacks: what hostile code tries, and which layers have to be off for it to succeed.

Each is the body of `solve(w)`, where `w` names the targets that arena.py has set up (a secret file, a directory,
servers, the parent's and a victim's process id), and reports success by returning ESCAPED. It is run twice: without
`layers` it must succeed, with everything on it must end in `outcome`. Besides confine.LAYERS a layer can be "clock",
"disk" or "threads": the parent's and the zygote's watch. Standard library only: the arena has nothing else.
"""

from dataclasses import dataclass

ESCAPED = "ESCAPED"


@dataclass(frozen=True)
class Attack:
    name: str
    layers: str
    body: str
    outcome: str = "violation"
    root_only: bool = False


_FILES = [
    Attack("read-passwd", "landlock", "return open('/etc/passwd').read() and 'ESCAPED'"),
    Attack("read-a-secret", "landlock", "return open(w['secret']).read()"),
    Attack("list-the-root", "landlock", "import os; return os.listdir('/') and 'ESCAPED'"),
    Attack("list-home", "landlock", "import os; return os.listdir(w['home']) and 'ESCAPED'"),
    Attack("relative-path", "landlock", "import os; os.chdir(w['home']); return open('secret').read()"),
    Attack("dot-dot", "landlock", "import os; up = '../' * 40; return open(up + w['secret'].lstrip('/')).read()"),
    Attack(
        "directory-descriptor",
        "landlock",
        "import os; d = os.open(w['home'], os.O_PATH); return os.read(os.open('secret', 0, dir_fd=d), 99).decode()",
    ),
    Attack("write-outside", "landlock", "open(w['home'] + '/new', 'w').write('x'); return 'ESCAPED'"),
    Attack("append-outside", "landlock", "open(w['prey'], 'a').write('x'); return 'ESCAPED'"),
    Attack("truncate-by-path", "landlock seccomp", "import os; os.truncate(w['prey'], 0); return 'ESCAPED'"),
    Attack(
        "truncate-while-reading",
        "landlock seccomp",
        "import os; os.open(w['prey'], os.O_RDONLY | os.O_TRUNC); return 'ESCAPED'",
    ),
    Attack("make-a-directory", "landlock", "import os; os.mkdir(f\"{w['home']}/{os.getpid()}\"); return 'ESCAPED'"),
    Attack(
        "rename-outside",
        "landlock",
        "import os; os.rename(w['prey'], w['prey']); os.rename(w['prey'], w['home'] + '/moved')\n"
        "os.rename(w['home'] + '/moved', w['prey']); return 'ESCAPED'",
    ),
    Attack("symlink", "landlock seccomp", "import os; os.symlink(w['secret'], 'link'); return open('link').read()"),
    Attack(
        "symlink-to-a-directory",
        "landlock seccomp",
        "import os; os.symlink(w['home'], 'dir'); return open('dir/secret').read()",
    ),
    Attack("hard-link", "landlock seccomp", "import os; os.link(w['secret'], 'link'); return open('link').read()"),
    Attack("change-mode", "seccomp", "import os; os.chmod(w['prey'], 0o666); return 'ESCAPED'"),
    Attack("change-owner", "seccomp", "import os; os.chown(w['prey'], os.getuid(), -1); return 'ESCAPED'"),
    Attack("change-times", "seccomp", "import os; os.utime(w['prey'], (0, 0)); return 'ESCAPED'"),
    Attack("named-pipe", "landlock seccomp", "import os; os.mkfifo(f\"{w['home']}/{os.getpid()}\"); return 'ESCAPED'"),
]

_PARENT = [
    Attack(
        "parent-environment",
        "landlock capabilities",
        "return open(f\"/proc/{w['parent']}/environ\").read().split('PLANTED=')[1][:7]",
    ),
    Attack(
        "parent-memory-file",
        "landlock capabilities",
        "f = open(f\"/proc/{w['parent']}/mem\", 'rb', 0); f.seek(w['address']); return f.read(7).decode()",
    ),
    Attack(
        "parent-memory-call",
        "landlock capabilities seccomp",
        """
        import ctypes
        class Vector(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
        here = ctypes.create_string_buffer(8)
        local, remote = Vector(ctypes.addressof(here), 7), Vector(w["address"], 7)
        libc = ctypes.CDLL(None, use_errno=True)
        check(libc.process_vm_readv(w["parent"], ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))
        return here.value.decode()
        """,
    ),
    Attack(
        "ptrace",
        "landlock capabilities seccomp",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long] * 4
        check(libc.ptrace(0x4206, w["victim"], 0, 0))
        return "ESCAPED"
        """,
    ),
    Attack("kill-the-parent", "landlock seccomp", "import os; os.kill(w['parent'], 18); return 'ESCAPED'"),
    Attack("kill-everybody", "landlock seccomp", "import os; os.killpg(os.getpgid(w['victim']), 18); return 'ESCAPED'"),
    Attack(
        "signal-by-pidfd",
        "landlock seccomp",
        "import os, signal; signal.pidfd_send_signal(os.pidfd_open(w['victim']), 18); return 'ESCAPED'",
    ),
    Attack(
        "signal-by-file-owner",
        "landlock seccomp",
        """
        import fcntl, os
        reader, writer = os.pipe()
        fcntl.fcntl(reader, fcntl.F_SETOWN, w["victim"])
        fcntl.fcntl(reader, 10, 18)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
        os.write(writer, b"x")
        return "ESCAPED"
        """,
    ),
    Attack(
        "limit-the-parent",
        "seccomp",
        "import resource as r; r.prlimit(w['parent'], r.RLIMIT_CORE, (0, 0)); return 'ESCAPED'",
    ),
    Attack(
        "slow-the-parent",
        "seccomp capabilities",
        "import os; os.sched_setaffinity(w['parent'], os.sched_getaffinity(w['parent'])); return 'ESCAPED'",
    ),
]

_NETWORK = [
    Attack(
        "tcp-connect",
        "seccomp landlock",
        "import socket; return socket.create_connection(('127.0.0.1', w['tcp'])).recv(7).decode()",
    ),
    Attack(
        "tcp-listen",
        "seccomp landlock",
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); return 'ESCAPED'",
    ),
    Attack(
        "tcp-by-ctypes",
        "seccomp landlock",
        """
        import ctypes, struct
        libc = ctypes.CDLL(None, use_errno=True)
        fd = check(libc.socket(2, 1, 0))
        address = struct.pack("<H", 2) + struct.pack(">H", w["tcp"]) + bytes([127, 0, 0, 1]) + bytes(8)
        check(libc.connect(fd, address, 16))
        data = ctypes.create_string_buffer(8)
        check(libc.read(fd, data, 7))
        return data.value.decode()
        """,
    ),
    Attack(
        "tcp-by-asyncio",
        "seccomp landlock",
        """
        import asyncio
        async def talk():
            reader, _ = await asyncio.open_connection("127.0.0.1", w["tcp"])
            return (await reader.read(7)).decode()
        return asyncio.run(talk())
        """,
    ),
    Attack(
        "http",
        "seccomp landlock",
        "from http.client import HTTPConnection; c = HTTPConnection('127.0.0.1', w['tcp']); c.connect()\n"
        "return c.sock.recv(7).decode()",
    ),
    Attack(
        "udp",
        "seccomp",
        """
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.sendto(b"hello", ("127.0.0.1", w["udp"]))
        return s.recv(7).decode()
        """,
    ),
    Attack(
        "dns",
        "seccomp",
        """
        import socket, struct
        name = b"".join(bytes([len(part)]) + part for part in (b"stolen-data", b"example", b"org")) + bytes(1)
        query = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1)
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(("127.0.0.1", w["udp"]))
        s.send(query)
        return s.recv(7).decode()
        """,
    ),
    Attack(
        "unix-socket",
        "seccomp",
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect(w['unix']); return s.recv(7).decode()",
    ),
    Attack(
        "abstract-socket",
        "seccomp landlock",
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + w['abstract'])\n"
        "return s.recv(7).decode()",
    ),
    Attack(
        "unix-datagram-from-a-pair",
        "seccomp",
        "import socket; s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'x', w['datagram'])\n"
        "return 'ESCAPED'",
    ),
    Attack(
        "netlink", "seccomp", "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); return 'ESCAPED'"
    ),
]

_PROCESSES = [
    Attack(
        "subprocess",
        "seccomp landlock",
        "import subprocess; return subprocess.run(['/bin/echo', 'ESCAPED'], capture_output=True, text=True).stdout",
    ),
    Attack("os-system", "seccomp landlock", "import os; check(-abs(os.system('exit 0'))); return 'ESCAPED'", "crash"),
    Attack(
        "posix-spawn",
        "seccomp landlock",
        "import os; os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0); return 'ESCAPED'",
    ),
    Attack("fork", "seccomp", "import os; os.fork() or os._exit(0); return 'ESCAPED'"),
    Attack(
        "fork-by-ctypes",
        "seccomp",
        "import ctypes, os; check(ctypes.CDLL(None, use_errno=True).fork()) or os._exit(0); return 'ESCAPED'",
    ),
    Attack(
        "fork-bomb",
        "seccomp",
        """
        import os, time
        for _ in range(40):
            os.fork() or (time.sleep(30), os._exit(0))
        return "ESCAPED"
        """,
    ),
    Attack(
        "daemon",
        "seccomp",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            os.fork() and os._exit(0)
            time.sleep(30)
        return "ESCAPED"
        """,
    ),
    Attack(
        "multiprocessing",
        "seccomp landlock",
        """
        import multiprocessing
        process = multiprocessing.get_context("fork").Process(target=int)
        process.start()
        process.join()
        return "ESCAPED"
        """,
    ),
    Attack("new-user-namespace", "seccomp", "check(libc().unshare(0x10000000)); return 'ESCAPED'"),
    Attack("memory-file", "seccomp", "import os; os.memfd_create('x'); return 'ESCAPED'"),
    Attack(
        "shared-memory",
        "seccomp",
        "check(libc().shmctl(check(libc().shmget(0, 4096, 0o1600)), 0, None)); return 'ESCAPED'",
    ),
    Attack("key-ring", "seccomp", "check(libc().syscall(w['keyctl'], 0, -3, 1)); return 'ESCAPED'"),
    Attack(
        "io-uring",
        "seccomp limits",
        "import ctypes; check(libc().syscall(425, 4, ctypes.create_string_buffer(512))); return 'ESCAPED'",
    ),
    Attack(
        "int-80",
        "seccomp",
        """
        import ctypes, mmap
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        return ctypes.CFUNCTYPE(ctypes.c_int)(address)() and "ESCAPED"
        """,
    ),
    Attack(
        "mount",
        "seccomp capabilities landlock",
        "where = w['mount'].encode(); check(libc().mount(b'none', where, b'tmpfs', 0, None))\n"
        "check(libc().umount(where)); return 'ESCAPED'",
        root_only=True,
    ),
    Attack("chroot", "seccomp capabilities", "import os; os.chroot('.'); return 'ESCAPED'", root_only=True),
    Attack(
        "bpf",
        "seccomp capabilities",
        "import struct; check(libc().syscall(w['bpf'], 0, struct.pack('5I', 2, 4, 4, 1, 0) + bytes(100), 72))\n"
        "return 'ESCAPED'",
        root_only=True,
    ),
    Attack(
        "host-name",
        "seccomp capabilities",
        "import socket; socket.sethostname(socket.gethostname()); return 'ESCAPED'",
        root_only=True,
    ),
]

_RESOURCES = [
    Attack("memory", "limits", "return bytearray(1 << 28) and 'ESCAPED'", "crash"),
    Attack("memory-by-mapping", "limits", "import mmap; return mmap.mmap(-1, 1 << 28) and 'ESCAPED'", "crash"),
    Attack("large-file", "limits disk", "open('big', 'wb').write(bytes(24 << 20)); return 'ESCAPED'", "crash"),
    Attack(
        "many-files",
        "disk",
        """
        import time
        for i in range(192):
            open(str(i), "wb").write(bytes(1 << 17))
        time.sleep(1)
        return "ESCAPED"
        """,
    ),
    Attack("many-descriptors", "limits", "import os; return [os.dup(0) for _ in range(900)] and 'ESCAPED'", "crash"),
    Attack(
        "many-threads",
        "threads",
        """
        import threading, time
        threading.stack_size(1 << 16)
        for _ in range(100):
            threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
        time.sleep(1)
        return "ESCAPED"
        """,
    ),
    Attack(
        "deep-recursion",
        "limits",
        """
        import sys
        sys.setrecursionlimit(10**9)
        exec(f"def deeper(n, {', '.join(f'x{i}=0' for i in range(200))}): return n and deeper(n - 1)", globals())
        deeper(120_000)
        return "ESCAPED"
        """,
        "crash",
    ),
    Attack(
        "infinite-loop",
        "clock",
        "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nreturn 'ESCAPED'",
        "timeout",
    ),
    Attack("sleep", "clock", "import time; time.sleep(2); return 'ESCAPED'", "timeout"),
    Attack("regex-bomb", "clock", "import re; re.match('(a|a)*$', 'a' * 24 + 'b'); return 'ESCAPED'", "timeout"),
    Attack(
        "print-for-ever",
        "clock",
        "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: print('x' * 10_000)\nreturn 'ESCAPED'",
        "timeout",
    ),
    Attack(
        "deaf-to-signals",
        "clock",
        """
        import signal, time
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        end = time.monotonic() + 2
        while time.monotonic() < end: pass
        return "ESCAPED"
        """,
        "timeout",
    ),
]

# Ways to `open` past a check of the program's text: such a check is no wall, Landlock is.
_GATE = [
    Attack("eval-of-a-string", "landlock", "return eval('op' + 'en')(w['secret']).read()"),
    Attack("builtins-by-name", "landlock", "return globals()['__buil' + 'tins__']['op' + 'en'](w['secret']).read()"),
    Attack(
        "getattr-chain",
        "landlock",
        "return getattr(getattr(getattr(print, '__se' + 'lf__'), 'open')(w['secret']), 're' + 'ad')()",
    ),
    Attack(
        "subclass-walk",
        "landlock",
        "kinds = {c.__name__: c for c in ().__class__.__base__.__subclasses__()}\n"
        "return kinds['_wrap_close'].__init__.__globals__['__builtins__']['open'](w['secret']).read()",
    ),
    Attack(
        "codecs",
        "landlock",
        "import codecs; names = {'w': w}; exec(codecs.decode('k = bcra(j[\"frperg\"]).ernq()', 'rot13'), names)\n"
        "return names['x']",
    ),
    Attack("frame-walk", "landlock", "import sys; return sys._getframe(1).f_builtins['open'](w['secret']).read()"),
    Attack(
        "class-body",
        "landlock",
        """
        class Quiet(type):
            def __getitem__(cls, path):
                return __import__("io").FileIO(path).read().decode()
        class Box(metaclass=Quiet): pass
        return Box[w["secret"]]
        """,
    ),
    Attack(
        "import-hook",
        "landlock",
        """
        import importlib.util, sys
        sys.path.insert(0, w["home"])
        import planted_module
        return planted_module.VALUE
        """,
        "crash",
    ),
    Attack(
        "pickle",
        "landlock",
        """
        import os, pickle
        class Bomb:
            def __reduce__(self):
                return (os.open, (w["secret"], 0))
        return os.read(pickle.loads(pickle.dumps(Bomb())), 7).decode()
        """,
    ),
]

ATTACKS = [*_FILES, *_PARENT, *_NETWORK, *_PROCESSES, *_RESOURCES, *_GATE]
