#!/bin/sh
# Installs denwa, a telephone exchange, as a service of this server, or brings one that is there up to date.
#
#   sh install.sh                   install; a second time: upgrade, while calls go on
#   sh install.sh --with FILE       the new configuration is these lines (ext.101 = random, ...)
#   sh install.sh --url URL         from where: http://, https://, file:// or a folder
#   sh install.sh --uninstall       remove it; your configuration and denwa's state stay
#   sh install.sh --uninstall --purge   remove them too
#
# For Alpine (OpenRC), Debian, Ubuntu and the RHEL family (systemd), x86_64 and aarch64. It installs no packages,
# and what it fetches has to have the checksum that stands below. If something fails, what it has begun is undone.
# DENWA_PATIENCE is for how many seconds it tries to fetch: 120 if not said.
set -eu

# What scripts/build-static fills in.
version='@version@'
url='@url@'
sum_x86_64='@sum_x86_64@'
sum_aarch64='@sum_aarch64@'

binary=/usr/local/bin/denwa
folder=/etc/denwa
config=$folder/denwa.conf
state=/var/lib/denwa
phones=/root/denwa-phones.txt
hint=/etc/profile.d/denwa.sh
patience=${DENWA_PATIENCE:-120}

openrc_service() {
    cat <<'END'
@image/denwa.openrc@
END
}

systemd_service() {
    cat <<'END'
@image/denwa.service@
END
}

# At a root's login; everybody else cannot read the file.
login_hint() {
    cat <<'END'
case $- in *i*) [ ! -r /root/denwa-phones.txt ] ||
    echo 'The telephone exchange: denwa status. What to type into phones: /root/denwa-phones.txt' ;; esac
END
}

main() {
    action=install with=
    while [ $# -gt 0 ]; do
        case $1 in
        --with) [ $# -ge 2 ] || usage; with=$2; shift ;;
        --url) [ $# -ge 2 ] || usage; url=${2%/}; shift ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        *) usage ;;
        esac
        shift
    done
    [ -z "${purge-}" ] || [ $action = uninstall ] || usage
    prepare
    $action
    finished=yes
}

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 2
}

say() { echo "denwa: $*"; }

fail() {
    echo "denwa: $*" >&2
    exit 1
}

# --- before anything is changed ---------------------------------------------------

prepare() {
    [ "$(id -u)" = 0 ] || fail "only root can install a service: try 'sudo sh $0'"
    [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); denwa runs on Linux"
    PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    umask 022
    # What other tools say is read below, whichever language the owner speaks.
    export LC_ALL=C LANGUAGE=
    if command -v rc-service >/dev/null && [ -d /run/openrc ]; then
        init=openrc service=/etc/init.d/denwa
    elif command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
        init=systemd service=/etc/systemd/system/denwa.service
    else
        fail "neither OpenRC nor systemd runs here, so that nothing would start denwa: see 'denwa run --help'"
    fi
    for tool in awk chmod chown cmp df flock mkdir mv readlink sed sha256sum; do
        has "$tool" || fail "$tool is missing here; install it, with its package, and run this again"
    done
    mkdir -p "${binary%/*}"
    exec 9<"${binary%/*}"
    flock -n 9 || fail "another run of this script is under way; wait for its end"
    had_binary=$(there $binary) had_service=$(there $service) had_config=$(there $config)
    had_state=$(there $state) had_folder=$(there $folder) had_user=
    ! id denwa >/dev/null 2>&1 || had_user=yes
    finished='' begun='' replaced=''
    work=$(mktemp -d /run/denwa-install.XXXXXX)
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Nothing, if there is no such file.
there() { [ ! -e "$1" ] || echo yes; }

has() { command -v "$1" >/dev/null; }

check_machine() {
    arch=$(uname -m)
    case $arch in
    x86_64 | amd64) arch=x86_64 sum=$sum_x86_64 ;;
    aarch64 | arm64) arch=aarch64 sum=$sum_aarch64 ;;
    *) fail "there is no denwa for $arch, only for x86_64 and aarch64" ;;
    esac
    case $sum in
    '') fail "this script has no checksum of a denwa for $arch: 'scripts/build-static all' makes one that has" ;;
    @*) fail "this script has no checksums yet: 'scripts/build-static all' puts them into target/dist/install.sh" ;;
    esac
    has curl || has wget || has python3 || [ -d "$url" ] ||
        fail "nothing here can fetch a file: install curl, wget or python3"
    has useradd || has adduser || fail "neither useradd nor adduser is here, so that denwa cannot get a user of its own"
    room /usr/local/bin 12
    room /etc 1
    room /var/lib 8
}

