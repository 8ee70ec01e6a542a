"""What is done to either system, and what must be true then."""

import json
import re
import threading
import time

from phones import Phone, Talk
from suite import Failed

LINES = """\
# two phones and a number for the test
ext.101        = random
ext.101.digest = md5
ext.102        = random
ext.102.digest = md5
echo           = 114
media-ports    = 40000-40063
"""
# And one that otherwise only root may take.
LOW_PORT = "listen = udp:5060 tcp:5060\nlisten.low = udp:60\n"
FORWARD = [5060, *range(40000, 40064)]
FILES = ("find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache "
         "-o -path /var/tmp -o -path /var/lib/systemd -o -path /var/lib/cloud -o -path /root/test \\) -prune -o -print | "
         "grep -v -e '-$' -e '/etc/.*\\.cache$' | sort; cat /etc/passwd /etc/group; ls -A /etc/runlevels/default 2>/dev/null; true")


class Server:
    """A guest on which denwa is installed from folders that are served here."""

    def __init__(self, suite, vm, releases, port, gateway="10.0.2.2"):
        self.suite, self.vm, self.releases, self.port, self.gateway = suite, vm, releases, port, gateway
        self.passwords = {}

    def url(self, release="good"):
        return f"http://{self.gateway}:{self.port}/{release}"

    def bring(self, release="good", lines=LINES + LOW_PORT):
        """Puts the script and the lines of a configuration there."""
        self.vm.put(self.releases.folder / release / "install.sh", f"/root/test/{release}.sh:755")
        file = self.vm.work / "lines"
        file.write_text(lines)
        self.vm.put(file, "/root/test/lines:600")

    def install(self, release="good", words="--with /root/test/lines", before="", timeout=300):
        return self.vm.run(f"{before}sh /root/test/{release}.sh --url {self.url(release)} {words}", timeout)

    def fails(self, name, *words, release="good", before="", after="", options="--with /root/test/lines", timeout=300):
        """An installation that must fail with these words, and leave the system as it was."""
        with self.suite.check(name) as check:
            files = self.vm.say(FILES)
            start = time.monotonic()
            status, said = self.install(release, options, before, timeout)
            took = time.monotonic() - start
            if after:
                self.vm.say(after)
            check.that(status == 1, f"exit status {status}: {said}")
            check.says(said, *words)
            check.that(self.vm.say(FILES) == files, "it left something behind: " + differences(files, self.vm.say(FILES)))
            reason = next(line for line in said.splitlines() if words[0] in line)
            check.figure = f"{took:.1f} s, \"{reason.removeprefix('denwa: ')[:140]}\""

    def status(self):
        return json.loads(self.vm.say("denwa status --json"))

    def advertises(self, address):
        """Waits until it says of itself that it is to be found at this one; all that it says."""
        until = time.monotonic() + 30
        while address not in (said := self.status()["advertise"]):
            if time.monotonic() > until:
                raise Failed(f"advertised: {said}")
            time.sleep(1)
        return said

    def learn_passwords(self):
        text = self.vm.say("cat /root/denwa-phones.txt")
        self.passwords = dict(re.findall(r"user +(\d+)\s+password +(\S+)", text))

    def phone(self, number):
        return Phone(self.vm.ports, number, self.passwords[number])

    def talk(self, calls, seconds, meanwhile=None):
        """Two phones with so many calls at once, in which both ends speak; returns the Talk and the packets sent."""
        caller, called = self.phone("101"), self.phone("102")
        try:
            for phone in (caller, called):
                phone.register()
            made = [caller.call("102") for _ in range(calls)]
            pairs = [(call.media, called.legs.get(timeout=5)) for call in made]
            talk = Talk(pairs)
            start = time.monotonic()
            if meanwhile:
                meanwhile()
            time.sleep(max(0.0, seconds - (time.monotonic() - start)))
            sent, _ = talk.stop()
            for call in made:
                call.hang_up()
            return talk, sent
        finally:
            caller.close()
            called.close()

    def first_answer_after(self, command):
        """How long it takes to the first answer by SIP, from the start of a command and from that of the program."""
        phone = self.phone("101")
        worker = threading.Thread(target=self.vm.run, args=(command,))
        try:
            start = time.monotonic()
            worker.start()
            while not phone.is_answered(0.12):
                if time.monotonic() - start > 30:
                    raise Failed(f"no answer within 30 s after {command}")
            answered = time.monotonic()
        finally:
            worker.join()
            phone.close()
        # Two clocks, that of the guest and ours: what asking takes is halved.
        keeper = self.status()["keeper_pid"]
        before = time.monotonic()
        uptime, ticks = self.vm.say(f"cut -d' ' -f1 /proc/uptime; cut -d' ' -f22 /proc/{keeper}/stat").split()
        age = float(uptime) - int(ticks) / 100
        return answered - start, answered - ((before + time.monotonic()) / 2 - age)

    def available(self):
        """Memory that the guest has left, in MB."""
        return int(self.vm.say("sync; echo 3 >/proc/sys/vm/drop_caches; sleep 2; awk '/MemAvailable/ { print $2 }' /proc/meminfo")) / 1024


