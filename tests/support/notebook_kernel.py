"""The kernel that runs a notebook as a test, and what it costs."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from jupyter_client.manager import KernelManager
from nbval.kernel import NbvalKernelspecManager, RunningKernel


class Kernel(RunningKernel):
    """nbval's kernel, changed in four respects.

    * It talks through files of its own and not through TCP ports, where the system has such
      sockets. Jupyter chooses free ports, lets go of them, and the kernel takes them a second
      later; when another process was quicker, the kernel dies
      (https://github.com/jupyter/jupyter_client/issues/154).
    * It has an empty profile of IPython: what somebody set up for themselves changes no result,
      and what the notebooks run does not fill that person's history.
    * It keeps a history within that profile. Without one a final ``;`` hides nothing.
    * When it does not start, the error says what it wrote.
    """

    def __init__(self, kernel_name: str, cwd: str | None = None, startup_timeout: int = 60) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True)
        folder = Path(self.folder.name)
        self.km = KernelManager(
            kernel_name=kernel_name,
            kernel_spec_manager=NbvalKernelspecManager(),
            transport="tcp" if sys.platform == "win32" else "ipc",
            connection_file=str(folder / "k.json"),  # short: a socket's path has 104 bytes
        )
        written = folder / "stderr.txt"
        with written.open("wb") as stderr:
            environment = dict(os.environ, IPYTHONDIR=str(folder))
            self.km.start_kernel(stderr=stderr, cwd=cwd, env=environment)
        self.kc = self.km.client()
        self.kc.start_channels()
        try:
            self.kc.wait_for_ready(timeout=startup_timeout)
            self._ensure_iopub_up()
        except RuntimeError as error:
            reason = written.read_text("utf-8", "replace").strip()
            self.stop()
            raise RuntimeError(f"{error}. It wrote: {reason or 'nothing'}") from None

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        """Run a cell, with history."""
        return self.kc.execute(
            cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
        )

    def stop(self) -> None:
        """End the kernel and remove its files."""
        super().stop()
        self.folder.cleanup()


class Pace:
    """How long a fixed product takes, which tells a slow machine from a dear notebook.

    On one and the same virtual machine a notebook costs up to 1.6 times as much processor
    time in some hours as in others, as its neighbours share caches and memory. This product
    goes with it, for its matrix (113 MB, like the head of a small language model) is larger
    than a core's own caches: 15-the-transformer took 25.7 s while the product took 44 ms,
    29.9 s at 50 ms and 32.1 s at 52 ms.
    """

    def __init__(self) -> None:
        self.rows, self.matrix = np.ones((64, 576), np.float32), np.ones((576, 49152), np.float32)
        self.rows @ self.matrix  # the first time is not typical
        self.times_ms: list[float] = []
        self.last = -np.inf

    def sample(self) -> None:
        """Time the product, unless that was done a moment ago."""
        if time.monotonic() - self.last < 5:
            return
        start = time.process_time()
        self.rows @ self.matrix
        self.times_ms.append(1e3 * (time.process_time() - start))
        self.last = time.monotonic()

    def mean_ms(self) -> float:
        """The mean of the times."""
        return float(np.mean(self.times_ms))


class Meter:
    """Time and memory of one kernel process, and the machine's pace meanwhile."""

    def __init__(self, kernel: Kernel) -> None:
        self.process = psutil.Process(kernel.km.provisioner.pid)
        self.peak_mb = 0.0
        self.pace = Pace()

    def sample(self) -> None:
        """Note the memory now; where the system keeps the peak itself, note that."""
        self.pace.sample()
        memory = self.process.memory_info()
        peak = getattr(memory, "peak_wset", memory.rss) / 1e6
        status = Path(f"/proc/{self.process.pid}/status")
        if status.is_file():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peak = int(lines["VmHWM"].split()[0]) * 1024 / 1e6
        self.peak_mb = max(self.peak_mb, peak)

    def read(self) -> dict[str, float]:
        """Seconds since the kernel's start, seconds that it computed, and its peak memory."""
        self.sample()
        times = self.process.cpu_times()
        return {
            "seconds": round(time.time() - self.process.create_time(), 1),
            "cpu_seconds": round(times.user + times.system, 1),
            "peak_mb": round(self.peak_mb),
            "pace_ms": round(self.pace.mean_ms(), 1),
        }
