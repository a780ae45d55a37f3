"""The cache's place, what tells configurations apart in it, and its records when several processes write them."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.tiny_learner import tiny_config, tiny_spec
from waker.errors import UserError
from waker.machine import mkl_dispatch, products
from waker.machine.compile_cache import CompileCache, default_place, graph_key, require_compiler


@pytest.fixture
def cache(tmp_path: Path) -> CompileCache:
    return CompileCache(str(tmp_path))


def test_the_place_is_the_setting_or_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "of-torch")
    assert default_place() == tmp_path / "home" / ".cache" / "waker" / "compile"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_place() == tmp_path / "xdg" / "waker" / "compile"
    assert CompileCache("~/there").folder.parent == tmp_path / "home" / "there"


def test_torch_keeps_compiled_code_there(cache: CompileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")  # put back afterwards
    cache.use()
    assert Path(cache_dir()) == cache.folder


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="train.compile_cache names another folder"):
        CompileCache(str(tmp_path / "file"))


def test_runs_of_a_sweep_share_a_key_and_other_graphs_have_another() -> None:
    spec, config = tiny_spec(), tiny_config(after=True)
    key = graph_key(spec, config)
    swept = replace(
        config,
        seed=3,
        curriculum=replace(config.curriculum, sampler="dr"),
        train=replace(config.train, steps=10_000, compile="compile", adapt_updates=7),
    )
    assert graph_key(spec, swept) == key
    assert graph_key(replace(spec, tasks=("a", "b")), config) == key  # their names are in no graph
    others = [
        graph_key(tiny_spec(tasks=3), config),
        graph_key(tiny_spec(discrete=False), config),
        graph_key(spec, config, tasks=3),
        graph_key(spec, replace(config, behaviour=replace(config.behaviour, horizon=3))),
        graph_key(spec, replace(config, train=replace(config.train, batch=5))),
    ]
    assert len({key, *others}) == 1 + len(others)


def test_who_multiplies_has_costs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        return graph_key(tiny_spec(), tiny_config(after=True))

    monkeypatch.setattr(products, "_way", "blas")
    blas = key()
    monkeypatch.setattr(products, "_way", "onednn")
    onednn = key()
    monkeypatch.setattr(mkl_dispatch, "_believes", not mkl_dispatch.believes())
    assert len({blas, onednn, key()}) == 3


def test_records_add_up_and_what_is_not_legible_is_nothing(cache: CompileCache) -> None:
    assert cache.costs("key") == {}
    cache.record("key", "update", {"off": 49.0, "cold": 170.0})
    cache.record("key", "heads", {"off": 5.0})
    cache.record("key", "update", {"off": 50.0})
    cache.record("other", "update", {"off": 1.0})
    assert cache.costs("key") == {"update": {"off": 50.0, "cold": 170.0}, "heads": {"off": 5.0}}
    for text in ("{", "[]", '{"update": 3}', '{"update": {"off": "x"}}'):
        (cache.folder / "costs" / "key.json").write_text(text)
        assert cache.costs("key") == {}


SCRIPT = """
import sys
from waker.machine.compile_cache import CompileCache
cache = CompileCache(sys.argv[1])
for i in range(40):
    cache.record("key", f"{sys.argv[2]}-{i}", {"off": i})
"""


def test_no_record_of_two_processes_is_lost(cache: CompileCache, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'envs'}"}
    both = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), name], env=environment) for name in ("a", "b")
    ]
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(cache.costs("key")) == 80


def test_one_compiles_while_the_other_waits(cache: CompileCache) -> None:
    inside, leave, order = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        with cache.alone("key", "update", lambda text: order.append("first waits")):
            inside.set()
            assert leave.wait(30)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    with cache.alone("key", "heads", lambda text: order.append("another part waits")):
        order.append("heads")
    with cache.alone("key", "update", lambda text: (order.append("second waits"), leave.set())[0]):
        order.append("second")
    thread.join(30)
    assert order == ["heads", "second waits", "first", "second"]


@pytest.mark.parametrize("why", ["only read", "no locks"])
def test_without_a_lock_one_compiles_and_is_told_once(
    why: str, cache: CompileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if why == "no locks":
        monkeypatch.setattr(fcntl, "flock", no_locks)
    else:  # what cannot be opened to be written, even by root
        (cache.folder / "costs" / "key-update.lock").mkdir()
    notes: list[str] = []
    with cache.alone("key", "update", notes.append):
        assert ["no lock in" in note and "\n" not in note for note in notes] == [True]
    with pytest.raises(OSError, match="of the compiler"), cache.alone("key", "update", notes.append):
        raise OSError("of the compiler")
    assert len(notes) == 2


def test_without_a_compiler_compiling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler"):
        require_compiler()
    monkeypatch.setenv("CXX", f"{sys.executable} -v")  # any program stands for one
    require_compiler()
