"""Debian's packages for a guest, which reaches no mirror: what it lacks is fetched here, and kept for the next time."""

import subprocess

from vm import PROJECT

FOLDER = PROJECT / "target" / "appliance-packages"
CACHE = FOLDER / "cache"


class Packages:
    """An apt of its own, which believes that it is in the guest."""

    def __init__(self, vm):
        self.vm = vm
        for folder in ("lists/partial", "cache/archives/partial"):
            (FOLDER / folder).mkdir(parents=True, exist_ok=True)
        (FOLDER / "sources.list").write_text(vm.say("cat /etc/apt/sources.list") + "\n")
        (FOLDER / "status").write_text(vm.say("cat /var/lib/dpkg/status") + "\n\n")
        self._apt("update")

    def _apt(self, *words, cache=CACHE):
        places = {"Etc::SourceList": FOLDER / "sources.list", "Etc::SourceParts": "/nowhere", "State": FOLDER,
                  "State::Status": FOLDER / "status", "State::Lists": FOLDER / "lists", "Cache": cache}
        options = ["-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64"]
        for key, place in places.items():
            options += ["-o", f"Dir::{key}={place}"]
        done = subprocess.run(["apt-get", "-qq", *options, *words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"apt-get {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def install(self, *names):
        """These and what they need, as far as it was not in the guest when this was made."""
        words = ["-y", "--no-install-recommends", "install", *names]
        self._apt("--download-only", *words)
        # Only what is not there yet is listed, so it is asked for with nothing there.
        files = [line.split()[1] for line in self._apt("--print-uris", *words, cache=FOLDER / "nothing").splitlines()]
        for file in files:
            self.vm.put(CACHE / "archives" / file, f"/root/test/packages/{file}:644")
        self.vm.say("cd /root/test/packages && DEBIAN_FRONTEND=noninteractive dpkg -i *.deb >/tmp/dpkg.log 2>&1 || "
                    "{ tail /tmp/dpkg.log; exit 1; }; rm *.deb", 600)
