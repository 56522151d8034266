"""Standard streams that are closed, full, of another encoding, or whose reader has left."""

import io
import os
import sys

import pytest

from udal_tf.commands import program
from udal_tf.commands.streams import OutputLost, Streams


@pytest.fixture
def output(monkeypatch):
    """Puts a stream on a descriptor in the place of standard output; gives it back after the test."""
    kept = os.dup(1)

    def put(descriptor: int, encoding: str = "utf-8", unbuffered: bool = False) -> None:
        os.dup2(descriptor, 1)
        os.close(descriptor)
        raw = os.fdopen(1, "wb", 0 if unbuffered else -1, closefd=False)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, write_through=unbuffered))

    yield put
    os.dup2(kept, 1)
    os.close(kept)


def pipe_without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def file(tmp_path) -> int:
    return os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)


@pytest.mark.parametrize("unbuffered", [False, True])
def test_what_an_encoding_lacks_is_printed_as_an_escape(output, tmp_path, unbuffered):
    output(file(tmp_path), "ascii", unbuffered)
    before = sys.stdout
    with Streams():
        assert sys.stdout is not before
        print("α 0.5 Käse \udce9")
    assert sys.stdout is before
    assert (tmp_path / "out").read_bytes() == rb"\u03b1 0.5 K\xe4se \udce9" + b"\n"


def test_a_long_text_is_written_whole_to_an_unbuffered_pipe(output):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # As another owner of the same pipe may leave it: it takes 64 KB at a time.
    output(writer, unbuffered=True)
    import threading

    received = []
    thread = threading.Thread(target=lambda: received.append(os.fdopen(reader, "rb").read()))
    thread.start()
    with Streams():
        print("x" * 300_000)
    os.close(1)
    thread.join()
    assert received == [b"x" * 300_000 + b"\n"]


def test_a_command_whose_output_is_its_result_ends_where_its_reader_left(output):
    output(pipe_without_reader())
    printed = []

    @program.command
    def main():
        for number in range(100):
            print("x" * 1000, flush=True)
            printed.append(number)

    main()
    assert printed == []


@pytest.mark.parametrize(("code", "ends_with"), [(0, None), (3, 3)])
def test_a_failure_is_not_hidden_by_a_reader_that_left(output, code, ends_with):
    output(pipe_without_reader())

    @program.command
    def main():
        print("short: it is written at the end")
        sys.exit(code)

    if ends_with is None:
        main()
    else:
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == ends_with


def test_a_full_disk_is_named_and_is_a_failure(output, capsys):
    with capsys.disabled():
        output(os.open("/dev/full", os.O_WRONLY))
        errors = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "stderr", errors)
            program.command(lambda: print("a result"))()
    assert ended.value.code == 1
    assert errors.getvalue() == "error: standard output cannot be written: No space left on device\n"


def test_work_goes_on_without_its_output_which_is_said_once(output, monkeypatch):
    errors, done = io.StringIO(), []
    output(pipe_without_reader())
    monkeypatch.setattr(sys, "stderr", errors)

    @program.command
    def main():
        program.outlive_output("training")
        for number in range(3):
            print("epoch", number, flush=True)
            done.append(number)

    main()
    assert done == [0, 1, 2]
    assert errors.getvalue() == "standard output cannot be written: Broken pipe; training goes on without it\n"


def test_a_stream_closed_from_the_start_takes_no_other_files_place(output, tmp_path):
    """Otherwise the next file that is opened would be descriptor 1, and get all that libraries print."""
    os.close(os.dup(1))
    output(file(tmp_path))
    os.close(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        with Streams():
            with open(tmp_path / "mine", "wb") as mine:
                assert mine.fileno() > 2
                print("nobody reads this")
            assert (tmp_path / "mine").read_bytes() == b""


def test_lost_output_tells_a_reader_that_left_from_a_fault():
    assert OutputLost(BrokenPipeError(32, "Broken pipe")).left
    assert OutputLost(OSError(5, "Input/output error")).left
    assert not OutputLost(OSError(28, "No space left on device")).left


def test_ctrl_c_ends_a_command_without_a_traceback(call_command):
    @program.command
    def main(argv):
        raise KeyboardInterrupt

    assert call_command(main) == (130, "", "interrupted\n")


def test_too_little_memory_is_said(call_command):
    @program.command
    def main(argv):
        raise MemoryError("Unable to allocate 1.00 TiB")

    assert call_command(main) == (1, "", "error: not enough memory: Unable to allocate 1.00 TiB\n")
