"""``waker ask``: pairs of replay segments that somebody is asked to compare, as a file and as a page."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from waker.cli.arguments import parse
from waker.settings import Count, NotNegativeInt


@dataclass(frozen=True)
class AskArgs:
    """Choose pairs of segments of a run's replay, or of what its model imagines, and ask which of each pair is better.

    Writes a file with one row a pair, and a page beside it (.html) on which a person answers by keys or clicks and
    saves the answers as CSV, which `waker answer` takes in; a simulated teacher answers by the same verb. Then `waker
    adapt RUN --preferences FILE` learns the task.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, or a folder that holds one."""
    queries: Count = 200
    """Pairs."""
    length: Count = 8
    """Steps of a segment; it is shorter where its episode ended by itself before."""
    rule: Literal["uniform", "disagreement", "policy"] = "uniform"
    """How pairs are chosen: by chance; those whose answer the members of the head learned so far differ about most; or
    from segments that the policy learned so far would most likely have acted out."""
    source: Literal["replay", "imagined"] = "replay"
    """What is asked about: what happened; or what the world model imagines, two futures from each of some states of the
    replay, in which chance acts by --rule uniform, and the policy learned so far by the others."""
    name: str = ""
    """Of the task whose head or policy chooses (`waker adapt --name`); none = the one adapted last."""
    out: Path = Path("queries.parquet")
    """The file: .parquet, .csv or .jsonl."""
    page: bool = True
    """Whether the page is written too."""
    seed: NotNegativeInt = 0
    """Of what is drawn."""


def run_option(run: Path, name: str) -> str:
    """What `waker answer` must be told to find the run: nothing where it lies below ./runs under its own name.

    Args:
        run: its folder.
        name: as it stands in the file of queries.
    """
    return "" if (Path("runs") / name).resolve() == run.resolve() else f" --run {shlex.quote(str(run))}"


def command(argv: list[str]) -> int:
    """Run ``waker ask``."""
    args = parse(AskArgs, argv, verb="ask")
    from waker.names import printable
    from waker.preferences import table
    from waker.preferences.imagined import file_of, write_imagined
    from waker.preferences.page import write_page
    from waker.storage.files import check_writable, saving
    from waker.storage.run_folder import RunFolder, read_config
    from waker.storage.run_search import one_run
    from waker.training.asking import ask, strips
    from waker.training.loading import load_run

    run, out = one_run(args.run), args.out.absolute()
    folder = run.absolute()

    def note(text: str) -> None:
        print(printable(text), flush=True)

    table.check_name(out)
    check_writable("the queries", out)
    if args.page:
        check_writable("the page", out.with_suffix(".html"))
    before = table.replaced(out)
    with RunFolder(folder, read_config(folder)).locked():
        loaded = load_run(folder, note)
        replay = loaded.replay(note)
        dream = out if args.source == "imagined" else None
        frame, imagined = ask(loaded, replay, args.queries, args.length, args.rule, args.seed, args.name, note, dream)
    page = out.with_suffix(".html")
    if before:
        note(before)
    with saving(f"queries in {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
        if imagined is not None:
            write_imagined(file_of(out), imagined)
        table.write(out, frame)
        if args.page:
            films = strips(replay if imagined is None else imagined.replay, loaded.family.spec, table.pairs_of(frame))
            write_page(page, frame, films, f"{len(frame)} queries about {loaded.run.name}", f"{out.stem}-answers.csv")
    on_page = f" Answer them on {printable(page)}," if args.page else " Answer them by editing its labels,"
    by_teacher = (
        f"waker answer {shlex.quote(str(args.out))} --teacher oracle --task TASK{run_option(run, loaded.run.name)}"
    )
    note(f"Asked: {len(frame)} queries in {printable(args.out)}.{on_page} or by `{printable(by_teacher)}`")
    return 0
