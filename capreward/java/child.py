"""The process of a Java program, its pipes, and the guard process that ends it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import IO

# METEOR's EVAL cannot read "6,0", and SPICE reads its input in the encoding of the platform, so locale and encoding are
# fixed here, whatever the settings of the machine (coco-caption's METEOR pipe and locale issues).
PLATFORM_OPTIONS = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8", "-Dstderr.encoding=UTF-8")
# Without these options, a thread pool that runs out of memory hangs, and the reason is printed among the results.
VM_OPTIONS = ("-XX:+ExitOnOutOfMemoryError", "-XX:+DisplayVMOutputToStderr", "-XX:-UsePerfData")
# The guard ends the program when this process has ended in any way, since only then `read` reaches the end of the pipe.
# The kernel's own parent-death signal would come as soon as the *thread* that started the program ends.
# It is `-s KILL`, since dash accepts no `--` after `-KILL`.
_WATCHDOG = 'read -r said || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }'
_STDERR_LINES = 200
_PIPE_ROOM = 4096  # bytes that the pipe of any system accepts at once


class Child:
    """The process of one run; it holds no reference to its JavaProcess, so that the latter can be collected.

    Args:
        command: The command line.
        cwd: The working directory.
        folder: The temporary folder, which the guard removes if this process is killed.
    """

    def __init__(self, command: list[str], cwd: Path, folder: Path) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.watchdog: subprocess.Popen[bytes] | None = None
        try:
            if os.name == "posix":
                self.watchdog = subprocess.Popen(
                    ["/bin/sh", "-c", _WATCHDOG, "sh", str(self.process.pid), str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self.stdin, stdout, stderr = _pipes(self.process)
            self.answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            self._stderr_lines: deque[bytes] = deque(maxlen=_STDERR_LINES)
            self._readers = [
                threading.Thread(target=_read_answers, args=(stdout, self.answers), daemon=True),
                threading.Thread(target=_read_stderr, args=(stderr, self._stderr_lines), daemon=True),
            ]
            for reader in self._readers:
                reader.start()
        except BaseException:
            _kill(self.process)
            raise

    def stderr(self) -> str:
        """Return the last lines of stderr; they are complete once the program has ended."""
        if self.process.poll() is not None:
            self._join_readers()
        return b"".join(self._stderr_lines.copy()).decode("utf-8", "replace")

    def status(self, patience: float) -> int | None:
        """Return the exit status, or None if the program still runs after ``patience`` seconds."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    def write(self, data: bytes, timeout: float) -> bool:
        """Write to the program.

        Returns:
            True if the program read all data within ``timeout`` seconds; otherwise it was ended.

        Raises:
            OSError: If the program closed its input.
        """
        if len(data) <= _PIPE_ROOM:
            self.stdin.write(data)
            self.stdin.flush()
            return True
        # A write that fills the pipe blocks until the program reads or ends.
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(self.process)

        guard = threading.Timer(timeout, give_up)
        guard.start()
        try:
            self.stdin.write(data)
            self.stdin.flush()
        except OSError:
            if not late.is_set():
                raise
        finally:
            guard.cancel()
        return not late.is_set()

    def end(self) -> None:
        """Kill the program if it runs, wait for its end, and close every pipe; a second call does nothing."""
        if self.owner != os.getpid():
            return  # a forked copy of this object must not kill its parent's program
        _kill(self.process)
        self._join_readers()
        with contextlib.suppress(OSError):  # the buffer may hold text that the program never read
            self.stdin.close()
        if self.watchdog is not None:
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                self.watchdog.communicate(b"done\n", timeout=5.0)

    def _join_readers(self) -> None:
        for reader in self._readers:
            # Garbage collection, and with it end(), can run in any thread.
            if reader is not threading.current_thread():
                reader.join(5.0)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("the program was started without pipes")
    return process.stdin, process.stdout, process.stderr


def _read_answers(pipe: IO[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
    with pipe:
        for line in pipe:
            answers.put(line)
    answers.put(None)


def _read_stderr(pipe: IO[bytes], lines: deque[bytes]) -> None:
    with pipe:
        # The reads are bounded, so that one endless line does not fill the memory.
        while line := pipe.readline(4096):
            lines.append(line)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    process.wait()


def _environment() -> dict[str, str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    # Java applies _JAVA_OPTIONS after its command line, so the options are added there too.
    if existing := environment.get("_JAVA_OPTIONS"):
        environment["_JAVA_OPTIONS"] = " ".join([existing, *PLATFORM_OPTIONS])
    return environment