# room FOLDER MB: whether so much can be written there.
room() {
    { mkdir -p "$1" && echo >"$1/.denwa-probe" && rm "$1/.denwa-probe"; } 2>/dev/null ||
        fail "$1 cannot be written: is the disk read-only or full? 'mount' and 'df $1' tell"
    free=$(df -Pk "$1" | awk 'END { print int($4 / 1024) }')
    [ "$free" -ge "$2" ] || fail "$1 has $free MB free, and $2 MB are needed: remove something there first"
}

# The ports of a configuration, one a line: udp 5060. Those of TLS and of HTTP (mantela) are ports of TCP.
sip_ports() {
    awk '
        { at = index($0, "="); key = substr($0, 1, at - 1); gsub(/[[:space:]]/, "", key) }
        key !~ /^listen(\.[^.]+)?$/ && key != "mantela.listen" { next }
        { n = split(substr($0, at + 1), words, /[[:space:]]+/)
          if (key == "listen") told = 1
          for (i = 1; i <= n; i++) {
              if (words[i] == "") continue
              proto = key == "mantela.listen" ? "http" : substr(words[i], 1, index(words[i], ":") - 1)
              sub(/.*:/, "", words[i])
              if (proto == "udp" || proto == "tcp") told = 1
              print proto == "udp" ? "udp" : "tcp", words[i] } }
        END { if (!told) print "udp 5060\ntcp 5060" }' "$1" | sort -u
}

media_ports() {
    ports=$(sed -n 's/^[[:space:]]*media-ports[[:space:]]*=[[:space:]]*\([0-9-]*\).*/\1/p' "$1")
    echo "${ports:-40000-40999}"
}

# Whether somebody else listens where denwa is to: told with who it is.
check_ports() {
    sip_ports "$1" | while read -r proto port; do
        [ "$port" -gt 0 ] 2>/dev/null || continue
        hex=$(printf %04X "$port") listening=0A
        [ "$proto" = tcp ] || listening=07
        inodes=$(cat "/proc/net/$proto" "/proc/net/${proto}6" 2>/dev/null |
            awk -v port=":$hex" -v state=$listening 'substr($2, length($2) - 4) == port && $4 == state { print $10 }')
        [ -n "$inodes" ] || continue
        fail "$proto port $port is taken by $(holder "$inodes"): stop that, or choose another port (listen = $proto:5080)"
    done
}

