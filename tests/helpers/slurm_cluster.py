"""A SLURM cluster of three nodes on this host, with daemons of its own, for the tests of the engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

NODES = ("n1", "n2", "n3")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged", "mungekey")

CONFIG = """\
ClusterName=toy
SlurmctldHost={host}
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2
ReturnToService=2
SlurmdTimeout={slurmd_timeout}
KillWait=5
MinJobAge=300
JobRequeue=1
MaxArraySize={max_array_size}
NodeName=n[1-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1
PartitionName=all Nodes=n[1-3] Default=YES MaxTime=1-0 State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "slurmd needs root"


class SlurmCluster:
    """The daemons. Ends those that it started, and no other."""

    def __init__(self, folder: Path, max_array_size: int = 20, slurmd_timeout: int = 10) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        port = _free_port(4)
        text = CONFIG.format(
            host=socket.gethostname().partition(".")[0],
            folder=folder,
            user="root",
            port=port,
            first=port + 1,
            last=port + 3,
            max_array_size=max_array_size,
            slurmd_timeout=slurmd_timeout,
        )
        (folder / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}

    def __enter__(self) -> SlurmCluster:
        try:
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D", "-c")
            for node in NODES:
                self.start_node(node)
            self._wait_for_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        # what the nodes were running
        for process in self._own_processes():
            if process.pid != os.getpid():
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def start_node(self, node: str) -> None:
        self._start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """The daemon and all that the node runs, as when its power fails."""
        daemon = self._processes.pop(node)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        jobs = [process for process in self._own_processes() if _environ(process).get("SLURMD_NODENAME") == node]
        for process in jobs:
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                if parent is not None and parent.name() == "slurmstepd":
                    parent.kill()
        for process in jobs:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _own_processes(self) -> list[psutil.Process]:
        """Of this cluster, wherever they have got to."""
        own = self.environment["SLURM_CONF"]
        return [process for process in psutil.process_iter() if _environ(process).get("SLURM_CONF") == own]

    def said(self, *words: str) -> str:
        """What a command of SLURM prints."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True).stdout

    def _start_munge(self) -> None:
        """A munged of its own: by its own key and socket, whoever runs it."""
        key = self.folder / "munge.key"
        subprocess.run(["mungekey", "-c", "-k", str(key)], env=self.environment, check=True)
        files = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munge.pid"}
        files |= {"log-file": self.folder / "munge.log", "seed-file": self.folder / "munge.seed"}
        options = [f"--{name}={path}" for name, path in files.items()]
        self._start("munged", "munged", "--foreground", "--force", *options)
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged")

    def _start(self, name: str, *words: str) -> None:
        self._processes[name] = subprocess.Popen(
            words,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / f"{name}.out").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _wait_for_nodes(self) -> None:
        def idle() -> bool:
            done = subprocess.run(
                ["sinfo", "-h", "-N", "-o", "%t"], env=self.environment, capture_output=True, text=True
            )
            return done.stdout.split() == ["idle"] * len(NODES)

        self._wait(idle, "its nodes")

    def _wait(self, there: object, what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not there():  # type: ignore[operator]
            logs = "".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out"))
            assert time.monotonic() < end, f"no {what} in {seconds} s: {logs}"
            time.sleep(0.2)


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _free_port(count: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(20000 + os.getpid() % 5000 * 4, 60000, count):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")
