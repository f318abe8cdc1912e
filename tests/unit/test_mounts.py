"""Mounts: what mountinfo says."""

from pathlib import Path

from pawtag import mounts

LINES = """22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/\u5199\u771f\u3000a rw,relatime shared:1 - nfs4 nas:/photos rw
31 22 0:41 / /mnt/with\\040space rw - fuse.rclone remote: rw
32 22 0:42 / /mnt/odd\u2028name rw - ext4 /dev/sdb1 rw
a line that is none
33 22 8:2 / /mnt/over rw - ext4 /dev/sdc1 rw
34 33 0:43 / /mnt/over rw - cifs //nas/share rw
"""


def test_the_mount_of_a_path_is_the_nearest_and_the_last(tmp_path, monkeypatch):
    """Whatever characters its point has; a line that is none is passed over."""
    (tmp_path / "mountinfo").write_text(LINES, "utf-8")
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    paths = ("/", "/mnt/\u5199\u771f\u3000a/x", "/mnt/with space/y", "/mnt/over/z")
    assert [mounts.find_mount(Path(path)).kind for path in paths] == ["ext4", "nfs4", "fuse.rclone", "cifs"]
    below = mounts.list_mounts_below(Path("/mnt"))
    assert [mount.kind for mount in below] == ["ext4", "cifs", "fuse.rclone", "nfs4"]
    assert mounts.is_on_network(Path("/mnt/over/z"))


def test_without_mountinfo_nothing_is_known(tmp_path, monkeypatch):
    """On other systems than Linux."""
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert mounts.find_mount(tmp_path) is None
    assert mounts.list_mounts_below(tmp_path) == ()
