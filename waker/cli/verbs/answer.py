"""``waker answer``: answers to queries, of a person by a file or of a simulated teacher by the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from waker.cli.arguments import parse
from waker.errors import UserError
from waker.settings import NotNegativeInt

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AnswerArgs:
    """Put answers into a file of queries.

    A label is the probability that the first segment is preferred: 1, 0, 0.5 for a tie, nothing for what was skipped.
    Answers come from another file of the same queries (that the page saved, or that somebody edited), or from a
    simulated teacher who knows the truth. Without either the file is only checked and counted.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """File of queries (`waker ask`)."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """File of the same queries with answers, .csv, .jsonl or .parquet; the others stay as they are."""
    teacher: str = ""
    """oracle, flip:0.1, noisy:1, skip:0.1, equal:0.1 or myopic:0.9, or several joined by +: answers every query. flip
    turns a share of answers round; noisy answers by chance, the surer the larger the number; skip and equal leave out
    or tie what earns less, or differs by less, than that share of a usual segment; myopic discounts early steps."""
    score: Literal["return", "regret"] = "return"
    """What a teacher compares: rewards of a segment, or how much worse than the best its actions were (exactly, for
    families that offer their tables)."""
    task: str = ""
    """The environment's task that a teacher has in mind."""
    skip_rest: bool = False
    """Mark what nobody has answered as skipped."""
    run: Path | None = None
    """The run that was asked about; none = where it lies below ./runs."""
    out: Path | None = None
    """Where the result goes; none = the file itself."""
    seed: NotNegativeInt = 0
    """Of a teacher's chance."""


def command(argv: list[str]) -> int:
    """Run ``waker answer``."""
    args = parse(AnswerArgs, argv, verb="answer")
    from waker.names import printable
    from waker.preferences import table
    from waker.storage.files import check_writable, saving

    if args.teacher and args.from_ is not None:
        raise UserError("answers come from a file or from a teacher: --from or --teacher")
    if args.teacher and not args.task:
        raise UserError("a teacher needs --task, one of the environment's, to have in mind")
    if args.score != "return" and not args.teacher:
        raise UserError("--score is a teacher's: add --teacher oracle, say")
    file, out = args.file.absolute(), (args.out or args.file).absolute()
    table.check_name(out)
    check_writable("the answers", out)
    frame, changes = table.read(file), []
    if args.from_ is not None:
        frame, taken = table.merged(file, frame, table.read(args.from_.absolute()), args.from_)
        changes.append(f"{taken} answers from {printable(args.from_)}")
    if args.teacher:
        if out == file and (kept := table.by_people(frame)):
            raise UserError(f"{args.file} holds {kept} answers of people, which a teacher would replace: name --out")
        frame = _taught(args, frame)
        changes.append(f"answered by teacher {args.teacher}")
    if args.skip_rest:
        frame, skipped = table.skip_rest(frame)
        changes.append(f"{skipped} marked as skipped")
    if changes or out != file:
        with saving(f"answers in {out}"):
            out.parent.mkdir(parents=True, exist_ok=True)
            table.write(out, frame)
    told = "; ".join([*changes, table.told(table.counts(frame))])
    print(f"{printable(args.out or args.file)}: {told}")
    return 0


def _taught(args: AnswerArgs, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a simulated teacher's answers."""
    from waker.preferences import table
    from waker.preferences.imagined import imagined_of
    from waker.storage.run_folder import RunFolder, read_config
    from waker.storage.run_search import one_run
    from waker.training.asking import answer
    from waker.training.loading import load_run

    place = args.run or Path("runs") / str(frame["run"].iloc[0])
    if args.run is None and not place.is_dir():
        raise UserError(f"run {frame['run'].iloc[0]} does not lie in {place.absolute()}; tell where it is by --run")
    folder = one_run(place).absolute()
    with RunFolder(folder, read_config(folder)).locked():
        loaded = load_run(folder, print)
        replay = loaded.replay(print)
        imagined = imagined_of(args.file.absolute(), frame)
        table.check_of_run(args.file, frame, loaded.run.name, replay if imagined is None else imagined.replay)
        return answer(loaded, replay, frame, args.teacher, args.score, args.task, args.seed, imagined)