def differences(before, after):
    before, after = set(before.splitlines()), set(after.splitlines())
    return ", ".join([f"+{line}" for line in sorted(after - before)] + [f"-{line}" for line in sorted(before - after)])


# What holds on both systems; `how` are the words of the service manager.

def installation(server):
    """On a server that has nothing of it."""
    with server.suite.check("from the script's start to what to type into phones, download included") as check:
        start = time.monotonic()
        status, said = server.install()
        check.that(status == 0, said)
        took = time.monotonic() - start
        check.figure = f"{took:.1f} s"
        check.says(said, "user       101", "password", "/root/denwa-phones.txt", "extensions")


def it_works(server, how):
    """Service, files, calls, upgrades, deaths; denwa is installed."""
    suite, vm = server.suite, server.vm
    with suite.check("the settings are in a file of root's alone, and a login names it") as check:
        check.that(vm.say("stat -c %a:%U /root/denwa-phones.txt") == "600:root", "wrong rights")
        server.learn_passwords()
        check.that(sorted(server.passwords) == ["101", "102"], f"not both extensions: {server.passwords}")
        check.says(vm.say("sh -i -c '. /etc/profile' </dev/null 2>&1"), "/root/denwa-phones.txt")
        check.says(vm.say("tail -n 1 /root/denwa-phones.txt"), "denwa settings")
        check.that(vm.say("stat -c %a:%U:%G /etc/denwa/denwa.conf") == "640:root:denwa", "wrong rights of the configuration")
        readable = vm.run("su -s /bin/sh nobody -c 'cat /etc/denwa/denwa.conf /root/denwa-phones.txt'")[1]
        check.that(not any(password in readable for password in server.passwords.values()), "anybody can read it")
    with suite.check("it runs as denwa in the whole sandbox, and starts at the next boot") as check:
        status = server.status()
        check.that(status["sandbox_complete"], f"not complete: {status['sandbox']}")
        check.says(status["sandbox"], "user denwa")
        check.says(vm.say("cat /proc/net/udp /proc/net/udp6"), f":{60:04X} ")
        owners = vm.say(f"stat -c %U /proc/{status['keeper_pid']} /proc/{status['pid']}").split()
        check.that(owners == ["denwa", "denwa"] or owners == ["denwa", "root"], f"they are {owners}")
        uid = vm.say(f"awk '/^Uid/ {{ print $2, $3 }}' /proc/{status['pid']}/status; id -u denwa").split()
        check.that(len(set(uid)) == 1, f"users {uid}")
        check.says(vm.say(how["enabled"]), how["is_enabled"])
        check.figure = status["sandbox"]
    with suite.check("from the start of the service to the first answer by SIP") as check:
        vm.say(how["stop"])
        whole, own = server.first_answer_after(how["start"])
        check.figure = f"{own:.2f} s from the start of the program, {whole:.2f} s from that of '{how['start']}'"
    with suite.check("10 calls at once between two phones outside") as check:
        talk, sent = server.talk(10, 10)
        check.that(sent > 9000, f"only {sent} packets were sent: this machine is too busy")
        check.that(talk.lost() == 0, f"{talk.lost()} of {sent} packets were lost")
        check.figure = f"{sent} packets, none lost"
    with suite.check("the echo test answers") as check:
        phone = server.phone("101")
        try:
            phone.register()
            call = phone.call("114")
            talk = Talk([(call.media, call.media)])
            time.sleep(2)
            talk.stop()
            call.hang_up()
            check.that(len(call.media.heard) > 80, f"{len(call.media.heard)} packets came back of {call.media.sent}")
            check.figure = f"{len(call.media.heard)} of {call.media.sent} packets came back"
        finally:
            phone.close()
    upgrades(server, how)
    deaths(server, how)


