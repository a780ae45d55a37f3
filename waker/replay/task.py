"""What a task of one's own may say of itself beside its reward. Public as ``waker.task``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])
Optimum = Callable[[Any, Any, int], float]
"""``(env, theta, seed)`` → the best expected return of the episode that (seed, θ) fixes in the bare environment."""


@overload
def task(function: F) -> F: ...
@overload
def task(*, optimal_return: Optimum | None = None) -> Callable[[F], F]: ...
def task(function: F | None = None, *, optimal_return: Optimum | None = None) -> F | Callable[[F], F]:
    """Decorator of a task's reward function, for what a function alone cannot say; ``@task`` alone says nothing more.

    The function takes observations by key, leading (B, T), and returns the reward of arriving in each, (B, T) float32.
    One with a second argument is also given the actions that led there, as the environment takes them: (B, T) whole
    numbers of a discrete space, else (B, T, A); what leads into an episode's first observation is no action.

    Args:
        function: the reward function, where the decorator stands without parentheses.
        optimal_return: the best expected return of an episode, called with the environment, θ (D,) and the episode's
            seed; with it the task has a regret. NaN = not known for this one.
    """

    def put(function: F) -> F:
        function.optimal_return = optimal_return  # type: ignore[attr-defined]
        return function

    return put if function is None else put(function)
