"""The firewalls that a Debian may have, each of them closed and with rules of an owner: what is opened there lets a
phone outside in, outlasts a boot, and is all that is taken back."""

import dataclasses
import socket

from packages import Packages
from steps import FILES, FORWARD, LINES, Server, differences
from vm import OLDEST, Vm

HOLES = "tcp 5060, udp 5060, udp 40000-40063"

# Somebody who answers at the port before denwa does, so that a wall is one, and not merely silence.
ECHO = ("systemd-run -q --unit echo python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5060))\n"
        "while True: s.sendto(*s.recvfrom(2048))\"; sleep 2")


@dataclasses.dataclass
class Firewall:
    name: str
    # What install.sh calls it.
    called: str
    # Shell: closes it, as an owner would who lets in SSH and keeps out somebody.
    close: str
    # Shell: tells of all rules and of the files that keep them.
    show: str
    # Shell: the same with what changes when a rule is made anew.
    show_exactly: str
    # Shell: how many holes are ours, IPv6 included.
    count: str
    holes: int
    # Shell: has its service read its files anew, with nothing left in the kernel; if it says nothing, a boot does that.
    again: str
    # Shell: takes it away again.
    end: str
    packages: tuple = ()
    before: str = ""


NFT_FILE = """\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
	chain input {
		type filter hook input priority filter; policy %s;
		ct state vmap { established : accept, related : accept, invalid : drop }
		iif "lo" accept
		ip saddr 198.51.100.9 drop
		icmpv6 type { nd-neighbor-solicit, nd-router-advert, nd-neighbor-advert } accept
		tcp dport { 22, 5060 } accept
%s	}
}
"""
COUNTERS = "sed -E 's/\\[[0-9]+:[0-9]+\\]//; s/counter packets [0-9]+ bytes [0-9]+/counter/; /^#/d'"
# What iptables-save says, and so what iptables-persistent keeps.
SAVED = """\
*filter
:INPUT %(policy)s [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -s %(banned)s -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 5060 -j ACCEPT
%(last)sCOMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
"""


def nftables(name, policy, last, again):
    show = "nft -s list ruleset; sha256sum /etc/nftables.conf"
    return Firewall(
        name, "nftables",
        close=f"cp -p /etc/nftables.conf /root/test/nftables.conf; cat >/etc/nftables.conf <<'END'\n{NFT_FILE % (policy, last)}END\n"
              "systemctl -q enable --now nftables",
        show=show, show_exactly=f"nft -a {show.removeprefix('nft ')}",
        count="nft list ruleset | grep -c denwa", holes=3, again=again,
        end="systemctl -q disable --now nftables 2>&1; cat /root/test/nftables.conf >/etc/nftables.conf; nft flush ruleset")


def iptables(name, kind, policy, last=("", "")):
    files = [SAVED % {"policy": policy, "banned": banned, "last": rule}
             for banned, rule in zip(("198.51.100.9/32", "2001:db8:bad::/48"), last)]
    show = (f"for t in iptables ip6tables; do $t-save -t filter | {COUNTERS}; done; sha256sum /etc/iptables/*; stat -c '%a %U %n' /etc/iptables/*")
    return Firewall(
        name, "iptables",
        close=f"for t in iptables ip6tables; do update-alternatives --quiet --set $t /usr/sbin/$t-{kind}; done; systemctl stop netfilter-persistent; "
              f"cat >/etc/iptables/rules.v4 <<'END'\n{files[0]}END\ncat >/etc/iptables/rules.v6 <<'END'\n{files[1]}END\n"
              "chmod 640 /etc/iptables/rules.*; systemctl restart netfilter-persistent",
        show=show, show_exactly=show + f"; nft -a list ruleset 2>&1 | {COUNTERS}",
        count="{ iptables -S; ip6tables -S; cat /etc/iptables/*; } | grep -c 'comment denwa'", holes=12,
        again="for t in iptables ip6tables; do $t -P INPUT ACCEPT; $t -F; done; systemctl restart netfilter-persistent",
        end="iptables -P INPUT ACCEPT; ip6tables -P INPUT ACCEPT; iptables -F; ip6tables -F; rm /etc/iptables/rules.*",
        packages=("iptables-persistent", "iptables"))


