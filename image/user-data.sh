#!/bin/sh
# A telephone exchange: paste this into the field for a start-up script ("user data") when you create a server.
# Some minutes later it runs, and /root/denwa-phones.txt says what to type into the phones; so does the console.

# The exchange's configuration: one key = value a line. "random" becomes a password that nobody guesses.
configuration() {
    cat <<'denwa.conf'
ext.101 = random
ext.101.name = First phone
ext.101.digest = md5
ext.102 = random
ext.102.name = Second phone
ext.102.digest = md5
echo = 114
advertise = auto
denwa.conf
}

# From where denwa is fetched, and the SHA-256 of the install.sh that has to be there. It knows the sum of the
# program, so nobody on the way can put in something else, and http:// is as good as https://.
url='@url@'
sum='@sum@'

main() {
    set -eu
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    umask 077
    work=$(mktemp -d /run/denwa-user-data.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    case $sum in @*) fail 'this script is not filled in: scripts/make-user-data does that' ;; esac
    fetch "$url/install.sh" "$work/install.sh"
    got=$(sha256sum "$work/install.sh")
    [ "${got%% *}" = "$sum" ] ||
        fail "what $url/install.sh gives has the checksum ${got%% *}, expected is $sum: it is damaged, or of another version"
    configuration >"$work/denwa.conf"
    sh "$work/install.sh" --url "$url" --with "$work/denwa.conf"
}

fail() {
    echo "denwa: $*" >&2
    exit 1
}

# Tries for four minutes, since the network of a new server may come up late.
fetch() {
    pause=1 waited=0
    until fetch_once "$1" "$2" 2>"$work/why"; do
        # curl begins with the reason and goes on with advice, and what is wrong with a certificate is not said at the
        # end; else the last line is it.
        why=$(sed -n -e '/^curl: /{p;q;}' -e '/certificate/{p;q;}' -e '$p' "$work/why")
        [ $waited -lt 240 ] || fail "$1 cannot be fetched; tried for $waited s: $why"
        echo "denwa: $1 cannot be fetched yet ($why); next try in $pause s"
        sleep $pause
        waited=$((waited + pause))
        [ $pause -ge 30 ] || pause=$((pause * 2))
    done
}

# While the clock stands in the past no certificate is valid, so none is asked for; the sum decides.
fetch_once() {
    insecure=
    [ "$(date +%Y)" -ge 2026 ] || insecure=yes
    if command -v curl >/dev/null; then
        curl -fsSL --connect-timeout 10 --max-time 120 ${insecure:+-k} -o "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -T 20 -t 1 ${insecure:+--no-check-certificate} -O "$2" "$1"
    else
        python3 -c 'import shutil, ssl, sys, urllib.request as r
https = {"context": ssl._create_unverified_context()} if sys.argv[3] else {}
shutil.copyfileobj(r.urlopen(sys.argv[1], timeout=20, **https), open(sys.argv[2], "wb"))' "$1" "$2" "$insecure"
    fi
}

# To whoever keeps the output of this script, and to the console, where cloud-init does not see to that itself.
tell() {
    while IFS= read -r line; do
        echo "$line"
        [ -d /run/cloud-init ] || echo "$line" >/dev/console
    done 2>/dev/null
}

failed=/run/denwa-user-data.$$.failed
rm -f "$failed"
{
    (main)
    status=$?
    if [ $status = 0 ]; then
        echo 'denwa: done'
    else
        echo "denwa: it is not installed. When the reason above is gone, run this as root: sh $0"
        : >"$failed"
    fi
} 2>&1 | tell
[ ! -e "$failed" ] || { rm "$failed"; exit 1; }
