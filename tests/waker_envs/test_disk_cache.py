"""Answers kept on disk: what was put is found, and nothing else ever is; no fault of a disk is an error."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from waker_envs.disk_cache import DiskCache, cache_folder

KEY = '{"room": 1}'


def only_file(folder: Path) -> Path:
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    return file


def test_what_was_put_last_is_found_by_another_object(tmp_path: Path) -> None:
    DiskCache(tmp_path / "a" / "b").put(KEY, "before")
    DiskCache(tmp_path / "a" / "b").put(KEY, "one\ntwo: ä")
    assert DiskCache(tmp_path / "a" / "b").get(KEY) == "one\ntwo: ä"
    assert DiskCache(tmp_path / "a" / "b").get(KEY + " ") is None


def test_files_lie_in_256_folders_and_nothing_unfinished_stays(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    for number in range(300):
        cache.put(str(number), "")
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 300
    assert all(len(file.parts) == 2 and len(file.parts[0]) == 2 for file in files)
    assert not [file for file in files if file.name.startswith(".")]
    assert 100 < len({file.parts[0] for file in files}) <= 256


def test_a_file_with_a_changed_byte_or_cut_anywhere_counts_as_missing(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    cache.put(KEY, "answer")
    file = only_file(tmp_path)
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :]):
            file.write_bytes(damaged)
            assert cache.get(KEY) is None, place
    cache.put(KEY, "answer")
    assert file.read_bytes() == whole


def test_the_answer_to_another_question_counts_as_missing(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    cache.put(KEY, "answer")
    mine = only_file(tmp_path)
    other = DiskCache(tmp_path / "other")
    other.put("another", "answer")
    mine.write_bytes(only_file(tmp_path / "other").read_bytes())
    assert cache.get(KEY) is None


@pytest.mark.parametrize("kind", ["file", "read-only", "link to nothing"])
def test_a_folder_that_cannot_be_written_is_no_cache_and_no_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    if kind == "file":
        folder.write_text("not a folder")
    elif kind == "link to nothing":
        folder.symlink_to("/proc/nothing")
    else:  # permissions would not stop a superuser

        def refuses(path: Path, *given: object, **named: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        monkeypatch.setattr(Path, "mkdir", refuses)
    cache = DiskCache(folder)
    cache.put(KEY, "answer")
    assert cache.get(KEY) is None


def test_a_full_disk_keeps_what_was_there_and_leaves_nothing_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(tmp_path)
    cache.put(KEY, "before")

    def fills(path: Path, content: bytes) -> None:
        with open(path, "wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", fills)
    cache.put(KEY, "after")
    assert cache.get(KEY) == "before"
    assert only_file(tmp_path).name[0] != "."


def test_an_interrupt_while_writing_is_raised_and_leaves_nothing_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stops)
    with pytest.raises(KeyboardInterrupt):
        DiskCache(tmp_path).put(KEY, "answer")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def _puts(folder: Path, who: int) -> None:
    for number in range(60):
        DiskCache(folder).put(KEY, f"{who}-{number} " * 2000)


def test_who_reads_while_two_processes_write_sees_whole_answers(tmp_path: Path) -> None:
    DiskCache(tmp_path).put(KEY, "first")
    writers = [multiprocessing.get_context("spawn").Process(target=_puts, args=(tmp_path, who)) for who in range(2)]
    for writer in writers:
        writer.start()
    answers = set()
    while any(writer.is_alive() for writer in writers):
        answers.add(DiskCache(tmp_path).get(KEY))
        time.sleep(0.001)  # leaves them a core
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert None not in answers
    assert DiskCache(tmp_path).get(KEY) in {f"{who}-59 " * 2000 for who in range(2)}
    assert only_file(tmp_path).name[0] != "."


def test_the_folder_is_the_users_or_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("x", "X_CACHE") == tmp_path / ".cache" / "waker" / "x"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("x", "X_CACHE") == tmp_path / "xdg" / "waker" / "x"
    monkeypatch.setenv("X_CACHE", "~/there")
    assert cache_folder("x", "X_CACHE") == tmp_path / "there"
    monkeypatch.setenv("X_CACHE", "")
    assert cache_folder("x", "X_CACHE") is None


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: str) -> str:
        return path  # as of a user whom the system does not know

    monkeypatch.delenv("X_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", homeless)
    assert cache_folder("x", "X_CACHE") is None
    monkeypatch.setenv("X_CACHE", "~/there")
    assert cache_folder("x", "X_CACHE") is None
