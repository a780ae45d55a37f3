"""``python -m waker`` is the ``waker`` command."""

from waker.terminal.startup import guard

if __name__ == "__main__":
    guard()  # before anything that takes time to import

from waker.cli import run

if __name__ == "__main__":
    run()
