"""What a download server may hold: target/dist as it is, and others made from it."""

import hashlib
import pathlib
import re
import shutil

from vm import PROJECT

DIST = PROJECT / "target" / "dist"


class Releases:
    """Folders below one that is served; each is what `--url` leads to."""

    def __init__(self, folder, arch):
        self.folder, self.name = pathlib.Path(folder), f"denwa-{arch}"
        program = (DIST / self.name).read_bytes()
        self._release("good", program)
        # An octet behind the end of a program changes nothing but its sum: a version of its own.
        self._release("newer", program + b"\n")
        self._release("dies", b"#!/bin/sh\nexit 0\n")
        wrong = bytearray(program)
        wrong[len(wrong) // 2] ^= 1
        self._release("wrong", bytes(wrong), program)
        self._release("short", program[: len(program) // 3], program)

    def _release(self, name, program, promised=None):
        """A folder with `program`, and an install.sh that has the sum of `promised`."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        (folder / self.name).write_bytes(program)
        sum_of = hashlib.sha256(promised or program).hexdigest()
        script = (DIST / "install.sh").read_text()
        arch = self.name.removeprefix("denwa-")
        script, changed = re.subn(f"^sum_{arch}='[0-9a-f]*'$", f"sum_{arch}='{sum_of}'", script, flags=re.M)
        assert changed == 1, "install.sh has no line for the sum"
        (folder / "install.sh").write_text(script)
        shutil.copymode(DIST / "install.sh", folder / "install.sh")
