"""MKL's two questions about the processor's maker are answered as the switch says, in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from waker import mkl_dispatch
from waker.mkl_dispatch import FUNCTIONS, SWITCH, address_of, tell_unless_done, treat_as_intel


def there() -> bool:
    try:
        return all(address_of(name) for name in FUNCTIONS)
    except (OSError, AttributeError):
        return False


needs_mkl = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or not there(), reason="MKL on Linux and x86-64"
)

PROGRAM = """
from waker import mkl_dispatch as d

def answers():
    return [d.library()[name]() for name in d.FUNCTIONS]

for name in d.FUNCTIONS:  # as on a processor of another maker
    d.overwrite(d.address_of(name), bytes.fromhex("31c0c3"))  # xor eax, eax; ret
print(answers(), d.treat_as_intel(), answers(), d.believes())
import torch
a = torch.ones(64, 64)
assert (a @ a == 64).all()
"""


def printed(switch: str | None) -> str:
    environment = {k: v for k, v in os.environ.items() if k != SWITCH} | ({SWITCH: switch} if switch else {})
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_mkl
def test_switched_on_both_functions_answer_yes() -> None:
    assert printed("1") == "[0, 0] None [1, 1] True"


@needs_mkl
@pytest.mark.parametrize("switch", [None, "0"])
def test_it_is_never_the_default(switch: str | None) -> None:
    assert printed(switch) == "[0, 0] None [0, 0] False"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")


@pytest.mark.usefixtures("on")
def test_elsewhere_it_says_that_it_does_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    tell_unless_done()
    assert "does nothing here: it is for Linux on x86-64" in capsys.readouterr().err
    assert not mkl_dispatch.believes()


@pytest.mark.usefixtures("on")
@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="Linux on x86-64")
def test_a_torch_without_the_functions_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mkl_dispatch, "FUNCTIONS", ("mkl_serv_that_is_not_there",))
    assert "no MKL that asks" in str(treat_as_intel())


@pytest.mark.usefixtures("on")
@needs_mkl
def test_a_system_that_forbids_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(address: int, code: bytes) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(mkl_dispatch, "overwrite", forbidden)
    assert "Permission denied" in str(treat_as_intel())
    assert not mkl_dispatch.believes()
