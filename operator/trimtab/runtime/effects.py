"""Changes outside the cluster: aliases and tags in the registry, messages to people.

They come after everything else in a pass, so that nothing outside claims what no status says. Only the leader makes
them. One that fails keeps neither the others nor the object from going on: it is logged, counted, told as one event,
and the pass is repeated, in which it is planned anew if it still is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Protocol

from trimtab.adapters.mlflow import MlflowError
from trimtab.adapters.notify import NotifyError
from trimtab.core.metadata import fingerprint
from trimtab.core.objects import Object, Ref, ref_of
from trimtab.core.plan import Alias, Effect, Event, Notice, Tags
from trimtab.runtime.cluster import NotLeader
from trimtab.runtime.metrics import Metrics

log = logging.getLogger(__name__)
REPEAT_AFTER = timedelta(seconds=30)
NOTE_LIMIT = 800  # bytes, of the 1,024 that an Event may have


class Registrar(Protocol):
    """Who changes the registry; MlflowError says why it was not done within `seconds`."""

    async def set_alias(self, model: str, alias: str, version: str, seconds: float) -> None:
        """Let the alias stand for this version."""

    async def set_tags(self, model: str, version: str, tags: Mapping[str, str], seconds: float) -> None:
        """Give the version these tags, and leave it the others."""


class Messenger(Protocol):
    """Who brings messages to people, in the background."""

    def send(self, notice: Notice, done: Callable[[], None]) -> None:
        """Take a message over, once for each key, and call `done` when it was delivered; NotifyError if that fails."""


class Effects:
    """Makes the effects of plans. `allowed` says for how many seconds that is this replica's business."""

    def __init__(
        self,
        registrar: Registrar,
        messenger: Messenger,
        metrics: Metrics,
        allowed: Callable[[], float],
        tell: Callable[[Object, Event], Awaitable[None]],
    ) -> None:
        self._registrar = registrar
        self._messenger = messenger
        self._metrics = metrics
        self._allowed = allowed
        self._tell = tell
        self._failing: dict[Ref, frozenset[str]] = {}

    async def perform(
        self, obj: Object, effects: Iterable[Effect], enqueue: Callable[[Iterable[Ref]], None]
    ) -> timedelta | None:
        """Make all effects that can be made; when the pass should be repeated because of those that could not.

        NotLeader as soon as they are no longer this replica's business.
        """
        ref = ref_of(obj)
        before: frozenset[str] = self._failing.get(ref, frozenset())
        failing: set[str] = set()
        for effect in effects:
            message = await self._try(ref, effect, enqueue)
            if not message:
                continue
            key = fingerprint([type(effect).__name__, asdict(effect)])
            if key not in before | failing:
                await self._tell(obj, Event("Warning", "EffectFailed", message))
            failing.add(key)
        if failing:
            self._failing[ref] = frozenset(failing)
        else:
            self.forget(ref)
        return REPEAT_AFTER if failing else None

    def forget(self, ref: Ref) -> None:
        """Nothing of this object fails any more, or it is gone."""
        self._failing.pop(ref, None)

    async def _try(self, ref: Ref, effect: Effect, enqueue: Callable[[Iterable[Ref]], None]) -> str:
        """Make one effect; what to tell people if it fails."""
        kind = type(effect).__name__
        try:
            await self._make(effect, lambda: enqueue((ref,)))
        except NotLeader:
            raise
        except (MlflowError, NotifyError) as error:
            said = str(error)
        except Exception as error:
            log.exception("an effect failed unexpectedly", extra={"concerned": str(ref), "effect": kind})
            said = type(error).__name__
        else:
            self._metrics.effects.labels(kind, "done").inc()
            return ""
        self._metrics.effects.labels(kind, "failed").inc()
        extra = {"concerned": str(ref), "effect": kind, "wanted": _wanted(effect), "error": said}
        log.warning("an effect failed and is tried again", extra=extra)
        again = f"it is tried again every {REPEAT_AFTER.total_seconds():.0f} s"
        return f"{_wanted(effect)}: {said}".encode()[:NOTE_LIMIT].decode(errors="ignore") + f"; {again}"

    async def _make(self, effect: Effect, done: Callable[[], None]) -> None:
        seconds = self._allowed()
        if seconds <= 0:
            raise NotLeader(_wanted(effect))
        match effect:
            case Alias(model, alias, version):
                await self._registrar.set_alias(model, alias, version, seconds)
            case Tags(model, version, tags):
                await self._registrar.set_tags(model, version, tags, seconds)
            case Notice():
                self._messenger.send(effect, done)


def _wanted(effect: Effect) -> str:
    match effect:
        case Alias(model, alias, version):
            return f"the alias {alias} of {model} should be version {version}"
        case Tags(model, version):
            return f"version {version} of {model} should get tags"
        case Notice():
            return f'the channel {effect.channel} should get the message "{effect.title}"'
