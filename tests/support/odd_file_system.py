"""A FUSE file system that shows a folder, with one oddity: `python odd_file_system.py BACKING POINT [ODDITY[=VALUE]]`.

`fsync=ERRNO` refuses to flush, `nolink` refuses hard links, `size0` reports a size of 0 for pictures, `name_max=N`
refuses longer names.
"""

import errno
import os
import sys

import mfusepy as fuse

STATUS = ("st_atime", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")
SPACE = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_flag", "f_frsize")


class OddFileSystem(fuse.Operations):
    """Everything else goes to the folder behind it."""

    def __init__(self, backing: str, oddities: dict[str, str]) -> None:
        self.backing, self.oddities = backing, oddities

    def _place(self, path: str) -> str:
        longest = int(self.oddities.get("name_max", 255))
        if any(len(os.fsencode(part)) > longest for part in path.split("/")):
            raise fuse.FuseOSError(errno.ENAMETOOLONG)
        return self.backing + path

    def getattr(self, path, fh=None):
        try:
            status = os.lstat(self._place(path))
        except OSError as error:
            raise fuse.FuseOSError(error.errno) from error
        found = {name: getattr(status, name) for name in STATUS}
        if "size0" in self.oddities and path.endswith(".png"):
            found["st_size"] = 0
        return found

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self._place(path))]

    def statfs(self, path):
        found = os.statvfs(self._place(path))
        return {name: getattr(found, name) for name in SPACE} | {"f_namemax": int(self.oddities.get("name_max", 255))}

    def open(self, path, flags):
        try:
            return os.open(self._place(path), flags & ~os.O_NOFOLLOW)
        except OSError as error:
            raise fuse.FuseOSError(error.errno) from error

    def create(self, path, mode, fi=None):
        return os.open(self._place(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self._place(path), length)

    def release(self, path, fh):
        os.close(fh)
        return 0

    def fsync(self, path, datasync, fh):
        if "fsync" in self.oddities:
            raise fuse.FuseOSError(int(self.oddities["fsync"]))
        os.fsync(fh)
        return 0

    def unlink(self, path):
        os.unlink(self._place(path))

    def rename(self, old, new):
        os.rename(self._place(old), self._place(new))

    def link(self, target, source):
        if "nolink" in self.oddities:
            raise fuse.FuseOSError(errno.ENOTSUP)
        os.link(self._place(source), self._place(target))


if __name__ == "__main__":
    backing, point, *given = sys.argv[1:]
    oddities = {each.partition("=")[0]: each.partition("=")[2] for each in given}
    options = {"direct_io": True} if "size0" in oddities else {}
    fuse.FUSE(OddFileSystem(backing, oddities), point, foreground=True, nothreads=False, **options)