def upgrades(server, how):
    suite, vm = server.suite, server.vm
    with suite.check("an upgrade during a call: another program, the same keeper, no packet lost") as check:
        server.bring("newer")
        before, said = server.status(), []
        talk, sent = server.talk(2, 8, lambda: said.append(server.install("newer")))
        after = server.status()
        check.that(said[0][0] == 0, said[0][1])
        check.says(said[0][1], "is kept")
        program = vm.say(f"sha256sum /proc/{after['pid']}/exe /usr/local/bin/denwa").split()
        check.that(program[0] == program[2] and before["pid"] != after["pid"], "the old program still serves")
        check.that(before["keeper_pid"] == after["keeper_pid"], "another keeper")
        check.that(talk.lost() == 0, f"{talk.lost()} of {sent} packets were lost")
        check.figure = f"{sent} packets, none lost, longest silence {talk.longest_silence() * 1000:.0f} ms"
    with suite.check("the same version again changes nothing") as check:
        before, files = server.status(), vm.say(FILES)
        status, said = server.install("newer")
        check.that(status == 0, said)
        check.says(said, "installed already")
        check.that(vm.say(FILES) == files, "files: " + differences(files, vm.say(FILES)))
        check.that(server.status()["pid"] == before["pid"], "another process serves")
    for name, release, before, after, words in (
        ("a program that dies is not kept", "dies", "", "", ("did not take over",)),
        ("a damaged program is not kept", "wrong", "", "", ("has the checksum",)),
        ("an upgrade with a wrong line in the configuration leaves the exchange that runs alone", "good",
         "echo 'ecko = 114' >>/etc/denwa/denwa.conf; ", "sed -i /ecko/d /etc/denwa/denwa.conf", ("left alone", "ecko", "line")),
    ):
        with suite.check(name) as check:
            server.bring(release)
            old, sum_of = server.status(), vm.say("sha256sum /usr/local/bin/denwa /etc/denwa/denwa.conf")
            status, said = server.install(release, before=before)
            if after:
                vm.say(after)
            check.that(status == 1, said)
            check.says(said, *words)
            new = server.status()
            check.that((new["pid"], new["keeper_pid"]) == (old["pid"], old["keeper_pid"]), "another process serves")
            check.that(vm.say("sha256sum /usr/local/bin/denwa /etc/denwa/denwa.conf") == sum_of, "files have changed")
            left = vm.say("ls -A /usr/local/bin /etc/denwa | grep -e new -e before; ls /run | grep denwa-install; true")
            check.that(not left, f"left behind: {left}")
    with suite.check("two runs at once: one does it, the other says so") as check:
        server.bring("good")
        one = f"sh /root/test/good.sh --url {server.url()}"
        said = vm.say(f"cd /root/test; {one} >a 2>&1 & p=$!; {one} >b 2>&1; s=$?; wait $p; echo $? $s; cat a b")
        check.that(sorted(said.split("\n")[0].split()) == ["0", "1"], said)
        check.says(said, "another run of this script is under way")
    with suite.check("reload by the service manager") as check:
        vm.say(f"sed -i 's/^echo .*/echo = 115/' /etc/denwa/denwa.conf; {how['reload']}")
        phone = server.phone("101")
        try:
            phone.register()
            phone.call("115").hang_up()
        finally:
            phone.close()
        vm.say(f"sed -i 's/^echo .*/echo = 114/' /etc/denwa/denwa.conf; {how['reload']}")
    with suite.check("reload of a file with a mistake fails and shows the line, and the exchange goes on as it was") as check:
        old = server.status()
        line = vm.say("cp -p /etc/denwa/denwa.conf /root/test/before; echo 'ecko = 114' >>/etc/denwa/denwa.conf; "
                      "wc -l </etc/denwa/denwa.conf")
        try:
            status, said = vm.run(how["reload"])
            said += vm.say(how["why"])
        finally:
            vm.say("mv /root/test/before /etc/denwa/denwa.conf")
        check.that(status != 0, f"it is as if all were well: {said}")
        check.says(said, f"/etc/denwa/denwa.conf:{line}", "ecko")
        new = server.status()
        check.that((new["pid"], new["keeper_pid"]) == (old["pid"], old["keeper_pid"]), "another process serves")
        vm.say(how["reload"])


