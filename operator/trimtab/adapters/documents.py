"""JSON from pods, read strictly: what contradicts its form, or itself, is not believed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trimtab.adapters.polling import Distrusted
from trimtab.core.objects import Object
from trimtab.kinds.modeldeployment.template import DIGEST

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


class CountsDocument(Part):
    """What every answer to GET /trimtab/v1/counts holds, whatever else is read of it."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    epoch: Annotated[str, Field(min_length=1, max_length=64)]
    digest: Sha256
    rows: Whole


Counts = TypeVar("Counts", bound=CountsDocument)


def counts_document(model: type[Counts], pod: Object, status: int, body: bytes) -> Counts:
    """The counts in a pod's answer; Distrusted when it is no such answer, or of another model than the pod's."""
    if status != 200:
        raise Distrusted("status", f"it answered HTTP {status}")
    found = parsed(model, body)
    expected = pod["metadata"].get("annotations", {}).get(DIGEST, found.digest)
    if found.digest != expected:
        raise Distrusted("revision", f"it says that it serves {found.digest}, but was made for {expected}")
    return found


def demand(sound: bool, message: str) -> None:
    """Distrusted with this message unless it holds."""
    if not sound:
        raise Distrusted("invalid", message)


def grows(values: Sequence[float]) -> bool:
    """Whether each is larger than the one before it."""
    return all(low < high for low, high in itertools.pairwise(values))


def demand_growth(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> None:
    """Distrusted if one of the counts that can only grow within an epoch is smaller than it was, gone, or counted in
    other cells. What was not counted yet may come."""
    for name, old in before.items():
        new = now.get(name, ())
        if old and len(new) > len(old):
            raise Distrusted("shrank", f"{name} has other cells without a new epoch")
        if len(new) < len(old) or any(later < sooner for sooner, later in zip(old, new, strict=False)):
            raise Distrusted("shrank", f"{name} became smaller without a new epoch")
