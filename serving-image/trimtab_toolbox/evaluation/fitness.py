"""Whether a challenger could take the champion's place at all, whatever it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.profile import decode
from trimtab_toolbox.evaluation.check import Check
from trimtab_toolbox.evaluation.contender import Contender
from trimtab_toolbox.evaluation.gate import Gate
from trimtab_toolbox.profiling.profile import fits
from trimtab_toolbox.table import column_datatypes, column_names, is_matrix


def fitness(gate: Gate, champion: Contender | None, challenger: Contender) -> Iterator[Check]:
    """The checks that need no rows: schema, size, drift profile."""
    if champion is not None:
        problem = difference(champion, challenger)
        message = f"clients of the champion could not ask the challenger: {problem}; train it on the same columns"
        value = "other" if problem else "same"
        yield Check("schema", not problem, value, "same", "SchemaIncompatible", message if problem else "")
    if gate.max_size_bytes:
        size, limit = challenger.size_bytes, gate.max_size_bytes
        message = f"the challenger has {size} bytes, and {limit} are allowed (maxSizeBytes)"
        yield Check("sizeBytes", size <= limit, str(size), str(limit), "TooLarge", message)
    yield _profile(champion, challenger)


def difference(champion: Contender, challenger: Contender) -> str:
    """What a client of the champion would stumble over; empty when there is nothing."""
    before, after = _columns(champion.inputs), _columns(challenger.inputs)
    changes = [f"lacks the input {name!r}" for name in before if name not in after]
    changes += [f"wants the input {name!r} too" for name in after if name not in before]
    changes += [
        f"takes {name!r} as {after[name]} and not {kind}"
        for name, kind in before.items()
        if name in after and after[name] != kind
    ]
    lost = sorted(_missing(champion.inputs) - _missing(challenger.inputs))
    changes += [f"takes no missing values in {name!r}" for name in lost if name in after]
    if not changes and is_matrix(champion.inputs):
        if champion.inputs[0].name != challenger.inputs[0].name:
            changes.append(f"names its input {challenger.inputs[0].name!r} and not {champion.inputs[0].name!r}")
        elif list(before) != list(after):
            changes.append("takes its columns in another order")
    if _outputs(champion.outputs) != _outputs(challenger.outputs):
        changes.append(f"answers {_outputs(challenger.outputs)} and not {_outputs(champion.outputs)}")
    elif champion.classes != challenger.classes:
        changes.append(f"knows the classes {challenger.classes} and not {champion.classes}")
    more = f" and {len(changes) - 3} differences more" if len(changes) > 3 else ""
    return f"it {', '.join(changes[:3])}{more}" if changes else ""


def _columns(inputs: Sequence[Tensor]) -> dict[str, str]:
    return dict(zip(column_names(inputs), column_datatypes(inputs), strict=True))


def _missing(inputs: Sequence[Tensor]) -> frozenset[str]:
    """The columns in which values may be missing."""
    found = set[str]()
    for tensor in inputs:
        names = tensor.columns or (column_names(inputs) if is_matrix(inputs) else [tensor.name])
        found |= set(names if tensor.missing is True else tensor.missing or ())
    return frozenset(found)


def _outputs(outputs: Sequence[Tensor]) -> str:
    return ", ".join(f"{tensor.name} {tensor.datatype}{list(tensor.shape)}" for tensor in outputs)


def _profile(champion: Contender | None, challenger: Contender) -> Check:
    """A challenger must not lose the sight of drift that the champion has."""
    found = _fault(challenger)
    if not found:
        return Check("profile", True, "present", "present")
    needed = champion is not None and not _fault(champion)
    message = f"{found}, and the champion has one: drift would no longer be seen; log it with trimtab_toolbox.log_model"
    return Check("profile", False if needed else None, "missing", "present", "ProfileMissing", message)


def _fault(contender: Contender) -> str:
    if contender.profile is None:
        return f"the {contender.role} has no drift profile"
    try:
        fitting = fits(decode(contender.profile), contender.inputs)
    except ValueError as error:
        return f"the drift profile of the {contender.role} cannot be read ({error})"
    return "" if fitting else f"the drift profile of the {contender.role} is not that of its columns"
