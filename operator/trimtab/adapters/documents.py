"""JSON from pods, read strictly: what contradicts its form, or itself, is not believed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trimtab.adapters.polling import Distrusted

Whole = Annotated[int, Field(ge=0, le=1 << 53)]
Limited = Annotated[float, Field(ge=-1e150, le=1e150)]
Name = Annotated[str, Field(max_length=1024)]
Sha256 = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of the document. Fields that nothing here needs are not even looked at."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def parsed(model: type[Model], body: bytes) -> Model:
    """The document in an answer; Distrusted names the first field that is not as it must be."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise Distrusted("invalid", f"{where}: {first['msg']}") from None


def demand(sound: bool, message: str) -> None:
    """Distrusted with this message unless it holds."""
    if not sound:
        raise Distrusted("invalid", message)


def grows(values: Sequence[float]) -> bool:
    """Whether each is larger than the one before it."""
    return all(low < high for low, high in itertools.pairwise(values))


def shrunk(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> str:
    """Which of the counts that can only grow is smaller than it was, or gone; empty for none."""
    for name, old in before.items():
        new = now.get(name, ())
        if len(new) < len(old) or any(later < sooner for sooner, later in zip(old, new, strict=False)):
            return name
    return ""