def deaths(server, how):
    suite, vm = server.suite, server.vm
    with suite.check("kill -9 of the exchange during a call: the call goes on") as check:
        talk, sent = server.talk(1, 6, lambda: (time.sleep(2), vm.say(f"kill -9 {server.status()['pid']}")))
        check.that(talk.longest_silence() < 1, f"silence of {talk.longest_silence():.1f} s")
        check.figure = f"{talk.lost()} of {sent} packets lost, longest silence {talk.longest_silence() * 1000:.0f} ms"
    with suite.check("kill -9 of the keeper: the service manager starts it again, and the call goes on") as check:
        talk, sent = server.talk(1, 10, lambda: (time.sleep(2), vm.say(f"kill -9 {server.status()['keeper_pid']}")))
        check.that(talk.longest_silence() < 7, f"silence of {talk.longest_silence():.1f} s")
        check.figure = f"longest silence {talk.longest_silence() * 1000:.0f} ms"


def reboots(server):
    """Registrations outlast a boot, and so do those after the plug was pulled."""
    suite, vm = server.suite, server.vm
    for name, end in (("a reboot", vm.reboot), ("the plug is pulled and put in again", vm.pull_plug)):
        with suite.check(f"{name}: it runs again, and phones that were registered can be called") as check:
            caller, called = server.phone("101"), server.phone("102")
            try:
                caller.register()
                called.register()
                # `sync = 1s` is what a power cut may take.
                time.sleep(3)
                start = time.monotonic()
                end()
                vm.say("until denwa status >/dev/null 2>&1; do sleep 1; done", 240)
                caller.call("102").hang_up()
                check.figure = f"called {time.monotonic() - start:.0f} s later, emulated"
            finally:
                caller.close()
                called.close()


def removal(server, how, files):
    suite, vm = server.suite, server.vm
    with suite.check("--uninstall leaves the configuration and the state, and nothing else") as check:
        conf = vm.say("cat /etc/denwa/denwa.conf")
        server.learn_passwords()
        for number in server.passwords:
            phone = server.phone(number)
            try:
                phone.register()
            finally:
                phone.close()
        check.says(vm.say("sh /root/test/good.sh --uninstall"), "/etc/denwa")
        left = differences(files, vm.say(FILES))
        paths = set(left.split(", "))
        check.that(all(path.startswith(("+/etc/denwa", "+/var/lib/denwa")) for path in paths), f"left: {left}")
        check.that(vm.say("cat /etc/denwa/denwa.conf; stat -c %U /var/lib/denwa") == conf + "\nroot", "it is not as it was")
        check.that(vm.run("ps -ef | grep -v grep | grep -q denwa")[0] == 1, "something still runs")
    with suite.check("installed again: the configuration and the registrations are there") as check:
        status, said = server.install()
        check.that(status == 0, said)
        check.that(vm.say("cat /etc/denwa/denwa.conf") == conf, "another configuration")
        check.that(server.status()["registered"] == 2, f"registered: {server.status()['registered']}")
    with suite.check("--uninstall --purge leaves nothing") as check:
        vm.say("sh /root/test/good.sh --uninstall --purge")
        left = differences(files, vm.say(FILES))
        check.that(not left, f"left: {left}")
    with suite.check("--uninstall where there is nothing says so") as check:
        status, said = vm.run("sh /root/test/good.sh --uninstall")
        check.that(status == 1, said)
        check.says(said, "there is no denwa here")
