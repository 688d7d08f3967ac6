"""Which mounts go, and in which order; what is deleted only as a whole."""

from pathlib import Path

from hack.cluster.teardown import mounts_below, remove_folder

MOUNTINFO = r"""
21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:30 / /c/cluster/kubelet rw shared:1 - tmpfs tmpfs rw
31 30 0:31 / /c/cluster/kubelet/pods/a\040b rw - tmpfs tmpfs rw
32 21 0:32 / /c/cluster-of-another rw - tmpfs tmpfs rw
33 21 0:33 / /c/cluster rw - tmpfs tmpfs rw
"""


def test_inner_mounts_come_before_outer_ones_and_neighbours_stay() -> None:
    expected = ["/c/cluster", "/c/cluster/kubelet/pods/a b", "/c/cluster/kubelet"]
    assert mounts_below(Path("/c/cluster"), MOUNTINFO) == expected


def test_a_removal_that_was_cut_short_is_finished_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "cluster.trash-1"
    (left / "etcd").mkdir(parents=True)
    (tmp_path / "cluster" / "pki").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    remove_folder(tmp_path / "cluster")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]
