"""The image of the container that holds a Pod's namespaces open, made without a builder and without a registry.

Debian's `catatonit` is one static program with a pause mode, so the whole image is that one file.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from hack.cluster.catalog import architecture

REPOSITORY = "localhost/trimtab-pause"


def reference(program: Path) -> str:
    """Return the image's name; its tag is the digest of the program, so an updated program is another image."""
    return f"{REPOSITORY}:{hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"


def archive(program: Path, target: Path) -> None:
    """Write the image as a `docker save` archive that containerd imports."""
    layer = _tar({"pause": program.read_bytes()}, mode=0o755)
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause", "-P"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference(program)], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer,
        "manifest.json": json.dumps(manifest).encode(),
    }
    target.write_bytes(_tar(files, mode=0o644))


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
