"""Checks, one line each: `ok` or `FAIL`, what was proved, and a figure where there is one."""

import contextlib
import time
import traceback


# How much is told of one check, in characters.
MOST = 1500


class Failed(Exception):
    """Why a check failed, for people."""


class Suite:
    def __init__(self):
        self.passed, self.failed, self.where = 0, 0, ""

    @contextlib.contextmanager
    def check(self, name):
        """Runs what stands below it; whatever it raises makes it fail, and the next check is tried all the same."""
        found = Check()
        start = time.monotonic()
        try:
            yield found
        except Exception as why:  # noqa: BLE001: a check may fail in any way
            self.failed += 1
            self._line("FAIL", name, str(why) if isinstance(why, Failed) else repr(why))
            if not isinstance(why, Failed):
                where = traceback.extract_tb(why.__traceback__)
                print("".join(traceback.format_list(where[1:])), end="", flush=True)
        else:
            self.passed += 1
            self._line("ok  ", name, found.figure or f"({time.monotonic() - start:.1f} s)")

    def _line(self, word, name, rest):
        rest = rest if len(rest) <= MOST else f"{rest[:MOST]} …"
        print(f"{word} {self.where}: {name}: {rest}", flush=True)

    def report(self):
        print(f"{self.passed} passed, {self.failed} failed")


class Check:
    figure = ""

    def that(self, holds, otherwise):
        if not holds:
            raise Failed(otherwise)

    def says(self, text, *words):
        for word in words:
            self.that(word in text, f"{word!r} is not in:\n{text}")
