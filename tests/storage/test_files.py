"""What is written where a user says: files appear whole, and what is no file is never replaced by one."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.synthetic import write_run
from waker.cli import main
from waker.errors import UserError
from waker.storage import files
from waker.storage.files import SaveFailed, atomic, check_folder, check_writable, clear_unfinished, write_text

pytestmark = pytest.mark.usefixtures("undrawn")

COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "compare": lambda root, out: ["compare", str(root), "--csv", str(out)],
    "report": lambda root, out: ["report", str(root), "--out", str(out)],
    "envs": lambda root, out: ["envs", "show", "GridHazards", "--steps", "2", "--out", str(out)],
}
"""Each command that writes a path of its user's, without its default."""
STARTS = {"compare": b"domain,", "report": b"<!doctype html>", "envs": b"GIF8"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_gets_the_content(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)

    def read() -> None:
        with open(reading, "rb") as file:
            got.append(file.read())

    holding = os.open(pipe, os.O_WRONLY)  # or the reader would end before the command opens it
    reader = threading.Thread(target=read)
    reader.start()
    code = main(COMMANDS[name](tmp_path / "runs", pipe))
    os.close(holding)
    reader.join()
    assert code == 0
    assert got[0].lower().startswith(STARTS[name].lower())
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe", "runs"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_without_a_reader_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(COMMANDS[name](tmp_path / "runs", pipe)) != 0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "nobody reads from this pipe" in told[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("socket")
        with pytest.raises(OSError, match="it is a socket"):
            write_text(Path("socket"), "text")
        assert stat.S_ISSOCK(os.stat("socket").st_mode)


def test_a_device_stays_and_a_full_one_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node of the test's own, of the same kind as /dev/full, and a link to it."""
    device, link = tmp_path / "full", tmp_path / "link"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 7))
        os.close(os.open(device, os.O_WRONLY))
    except OSError:
        pytest.skip("no device may be made or opened here")
    link.symlink_to(device)
    write_run(tmp_path / "runs")
    for out in (device, link):
        assert main(["compare", str(tmp_path / "runs"), "--csv", str(out)]) == 1
        assert "no space left" in capsys.readouterr().err
    assert stat.S_ISCHR(device.stat().st_mode)
    assert link.is_symlink()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "elsewhere"
    link.symlink_to(file)
    for text in ("first", "second"):
        write_text(link, text)
        assert file.read_text() == text
    assert link.is_symlink()
    with pytest.raises(TypeError), atomic(link) as writing:
        writing.writelines([b"third", None])  # type: ignore[list-item]
    assert file.read_text() == "second"


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_that_is_a_folder_is_refused_as_one(name: str) -> None:
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        write_text(Path(name), "text")


def test_who_is_alone_in_a_folder_clears_what_others_left_and_who_is_not_what_nobody_will_finish(
    tmp_path: Path,
) -> None:
    dead, elsewhere, other = "-4194303-0-a", "-1-0-b", f"-{os.getpid()}-7-c"
    here = f"{files._host():x}"
    names = [f".tmp-{here}{dead}", f".tmp-ffff{elsewhere}", f".tmp-{here}{other}"]
    for name in (*names, "whole"):
        (tmp_path / name).touch()
    clear_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[1:], "whole"])
    clear_unfinished(tmp_path, alone=True)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_what_cannot_be_written_in_the_end_is_told_at_once(tmp_path: Path) -> None:
    """Nothing stays of looking: neither a file nor a folder."""
    (tmp_path / "file").touch()
    check_writable("the page", None)
    for fits in ("page.html", "deep/below/page.html", "file"):
        check_writable("the page", tmp_path / fits)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for folder in (tmp_path, Path("."), Path("/")):
        with pytest.raises(UserError, match=r"the page must be a file, and .* is a folder"):
            check_writable("the page", folder)
    for inside in ("file/page.html", "file/deep/page.html"):
        with pytest.raises(
            SaveFailed, match=rf"cannot save the page {tmp_path}/{inside}: {tmp_path}/file is no folder"
        ):
            check_writable("the page", tmp_path / inside)
    with pytest.raises(SaveFailed, match="File name too long"):
        check_writable("the page", tmp_path / ("x" * 300))
    with pytest.raises(SaveFailed, match="/proc takes no file"):
        check_writable("the page", Path("/proc/page.html"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ones_own_is_told_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SaveFailed, match="cannot be written"):
        check_writable("the page", tmp_path / "page.html")


def test_a_file_in_place_of_a_folder_is_told_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder("--runs", tmp_path / "new" / "runs")
    check_folder("--runs", tmp_path)
    with pytest.raises(UserError, match=rf"^--runs {tmp_path}/file is a file$"):
        check_folder("--runs", tmp_path / "file")
    with pytest.raises(UserError, match=rf"^--runs {tmp_path}/file/runs: {tmp_path}/file is a file$"):
        check_folder("--runs", tmp_path / "file" / "runs")
