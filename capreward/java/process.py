"""Java programs with a time limit, whose errors quote their stderr, and which always end and leave no files behind."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from capreward.errors import InputError, ProgramError
from capreward.java.child import PLATFORM_OPTIONS, VM_OPTIONS, Child
from capreward.java.runtime import Java, find_java


class JavaError(ProgramError):
    """A Java program failed.

    Attributes:
        stderr: The last lines that the program wrote to stderr.
        returncode: The exit status of the program, or None if it had to be ended.
    """

    def __init__(self, message: str, stderr: str = "", returncode: int | None = None) -> None:
        super().__init__(message)
        self.stderr = stderr
        self.returncode = returncode


class JavaTimeout(JavaError):
    """A Java program took longer than its time limit and was ended."""


class JavaProcess:
    """One run of a Java program, which is used in a ``with`` block.

    The program gets its own process group, a fixed locale and encoding, and a private temporary folder. The program is
    ended and the folder is removed when the block is left, on any error or time-out, when the object is collected, when
    Python exits, and (on POSIX systems) when this process is killed.

    Args:
        arguments: The arguments after ``java`` and its options: ``["-jar", "x.jar", ...]`` or ``["-cp", path, "Main",
            ...]``.
        name: The name of the program, with which error messages begin.
        java: The Java runtime; None finds one (Java 8 or newer).
        heap: The most memory for Java objects, such as ``"512M"`` or ``"2G"``.
        options: Further options for the Java virtual machine.
        cwd: The working directory; None takes the temporary folder.
        timeout: The seconds after which one answer (``ask``, ``receive``) or the whole run (``run``) is given up.

    Attributes:
        folder: The temporary folder, inside the ``with`` block.

    Raises:
        InputError: If there is no Java, or if ``heap`` or ``timeout`` is not valid.
    """

    folder: Path

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        *,
        name: str,
        java: Java | None = None,
        heap: str = "1G",
        options: Sequence[str] = (),
        cwd: Path | None = None,
        timeout: float = 300.0,
    ) -> None:
        if not re.fullmatch(r"[1-9]\d*[kKmMgG]", heap):
            raise InputError(f"heap={heap!r} is not a memory size; write it like '512M' or '4G'.")
        if not timeout > 0:
            raise InputError(f"timeout={timeout!r} must be a positive number of seconds.")
        self.name = name
        self.heap = heap
        self.timeout = timeout
        self._java = java or find_java(minimum=8)
        self._command = [str(self._java.path), f"-Xmx{heap}", *VM_OPTIONS, *options, *PLATFORM_OPTIONS]
        self._arguments = [os.fspath(argument) for argument in arguments]
        self._cwd = cwd
        self._running: Child | None = None

    def __enter__(self) -> JavaProcess:
        self.folder = Path(tempfile.mkdtemp(prefix="capreward-java-"))
        self._remove = weakref.finalize(self, _remove_folder, self.folder, os.getpid())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the program; None before its start and after its end."""
        return self._running.process.pid if self._running else None

    @property
    def stderr(self) -> str:
        """The last lines that the program wrote to stderr."""
        return self._running.stderr() if self._running else ""

    def start(self) -> None:
        """Start the program, for ``ask``, ``send`` and ``receive``.

        Raises:
            RuntimeError: If it is called outside the ``with`` block, or if the program runs already.
            JavaError: If the operating system cannot start the program.
        """
        if self._running is not None or not hasattr(self, "_remove") or not self._remove.alive:
            raise RuntimeError(f"{self.name}: start it once, inside its `with` block")
        command = [*self._command, f"-Djava.io.tmpdir={self.folder}", *self._arguments]
        try:
            self._running = Child(command, self._cwd or self.folder, self.folder)
        except OSError as error:
            raise JavaError(f"{self.name} could not be started: {error}") from error
        # It is registered after the folder's finalizer, so that it is called before that one when Python exits.
        self._end = weakref.finalize(self, self._running.end)

    def send(self, line: str) -> None:
        """Write one line (UTF-8) to the program.

        Raises:
            InputError: If the text holds a line break, which would shift every later answer, or is not valid Unicode.
            JavaError: If the program no longer reads its input.
            JavaTimeout: If the program does not read the line within the time limit.
        """
        if "\n" in line or "\r" in line:
            raise InputError(f"{self.name} reads one line at a time; there is a line break in {line[:80]!r}.")
        try:
            data = line.encode() + b"\n"
        except UnicodeEncodeError as error:
            raise InputError(f"{line[max(0, error.start - 20) : error.end + 20]!r} is not valid Unicode.") from error
        try:
            in_time = self._running_child().write(data, self.timeout)
        except (OSError, ValueError) as error:
            raise self._failure_error("stopped reading") from error
        if not in_time:
            raise self._timeout_error()

    def receive(self) -> str:
        """Wait for one line from the program.

        Raises:
            JavaError: If the program ended without a line.
            JavaTimeout: If no line comes within the time limit; the program is then ended.
        """
        deadline = time.monotonic() + self.timeout
        line = self._next_line(deadline)
        if line is None:
            raise self._failure_error("ended without an answer")
        return line.rstrip("\r\n")

    def ask(self, line: str) -> str:
        """Write one line and wait for the line that answers it; it raises the errors of ``send`` and ``receive``."""
        self.send(line)
        return self.receive()

    def run(self) -> str:
        """Start the program, wait until it ends, and return its stdout.

        Raises:
            JavaError: If the exit status of the program is not 0.
            JavaTimeout: If the program did not end within the time limit; it is then ended.
        """
        self.start()
        running = self._running_child()
        running.stdin.close()
        deadline = time.monotonic() + self.timeout
        output = []
        while (line := self._next_line(deadline)) is not None:
            output.append(line)
        code = self._wait_for_end(deadline)
        if code != 0:
            raise self._failure_error("failed")
        return "".join(output)

    def close(self) -> None:
        """End the program if it runs, and remove the temporary folder; a second call does nothing."""
        if self._running is not None:
            self._end()
            self._running = None
        if hasattr(self, "_remove"):
            self._remove()

    def _running_child(self) -> Child:
        if self._running is None:
            raise RuntimeError(f"{self.name} is not running; use it inside its `with` block, after start()")
        if self._running.owner != os.getpid():
            raise RuntimeError(f"{self.name} was started by another process; open one in each process")
        return self._running

    def _next_line(self, deadline: float) -> str | None:
        try:
            line = self._running_child().answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise self._timeout_error() from None
        return None if line is None else line.decode("utf-8", "replace")

    def _wait_for_end(self, deadline: float) -> int:
        try:
            return self._running_child().process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._timeout_error() from None

    def _timeout_error(self) -> JavaTimeout:
        running = self._running_child()
        running.end()
        stderr = running.stderr()
        self.close()
        return JavaTimeout(
            f"{self.name} gave no answer within {self.timeout:g} seconds and was ended; a larger timeout= gives it "
            f"more.{quote_stderr(stderr)}",
            stderr,
        )

    def _failure_error(self, what: str) -> JavaError:
        running = self._running_child()
        # The pipe closes shortly before the status is known; a program that only closed its pipes is ended.
        code = running.status(5.0)
        running.end()
        stderr = running.stderr()
        self.close()
        memory = "OutOfMemoryError" in stderr or "object heap" in stderr
        hint = f" It had heap={self.heap!r} of memory; change heap=." if memory else ""
        return JavaError(f"{self.name} {what} (exit status {code}).{hint}{quote_stderr(stderr)}", stderr, code)


def _remove_folder(folder: Path, owner: int) -> None:
    if owner == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)


def quote_stderr(stderr: str) -> str:
    """Return the end of stderr for a message, without the lines of stack traces, which would hide the reason."""
    frame = re.compile(r"\s+at [\w$.]|\s*\.\.\. \d+ more|Picked up _?J")
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not frame.match(line)]
    return f" Its last words: {' | '.join(lines[-8:])[-1500:]}" if lines else " It wrote nothing to stderr."
