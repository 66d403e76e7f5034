"""Separate hosts on one machine: processes with their own network, process ids, host name and mounts.

A `HostNetwork` is a switch that connects the hosts. This machine also has an address on it, `gateway`. Nothing is left
behind: the kernel kills the processes when their parent (pytest) dies, and the namespaces and links disappear with the
processes. This needs root; `HostNetwork.why_not` says what is missing.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
_TIMEOUT_S = 60.0
_PRIVATE_NETWORK = "198.18"  # RFC 2544 reserves it for tests of network devices; it is not routed
_NOWHERE = "02:00:00:00:00:01"  # a hardware address that no host has


class Host:
    """A program that runs as if on its own machine. `kill` has the effect of a power failure."""

    def __init__(self, name: str, address: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.address = address
        self._process = process

    @property
    def pid(self) -> int:
        """The id, on this machine, of the process that holds the namespaces."""
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def run(self, *command: object) -> None:
        """Run a command on the host and wait for its end."""
        (first,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        _run("nsenter", "--target", first, "--net", "--mount", *map(str, command))

    def kill(self) -> None:
        """Kill all processes of the host at once, with no chance to notify other hosts."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def succeeded(self) -> bool:
        return self._process.returncode == 0

    def wait(self, timeout_s: float) -> bool:
        """Wait for the program, and return whether it ended by itself within the time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return not self.is_running()

    def drop_packets_to(self, address: str) -> None:
        """Silently lose all packets from this host to the address, as if a cable were cut."""
        _inside(self.pid, "ip", "neigh", "replace", address, "lladdr", _NOWHERE, "nud", "permanent", "dev", "eth0")

    def restore_packets_to(self, address: str) -> None:
        _inside(self.pid, "ip", "neigh", "del", address, "dev", "eth0")


class HostNetwork:
    """A switch that connects hosts. It is a context manager that kills every host at its end."""

    def __init__(self) -> None:
        self._prefix = _free_prefix()
        self._hosts: list[Host] = []
        self._plugs = 0
        self._own_device = f"dcb{os.getpid()}"
        self._files = tempfile.TemporaryDirectory(prefix="hosts-")
        self._names = Path(self._files.name) / "hosts"
        self._names.write_text("127.0.0.1 localhost\n")
        self._switch = _unshared(["--net"], "exec sleep infinity", os.environ, subprocess.DEVNULL)
        _wait_for_own_network(self._switch)
        _inside(self._switch.pid, "ip", "link", "add", "bridge", "type", "bridge")
        _inside(self._switch.pid, "ip", "link", "set", "bridge", "up")
        self._plug(os.getpid(), self._own_device, self.gateway)

    @property
    def gateway(self) -> str:
        """This machine's address on the switch."""
        return f"{self._prefix}.254"

    def __enter__(self) -> "HostNetwork":
        return self

    def __exit__(self, *exception: object) -> None:
        for host in self._hosts:
            host.kill()
        with suppress(subprocess.CalledProcessError):  # The kernel also removes the link, but a moment later.
            _run("ip", "link", "delete", self._own_device)
        self._switch.kill()
        self._switch.wait()
        self._files.cleanup()

    @staticmethod
    def why_not() -> str | None:
        """Return the reason why hosts cannot be created on this machine, or None if they can."""
        missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
        if missing:
            return f"no {', '.join(missing)}: install iproute2 and util-linux"
        if os.geteuid() != 0:
            return "separate hosts on one machine need root"
        try:
            with HostNetwork() as network, tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as log:
                own = [Path(directory)]
                host = network.start("probe", 1, ["true"], environ=os.environ, log=log, own_directories=own)
                assert host.wait(_TIMEOUT_S), "a program did not end"
                assert host.succeeded(), "a program could not be started"
                return None
        except (subprocess.CalledProcessError, AssertionError, OSError) as error:
            return f"network namespaces cannot be made here ({error})"

    def address(self, number: int) -> str:
        return f"{self._prefix}.{number}"

    def start(
        self,
        name: str,
        number: int,
        program: Sequence[object],
        *,
        environ: Mapping[str, str],
        log: IO[bytes],
        own_directories: Sequence[Path] = (),
    ) -> Host:
        """Run `program` on a new host and return the host.

        Hosts can resolve each other's names. They have no name server, because this machine's would not answer them and
        programs would wait for it.

        Args:
            name: The host's name.
            number: The last part of its address, from 1 to 253.
            program: The command and its arguments.
            environ: The program's environment.
            log: The file that receives the program's output.
            own_directories: Directories of this machine that are empty and private on the host.
        """
        entry = f"{self.address(number)} {name}\n"
        if entry not in self._names.read_text():
            with self._names.open("a") as names:
                names.write(entry)
        mounts = "".join(f"mount -t tmpfs own {shlex.quote(str(path))} && " for path in own_directories)
        mounts += f"mount --bind {shlex.quote(str(self._names))} /etc/hosts && "
        mounts += "if [ -e /etc/resolv.conf ]; then mount --bind /dev/null /etc/resolv.conf; fi && "
        script = f"hostname {name} && {mounts}read -r _ && exec {shlex.join(map(str, program))} < /dev/null"
        namespaces = ["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        process = _unshared(namespaces, script, environ, log)
        host = Host(name, self.address(number), process)
        self._hosts.append(host)
        _wait_for_own_network(process)
        self._plug(process.pid, "eth0", host.address)
        _inside(process.pid, "ip", "route", "add", "default", "via", self.gateway)  # how programs find their address
        assert process.stdin
        process.stdin.write(b"the network is there\n")
        process.stdin.close()
        return host

    def _plug(self, pid: int, device: str, address: str) -> None:
        self._plugs += 1
        port = f"port{self._plugs}"
        link = ["ip", "link", "add", port, "netns", str(self._switch.pid), "type", "veth"]
        _run(*link, "peer", "name", device, "netns", str(pid))
        _inside(self._switch.pid, "ip", "link", "set", port, "master", "bridge", "up")
        _inside(pid, "ip", "address", "add", f"{address}/24", "dev", device)
        _inside(pid, "ip", "link", "set", "lo", "up")
        _inside(pid, "ip", "link", "set", device, "up")


def _unshared(
    namespaces: Sequence[str], script: str, environ: Mapping[str, str], log: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["unshare", *namespaces, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environ,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _wait_for_own_network(process: subprocess.Popen[bytes]) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        with suppress(OSError):
            if Path(f"/proc/{process.pid}/ns/net").readlink() != ours:
                return
        assert process.poll() is None and time.monotonic() < deadline_s, "the network namespace was not created"
        time.sleep(0.02)


def _free_prefix() -> str:
    used = subprocess.run(["ip", "-4", "address"], capture_output=True, text=True, check=True).stdout
    candidates = (f"{_PRIVATE_NETWORK}.{(os.getpid() + step) % 256}" for step in range(256))
    return next(prefix for prefix in candidates if f"inet {prefix}." not in used)


def _inside(pid: int, *command: str) -> None:
    _run("nsenter", "--target", str(pid), "--net", *command)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
