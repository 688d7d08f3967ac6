"""A page about the model for people: one HTML text without scripts, fonts or anything else from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence

from msgspec import UNSET

from trimtab_serving.docs.examples import v1_request, v2_request
from trimtab_serving.docs.openapi import document
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v2 import ModelMetadata, TensorMetadata

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d0d7de}
pre{background:#f6f8fa;padding:1rem;overflow:auto}code{font-family:ui-monospace,monospace;font-size:.9em}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}td,th{border-color:#30363d}}
"""


def render(metadata: ModelMetadata, signature: Signature) -> str:
    """The page for one loaded model."""
    name = html.escape(metadata.name)
    infer, predict = f"/v2/models/{metadata.name}/infer", f"/v1/models/{metadata.name}:predict"
    paths = document(metadata, signature)["paths"]
    rows = [
        (f"<code>{method.upper()}</code>", f"<code>{html.escape(path)}</code>", html.escape(operation["summary"]))
        for path, item in paths.items()
        for method, operation in item.items()
    ]
    aliases = ", ".join(f"{alias} = {name}" for alias, name in signature.aliases.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Model {name}</title><style>{_STYLE}</style></head><body>
<h1>Model {name}</h1>
<p>Version {html.escape(metadata.versions[0])}, {html.escape(metadata.platform)},
<code>{html.escape(metadata.parameters["digest"])}</code>. For machines: <a href="openapi.json">openapi.json</a>.</p>
<h2>Inputs</h2>{_tensors(metadata.inputs)}
<h2>Outputs</h2>{_tensors(metadata.outputs)}
<p>{html.escape("Also known as: " + aliases) if aliases else ""}</p>
<h2>Ask it</h2>{_example(infer, v2_request(metadata))}{_example(predict, v1_request(metadata))}
<h2>Paths</h2>{_table(("Method", "Path", ""), rows)}
</body></html>
"""


def _tensors(tensors: Sequence[TensorMetadata]) -> str:
    rows = []
    for tensor in tensors:
        columns = [] if tensor.parameters is UNSET else tensor.parameters["columns"]
        cells = (tensor.name, tensor.datatype, str(list(tensor.shape)), ", ".join(columns))
        rows.append([html.escape(cell) for cell in cells])
    return _table(("Name", "Datatype", "Shape", "Columns"), rows)


def _example(path: str, body: object) -> str:
    text = json.dumps(body, ensure_ascii=False).replace("'", "\\u0027")
    command = f"curl -H 'content-type: application/json' http://HOST:8080{path} \\\n  -d '{text}'"
    return f"<pre><code>{html.escape(command)}</code></pre>"


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
