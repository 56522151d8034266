"""Stop signals: the first is remembered and answered, the second ends the process, SIGHUP is never the second."""

import os
import pathlib
import signal
import threading
import time

import pytest
from forked import Started

from udal_tf.stopping import MESSAGE, StopRequest

SECONDS_ALLOWED = 60


@pytest.fixture(autouse=True)
def hangups():
    """SIGHUP is not ignored, as it is where `nohup` has started the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def said():
    """What stop requests said, and a function that waits until the condition holds."""
    return []


def wait_until(condition) -> None:
    deadline = time.monotonic() + SECONDS_ALLOWED
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_first_signal_is_remembered_and_answered_in_words(said):
    with StopRequest() as stop:
        stop.say = said.append
        assert stop.number == 0
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        wait_until(lambda: said)
    assert said == ["stopping after this step; once more ends it"]


def test_it_is_answered_while_the_main_thread_is_busy(said):
    """A signal handler of Python's own would run only after the call, which may take minutes."""
    with StopRequest() as stop:
        answered = threading.Event()
        stop.say = lambda text: answered.set()
        lock = threading.Lock()
        lock.acquire()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        # Until the thread has answered, the main thread is inside of one call.
        threading.Thread(target=lambda: (answered.wait(SECONDS_ALLOWED), lock.release())).start()
        lock.acquire()
        assert answered.is_set()
        assert stop.number == signal.SIGINT


@pytest.mark.parametrize(
    ("signals", "ended"),
    [
        ((signal.SIGTERM, signal.SIGTERM), [signal.SIGTERM]),
        ((signal.SIGINT, signal.SIGTERM), [signal.SIGTERM]),
        # SLURM sends SIGCONT with SIGTERM; a closed terminal SIGHUP, twice and with SIGTERM.
        ((signal.SIGCONT, signal.SIGTERM, signal.SIGCONT), []),
        ((signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGCONT), []),
        ((signal.SIGHUP, signal.SIGTERM, signal.SIGTERM), [signal.SIGTERM]),
    ],
)
def test_a_second_signal_ends_the_process(said, signals, ended):
    ends = []
    with StopRequest(end=ends.append) as stop:
        stop.say = said.append
        for number in signals:
            signal.raise_signal(number)
    assert ends == ended
    assert said == [MESSAGE]
    assert stop.number == next(number for number in signals if number != signal.SIGCONT)


def test_handlers_are_given_back_and_nohup_is_respected():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with StopRequest():
        assert [signal.getsignal(number) == old for number, old in zip(numbers, before, strict=True)] == [False] * 3
    assert [signal.getsignal(number) for number in numbers] == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert stop.number == 0
    finally:
        signal.signal(signal.SIGHUP, before[2])


def busy_until_ended(folder: pathlib.Path) -> None:
    with StopRequest():
        (folder / "ready").touch()
        time.sleep(SECONDS_ALLOWED)
        while True:
            time.sleep(1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_ended_by_the_second_signal_exits_as_a_shell_reports_it(tmp_path, number, code):
    process = Started(busy_until_ended, tmp_path, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "ready").exists())
    for _ in range(2):
        process.signal(number)
        time.sleep(0.05)
    ended = process.finish()
    assert ended.returncode == code
    assert ended.stderr == f"{MESSAGE}\n"
