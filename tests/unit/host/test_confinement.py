from __future__ import annotations

from hiod.host.confinement import mounts_of
from hiod.rules.sandbox import Mount

MOUNTINFO = """\
185 98 0:41 / / ro,nosuid,relatime shared:18 master:1 - overlay overlay rw,lowerdir=/,uuid=on
195 185 0:48 /systemd/inaccessible/dir /home ro,nosuid - tmpfs tmpfs rw,size=4936820k,mode=755
196 185 254:3 /a\\040b /mnt/a\\040b ro,relatime shared:49 - iso9660 /dev/sr0 ro,check=s
"""


def test_a_mount_is_narrowed_if_its_file_system_could_be_written_to() -> None:
    assert mounts_of(MOUNTINFO) == (
        Mount("/", "/", "overlay", narrowed=True),
        Mount("/home", "/systemd/inaccessible/dir", "tmpfs", narrowed=True),
        Mount("/mnt/a b", "/a b", "iso9660", narrowed=False),
    )
