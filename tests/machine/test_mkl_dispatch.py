"""MKL's two questions about the processor's maker are answered as the switch says, in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from waker.machine import mkl_dispatch
from waker.machine.mkl_dispatch import FUNCTIONS, SWITCH, address_of, tell_unless_done, treat_as_intel


def there() -> bool:
    try:
        return all(address_of(name) for name in FUNCTIONS)
    except (OSError, AttributeError):
        return False


needs_mkl = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or not there(), reason="MKL on Linux and x86-64"
)

PROGRAM = """
from waker.machine import mkl_dispatch as d

def answers():
    return [d.library()[name]() for name in d.FUNCTIONS]

# As on a processor of another maker: xor eax, eax; ret
d.overwrite([d.address_of(name) for name in d.FUNCTIONS], bytes.fromhex("31c0c3"))
{change}
print(answers(), d.treat_as_intel(), answers(), d.believes())
import torch
a = torch.ones(64, 64)
assert (a @ a == 64).all()
"""


SECOND_PAGE_FORBIDDEN = """
protect, asked = d._protect, []

def second_forbidden(first, size, protection):
    asked.append(protection)
    if len(asked) == 2:
        raise OSError(13, "Permission denied")
    protect(first, size, protection)

d._protect = second_forbidden
"""


def printed(switch: str | None, change: str = "") -> str:
    environment = {k: v for k, v in os.environ.items() if k != SWITCH} | ({SWITCH: switch} if switch else {})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(change=change)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_mkl
def test_switched_on_both_functions_answer_yes() -> None:
    assert printed("1") == "[0, 0] None [1, 1] True"


@needs_mkl
@pytest.mark.parametrize("switch", [None, "0"])
def test_it_is_never_the_default(switch: str | None) -> None:
    assert printed(switch) == "[0, 0] None [0, 0] False"


@needs_mkl
def test_where_one_of_two_is_forbidden_none_is_changed() -> None:
    told = printed("1", SECOND_PAGE_FORBIDDEN)
    assert told.startswith("[0, 0] ") and told.endswith(" [0, 0] False")
    assert "does nothing here" in told


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
    def forbidden(addresses: list[int], code: bytes) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(mkl_dispatch, "overwrite", forbidden)
    assert "Permission denied" in str(treat_as_intel())
    assert not mkl_dispatch.believes()