FIREWALLS = [
    Firewall(
        "firewalld", "firewalld", packages=("firewalld",),
        close="systemctl -q enable --now firewalld; firewall-cmd -q --permanent --add-port=5060/tcp; "
              "firewall-cmd -q --permanent --add-rich-rule='rule family=ipv4 source address=198.51.100.9 drop'; firewall-cmd -q --reload",
        show="firewall-cmd --list-all-zones; firewall-cmd --permanent --list-all-zones; find /etc/firewalld -name '*.xml' | xargs sha256sum",
        show_exactly=f"firewall-cmd --list-all-zones; nft -a list ruleset | {COUNTERS}; find /etc/firewalld -type f | xargs ls -l --full-time",
        count="{ firewall-cmd --list-rich-rules; firewall-cmd --permanent --list-rich-rules; } | grep -c 5060", holes=6,
        again="systemctl stop firewalld; nft flush ruleset; systemctl start firewalld; firewall-cmd --state",
        end="systemctl -q disable --now firewalld 2>&1; nft flush ruleset"),
    Firewall(
        "ufw", "ufw", packages=("ufw", "iptables"),
        close="ufw allow 22/tcp; ufw allow 5060/tcp comment mine; ufw insert 1 deny from 198.51.100.9; ufw --force enable",
        show=f"ufw status verbose; cat /etc/ufw/*.rules; ufw show added; iptables-save | {COUNTERS}; ip6tables-save | {COUNTERS}",
        show_exactly=f"ls -l --full-time /etc/ufw; nft -a list ruleset 2>&1 | {COUNTERS}",
        # One that the owner has is not made again.
        count="{ iptables -S ufw-user-input; ip6tables -S ufw6-user-input; } | grep -c -e '-p udp .*ACCEPT'", holes=4,
        again="systemctl stop ufw; nft flush ruleset; systemctl start ufw",
        end="ufw --force disable; dpkg -P ufw", before="LANGUAGE=ja "),
    iptables("iptables, closed by policy", "nft", "DROP"),
    iptables("iptables (legacy), closed by a last rule", "legacy", "ACCEPT",
             ("-A INPUT -j REJECT --reject-with icmp-host-prohibited\n", "-A INPUT -j REJECT --reject-with icmp6-adm-prohibited\n")),
    nftables("nftables, closed by a last rule", "accept", "\t\tcounter reject with icmpx admin-prohibited\n",
             again="nft flush ruleset; systemctl restart nftables"),
    nftables("nftables, closed by policy", "drop", "", again=""),
]


def run(suite, releases, arch, work, port, tools):
    suite.where = "debian, firewalls"
    vm = Vm(work / "firewalls", arch, "debian", FORWARD)
    vm.start("--cpu", OLDEST[arch])
    try:
        # It has done its work, and Debian's firewalld does not go with it.
        vm.say("dpkg -r cloud-init")
        server = Server(suite, vm, releases, port)
        packages = Packages(vm)
        server.bring(lines=LINES)
        with suite.check("without a firewall the port can be reached, and nothing is said of one") as check:
            check.that(echoes(server), "it cannot")
            status, said = server.install()
            check.that(status == 0, said)
            check.that("firewall" not in said and "let in" not in said, said)
            vm.say("sh /root/test/good.sh --uninstall --purge")
        for firewall in FIREWALLS:
            one(server, firewall, packages)
        by_hand(server)
    finally:
        vm.stop()


def echoes(server):
    """Whether a datagram to the port of SIP comes back."""
    server.vm.say(ECHO)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.settimeout(2)
            for _ in range(3):
                phone.sendto(b"echo", ("127.0.0.1", server.vm.ports[5060]))
                try:
                    return phone.recv(100) == b"echo"
                except TimeoutError:
                    continue
        return False
    finally:
        server.vm.say("systemctl stop echo")


