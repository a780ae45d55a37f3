"""``python -m waker`` is the ``waker`` command."""

from waker.cli import run

if __name__ == "__main__":
    run()