holder() {
    for inode in $1; do
        for fd in /proc/[0-9]*/fd/*; do
            [ "$(readlink "$fd")" = "socket:[$inode]" ] || continue
            pid=${fd#/proc/}
            pid=${pid%%/*}
            echo "$(cat "/proc/$pid/comm") (process $pid)"
            return
        done 2>/dev/null
    done
    echo 'another program'
}

# An address whose scope is more than this machine (10) and its link (20).
note_ipv6() {
    awk '$4 != "10" && $4 != "20" { n++ } END { exit !n }' /proc/net/if_inet6 2>/dev/null ||
        say 'note: this server has no IPv6 address, so phones reach it over IPv4 only'
}

# --- fetching -------------------------------------------------------------------------

# fetch NAME FILE: tries again, later and later; a network that comes up late is waited for.
fetch() {
    case $url in
    file://*) from=${url#file://} ;;
    http://* | https://*) from= ;;
    *) from=$url ;;
    esac
    if [ -n "$from" ]; then
        cp "$from/$1" "$2" 2>"$work/why" || fail "$from/$1 cannot be copied: $(tail -n 1 "$work/why")"
        return
    fi
    pause=1 waited=0
    until fetch_once "$url/$1" "$2"; do
        # curl begins with the reason and goes on with advice, and what is wrong with a certificate is not said at the
        # end; else the last line is it.
        why=$(tr -d '\r' <"$work/why" | grep . | sed -n -e '/^curl: /{p;q;}' -e '/certificate/{p;q;}' -e '$p')
        why=${why:-no reason was given}
        [ $((waited + pause)) -le "$patience" ] ||
            fail "$url/$1 cannot be fetched; tried for $waited s: $why"
        say "$url/$1 cannot be fetched yet ($why); next try in $pause s"
        sleep $pause
        waited=$((waited + pause))
        [ $pause -ge 30 ] || pause=$((pause * 2))
    done
}

# The checksum decides what is taken, not the server: so where the clock stands in the past, in which no certificate
# is valid, none is asked for. No file may be larger than 64 MB.
fetch_once() (
    ulimit -f 131072
    curl='curl -fsSL --connect-timeout 10 --max-time 600' wget='wget -T 20 -t 1' insecure=
    [ "$(date +%Y)" -ge 2026 ] || insecure=yes
    if has curl; then
        $curl ${insecure:+-k} -o "$2" "$1"
    elif has wget; then
        $wget ${insecure:+--no-check-certificate} -O "$2" "$1"
    else
        python3 -c 'import shutil, ssl, sys, urllib.request as r
https = {"context": ssl._create_unverified_context()} if sys.argv[3] else {}
shutil.copyfileobj(r.urlopen(sys.argv[1], timeout=20, **https), open(sys.argv[2], "wb"))' "$1" "$2" "$insecure"
    fi
) 2>"$work/why"

fetch_binary() {
    say "fetching denwa $version for $arch from $url"
    fetch "denwa-$arch" "$binary.new"
    got=$(sha256sum "$binary.new")
    [ "${got%% *}" = "$sum" ] ||
        fail "what $url/denwa-$arch gives has the checksum ${got%% *} and $(wc -c <"$binary.new") bytes, expected is $sum: it is damaged, or of another version than this script"
    chmod 755 "$binary.new"
    label "$binary.new"
    "$binary.new" --version >/dev/null || fail "the program does not run here; its message is above"
}

# --- changing -------------------------------------------------------------------------

install() {
    check_machine
    note_ipv6
    [ -z "$had_config" ] || [ -z "$with" ] || say "note: $config is there already and is kept; the lines of $with are not used"
    # What is there comes back if this fails.
    [ -z "$had_binary" ] || cp -p "$binary" "$binary.before"
    [ -z "$had_service" ] || cp -p "$service" "$work/service"
    begun=yes
    if [ "$had_binary" ] && [ "$had_service" ] && [ "$had_config" ]; then
        upgrade
    else
        install_anew
    fi
    # From here on it is installed, whatever else fails.
    begun=
    rm -f "$binary.before"
    open_firewall
    tell
}

install_anew() {
    fetch_binary
    if [ "$had_config" ]; then
        new=$config
        "$binary.new" check "$config" >/dev/null || fail "$config has mistakes: correct them and run this again"
    else
        new=$work/denwa.conf
        "$binary.new" init --config "$new" ${with:+--with "$with"} >/dev/null ||
            fail 'the configuration has mistakes, or could not be written (see above); nothing is installed'
    fi
    ! grep -q '^[[:space:]]*state[[:space:]]*=' "$new" || grep -q "^[[:space:]]*state[[:space:]]*=[[:space:]]*$state\$" "$new" ||
        fail "the service keeps its state in $state: take the line 'state = ...' out of the configuration"
    check_ports "$new"
    add_user
    mkdir -p "$folder" "$state"
    chown root:denwa "$folder"
    chmod 750 "$folder"
    chown -R denwa:denwa "$state"
    chmod 700 "$state"
    # denwa reads it and cannot change it.
    [ "$had_config" ] || put "$config" <"$new"
    chown root:denwa "$config"
    chmod 640 "$config"
    mv "$binary.new" "$binary"
    put_service
    label "$folder" "$state"
    say 'starting it'
    start
}

upgrade() {
    fetch_binary
    "$binary.new" check "$config" >/dev/null ||
        fail "the new program does not accept $config (see above); the one that runs is left alone"
    chown root:denwa "$config"
    chmod 640 "$config"
    if cmp -s "$binary" "$binary.new"; then
        say 'this version is installed already'
        rm "$binary.new"
    else
        mv "$binary.new" "$binary"
        replaced=yes
    fi
    put_service
    if ! runs; then
        say 'starting it'
        start
    elif [ "$replaced" ]; then
        # The one before is known to work.
        "$binary.before" upgrade --config "$config" || fail 'the new program did not take over; the one before goes on'
    fi
}

# put FILE: it is there as a whole or not at all.
put() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

put_service() {
    ${init}_service | put "$service"
    label "$service"
    case $init in
    openrc)
        chmod 755 "$service"
        rc-update -q add denwa default
        ;;
    systemd)
        # Which has systemd read the file as well.
        systemctl -q enable denwa
        ;;
    esac
}

add_user() {
    [ -z "$had_user" ] || return 0
    if has useradd; then
        shell=/usr/sbin/nologin
        [ -x $shell ] || shell=/sbin/nologin
        useradd --system --user-group --no-create-home --home-dir "$state" --shell $shell denwa
    else
        addgroup -S denwa
        adduser -S -D -H -h "$state" -s /sbin/nologin -G denwa -g 'telephone exchange' denwa
    fi
}

# What SELinux calls the files decides whether the service may use them.
label() {
    if has restorecon && [ -e /sys/fs/selinux/enforce ]; then restorecon -RF "$@"; fi
}

# None of what is started may keep the lock.
start() {
    case $init in
    openrc) rc-service denwa start 9>&- || fail 'the service does not start (see above)' ;;
    systemd) systemctl start denwa 9>&- || fail 'the service does not start (see above)' ;;
    esac
    tries=0
    until runs; do
        tries=$((tries + 1))
        [ $tries -le 20 ] || {
            last_words >&2
            fail 'it does not answer; the end of its log is above'
        }
        sleep 1
    done
}

runs() { "$binary" status --config "$config" >/dev/null 2>&1; }

last_words() {
    case $init in
    openrc) grep 'denwa' /var/log/messages | tail -n 15 ;;
    systemd) journalctl -q -n 15 -u denwa ;;
    esac
}

# --- the firewall of this server ------------------------------------------------------

# @image/firewall.sh@

# --- the end ----------------------------------------------------------------------------

tell() {
    (
        umask 077
        {
            "$binary" settings --config "$config" &&
                printf '\nAfter a change, and where a stop gave the server another address: denwa settings\n'
        } >"$phones.new" && mv "$phones.new" "$phones"
    ) || fail 'what to type into phones cannot be told (see above)'
    [ ! -d /etc/profile.d ] || login_hint | put "$hint"
    echo
    "$binary" status --config "$config"
    echo
    cat "$phones"
    echo
    say "these settings are in $phones too; 'denwa --help' tells the rest"
}

uninstall() {
    [ "$had_binary$had_service$had_config$had_state$had_user" ] || fail 'there is no denwa here'
    close_firewall || say 'note: the firewall could not be closed (see above)'
    remove
    if [ "${purge-}" ]; then
        rm -rf "$folder" "$state"
        say 'it is removed, with its configuration and state'
    else
        # Its user's number may become somebody else's.
        chown -R 0:0 "$folder" "$state" 2>/dev/null || true
        say "it is removed; your configuration is in $folder and its state in $state (--purge removes them too)"
    fi
}

remove() {
    case $init in
    openrc)
        [ ! -e "$service" ] || rc-service -q denwa stop || true
        rc-update -q delete denwa default 2>/dev/null || true
        rm -f "$service"
        ;;
    systemd)
        systemctl -q disable --now denwa 2>/dev/null || true
        rm -f "$service"
        systemctl daemon-reload
        systemctl reset-failed denwa 2>/dev/null || true
        ;;
    esac
    rm -f "$binary" "$binary.new" "$service.new" "$config.new"
    rm -f "$phones" "$phones.new" "$hint" "$hint.new"
    # One that was there before an installation that failed was not made by it.
    if id denwa >/dev/null 2>&1 && [ "$action$had_user" != installyes ]; then
        if has userdel; then userdel denwa; else deluser denwa; fi
        ! grep -q '^denwa:' /etc/group || delgroup denwa 2>/dev/null || groupdel denwa
    fi
}

# However it ends: what an installation that failed has begun is undone.
leave() {
    status=$?
    trap '' INT TERM HUP
    [ "$finished" ] || [ -z "$begun" ] || undo || true
    rm -rf "$work"
    exit $status
}

undo() {
    set +e
    if [ "$had_binary" ] && [ "$had_service" ] && [ "$had_config" ]; then
        rm -f "$binary.new" "$service.new" "$phones.new" "$hint.new"
    else
        remove
        [ "$had_config" ] || rm -f "$config"
        [ "$had_state" ] || rm -rf "$state"
        [ "$had_folder" ] || rmdir "$folder" 2>/dev/null
    fi
    [ -z "$had_binary" ] || mv "$binary.before" "$binary"
    [ -z "$had_service" ] || cp -p "$work/service" "$service"
    [ $init = openrc ] || systemctl daemon-reload
    say 'nothing of this installation was kept' >&2
}

main "$@"
