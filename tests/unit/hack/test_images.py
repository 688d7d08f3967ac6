"""An image's name is its content: same content, same name; other content, other name."""

import os
import re
from pathlib import Path

import pytest

from hack import ROOT
from hack.command import Failure
from hack.images import IMAGES, helm_arguments, select
from hack.images.catalog import Image, reference, stage
from trimtab import __version__

IMAGE = Image("trimtab-server", "servingImage", "Containerfile", "server", "requirements.txt", ("src",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "Containerfile").write_text("FROM scratch")
    (tmp_path / "requirements.txt").write_text("numpy")
    (tmp_path / "src" / "a.py").write_text("a")
    (tmp_path / "src" / "sub" / "b.py").write_text("b")
    (tmp_path / "unrelated.py").write_text("x")
    return tmp_path


@pytest.mark.parametrize("path", ["Containerfile", "requirements.txt", "src/sub/b.py"])
def test_every_input_counts(root: Path, path: str) -> None:
    before = reference(IMAGE, "base", root)
    (root / path).write_text("changed")
    assert reference(IMAGE, "base", root) != before


def test_a_new_name_for_a_source_file_and_another_base_count(root: Path) -> None:
    before = reference(IMAGE, "base", root)
    assert reference(IMAGE, "other-base", root) != before
    (root / "src" / "a.py").rename(root / "src" / "c.py")
    assert reference(IMAGE, "base", root) != before


def test_times_bytecode_and_files_elsewhere_do_not_count(root: Path) -> None:
    before = reference(IMAGE, "base", root)
    os.utime(root / "src" / "a.py", (1, 1))
    (root / "src" / "__pycache__").mkdir()
    (root / "src" / "__pycache__" / "a.pyc").write_text("bytecode")
    (root / "unrelated.py").write_text("y")
    assert reference(IMAGE, "base", root) == before


def test_the_build_context_is_the_inputs_and_gives_the_same_name(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    context = tmp_path_factory.mktemp("context")
    stage(IMAGE, context, root)
    files = sorted(str(path.relative_to(context)) for path in context.rglob("*") if path.is_file())
    assert files == ["Containerfile", "requirements.txt", "src/a.py", "src/sub/b.py"]
    assert reference(IMAGE, "base", context) == reference(IMAGE, "base", root)


def test_a_missing_input_is_named(root: Path) -> None:
    (root / "requirements.txt").unlink()
    with pytest.raises(Failure, match=r"trimtab-server needs .*requirements\.txt"):
        reference(IMAGE, "base", root)


def test_images_are_chosen_with_and_without_their_prefix() -> None:
    assert [image.name for image in select(("server", "trimtab-operator"))] == ["trimtab-server", "trimtab-operator"]
    with pytest.raises(Failure, match=r"no image 'proxy'.*trimtab-toolbox"):
        select(("proxy",))


def test_the_chart_is_told_repository_and_tag() -> None:
    assert helm_arguments({"trimtab-operator": "localhost/trimtab-operator:abc"}) == [
        *("--set-string", "image.repository=localhost/trimtab-operator"),
        *("--set-string", "image.tag=abc"),
    ]


def test_the_charts_page_shows_how_each_image_is_built() -> None:
    page = (ROOT / "charts/trimtab/README.md").read_text()
    shown = re.findall(r"docker build --file (\S+)(?: --target (\S+))? --tag \$registry/(\S+):(\S+) \.\n", page)
    assert shown == [(image.containerfile, image.target, name, __version__) for name, image in IMAGES.items()]
    (pushed,) = re.findall(r"for name in ([\w ]+); do docker push", page)
    assert [f"trimtab-{name}" for name in pushed.split()] == list(IMAGES)