def call(server, check):
    """A firewall lets sound in or not; that none of it is lost is shown elsewhere, on a machine that has just this to do."""
    talk, sent = server.talk(1, 2)
    for leg in talk.legs:
        check.that(len(leg.heard) > sent / 4, f"one end heard {len(leg.heard)} packets of {sent // 2}")
    return f"a call, {sent - talk.lost()} of {sent} packets heard"


def one(server, firewall, packages):
    suite, vm = server.suite, server.vm
    if firewall.packages:
        packages.install(*firewall.packages)
    vm.say(firewall.close)
    rules, files = vm.say(firewall.show), vm.say(FILES)
    with suite.check(f"{firewall.name}: closed, then opened, and a phone outside can call") as check:
        check.that(not echoes(server), "it lets in whoever comes before anything is opened")
        status, said = server.install(before=firewall.before)
        check.that(status == 0, said)
        check.says(said, f"the firewall of this server ({firewall.called}) is open for {HOLES}")
        check.that("let in" not in said, said)
        server.learn_passwords()
        check.figure = call(server, check)
        check.that(int(vm.say(firewall.count)) == firewall.holes, vm.say(firewall.show))
    with suite.check(f"{firewall.name}: a second run changes nothing") as check:
        opened, exactly = vm.say(firewall.show), vm.say(firewall.show_exactly)
        status, said = server.install(before=firewall.before)
        check.that(status == 0, said)
        check.that(vm.say(firewall.show_exactly) == exactly, differences(exactly, vm.say(firewall.show_exactly)))
    with suite.check(f"{firewall.name}: the same {'when its service has started again' if firewall.again else 'after a boot'}") as check:
        if firewall.again:
            vm.say(firewall.again)
        else:
            vm.reboot()
            vm.say("until denwa status >/dev/null 2>&1; do sleep 1; done", 300)
        # In which order firewalld tells of rules, it says anew each time.
        changed = differences(opened, vm.say(firewall.show))
        check.that(not changed, changed)
        check.figure = call(server, check)
    with suite.check(f"{firewall.name}: other ports in the configuration: the new ones are open, the old ones are not") as check:
        vm.say("sed -i 's/40000-40063/40000-40031/' /etc/denwa/denwa.conf")
        status, said = server.install(before=firewall.before)
        check.that(status == 0, said)
        now = vm.say(firewall.show)
        check.that("40031" in now and "40063" not in now, now)
        check.that(int(vm.say(firewall.count)) == firewall.holes, now)
    with suite.check(f"{firewall.name}: --uninstall takes back just that") as check:
        said = vm.say("sh /root/test/good.sh --uninstall --purge")
        check.that("note" not in said, said)
        check.that(vm.say(firewall.show) == rules, differences(rules, vm.say(firewall.show)))
        check.that(vm.say(FILES) == files, differences(files, vm.say(FILES)))
        check.that(not echoes(server), "it still lets in whoever comes")
    vm.say(firewall.end)


def by_hand(server):
    suite, vm = server.suite, server.vm
    with suite.check("rules made by hand, of iptables and nftables at once: opened, with a note that a boot forgets them") as check:
        vm.say("for t in iptables ip6tables; do update-alternatives --quiet --set $t /usr/sbin/$t-nft; done; iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT; "
               "iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; "
               "nft add table ip mine; nft 'add chain ip mine in { type filter hook input priority 10; policy drop; }'; nft add rule ip mine in iif lo accept; nft add rule ip mine in ct state established,related accept")
        rules = vm.say(f"nft -s list ruleset 2>&1 | {COUNTERS}")
        check.that(not echoes(server), "it lets in whoever comes before anything is opened")
        status, said = server.install()
        check.that(status == 0, said)
        check.says(said, f"(iptables, nftables) is open for {HOLES}", f"note: at the next boot iptables and nftables will have forgotten that; where its rules come from, let in: {HOLES}")
        server.learn_passwords()
        check.figure = call(server, check)
        vm.say("sh /root/test/good.sh --uninstall --purge")
        now = vm.say(f"nft -s list ruleset 2>&1 | {COUNTERS}")
        check.that(now == rules, differences(rules, now))
