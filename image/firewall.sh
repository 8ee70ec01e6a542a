# The firewall of this server: these lines become a part of scripts/install.sh.
# shellcheck shell=sh disable=SC2154 # config, folder, work and init are said there
#
# Whatever is opened bears the name denwa, so that it can be told from what somebody else opened, and is all that is
# taken back. A hole is made behind what the owner keeps out on purpose, an address for one, and before what keeps out
# whoever comes: the wall.

# rules: each hole, as PROTOCOL PORTS.
rules() {
    sip_ports "$config"
    echo "udp $(media_ports "$config")"
}

# The same in a line.
holes() { rules | tr '\n' ',' | sed 's/,$//; s/,/, /g'; }

open_firewall() {
    opened='' forgotten=''
    rules >"$work/holes"
    if has ufw && ufw status | grep -q '^Status: active'; then
        open_ufw && opened=ufw
    elif has firewall-cmd && firewall-cmd --state >/dev/null 2>&1; then
        open_firewalld && opened=firewalld
    else
        open_iptables iptables && open_iptables ip6tables && open_nft
    fi || say "note: the firewall could not be opened (see above); let in: $(holes)"
    [ -z "$opened" ] || say "the firewall of this server ($opened) is open for $(holes)"
    [ -z "$forgotten" ] ||
        say "note: at the next boot $forgotten will have forgotten that; where its rules come from, let in: $(holes)"
}

close_firewall() {
    ! has ufw || close_ufw
    ! has firewall-cmd || close_firewalld
    for tool in iptables ip6tables; do close_iptables $tool; done
    close_nft
}

# --- ufw

# What ufw has been told of these ports already is the owner's, and stays.
open_ufw() {
    while read -r proto ports; do echo "$(echo "$ports" | tr - :)/$proto"; done <"$work/holes" >"$work/wanted"
    ufw_ours | grep -vxFf "$work/wanted" | delete_ufw
    ufw show added >"$work/added"
    while read -r hole; do
        grep -qE "^ufw [a-z]+ $hole( comment .*)?\$" "$work/added" ||
            ufw allow "$hole" comment denwa >/dev/null || return 1
    done <"$work/wanted"
}

close_ufw() { ufw_ours | delete_ufw; }

ufw_ours() { ufw show added | sed -n "s/^ufw allow \([^ ]*\) comment 'denwa'\$/\1/p"; }

delete_ufw() { while read -r hole; do ufw delete allow "$hole" >/dev/null; done; }

# --- firewalld

# Rich rules, which are other things than ports that the owner has opened; their priority tells that they are denwa's.
# As ZONE RULE, from all zones.
rich_rules() {
    "$@" --list-all-zones | awk '/^[^ \t]/ { zone = $1 } /rule priority="5060" port / { sub(/^[ \t]*/, ""); print zone, $0 }'
}

# In the zone of the interface by which this server reaches others.
open_firewalld() {
    outside=$(awk '$2 == "00000000" && $8 == "00000000" { print $1; exit }' /proc/net/route)
    [ "$outside" ] || outside=$(awk '$1 ~ /^0*$/ && $2 == "00" && $10 != "lo" { print $10; exit }' /proc/net/ipv6_route 2>/dev/null)
    zone=$(firewall-cmd --get-zone-of-interface="${outside:-lo}" 2>/dev/null) || zone=$(firewall-cmd --get-default-zone)
    while read -r proto ports; do
        echo "$zone rule priority=\"5060\" port port=\"$ports\" protocol=\"$proto\" accept"
    done <"$work/holes" | sort >"$work/wanted"
    for now in '' --permanent; do
        rich_rules firewall-cmd $now | sort >"$work/there"
        ! cmp -s "$work/wanted" "$work/there" || continue
        while read -r zone rule; do firewall-cmd -q $now --zone="$zone" --remove-rich-rule="$rule"; done <"$work/there"
        while read -r zone rule; do
            firewall-cmd -q $now --zone="$zone" --add-rich-rule="$rule" || return 1
        done <"$work/wanted"
    done
}

close_firewalld() {
    for tool in firewall-cmd 'firewall-cmd --permanent'; do
        # The second is there for when firewalld does not run.
        firewall-cmd --state >/dev/null 2>&1 || tool=firewall-offline-cmd
        # shellcheck disable=SC2086 # a list of words
        rich_rules $tool | while read -r zone rule; do $tool -q --zone="$zone" --remove-rich-rule="$rule"; done
    done
}

# --- iptables, of either kind

# Where holes have to be in INPUT, of what iptables-save or `iptables -S` says: the number of the first rule that keeps
# out whoever comes, or one more than there are, where that is the policy; nothing if there is no wall.
wall() {
    awk 'BEGIN { filter = 1 }
        /^\*/ { filter = $0 == "*filter" }
        !filter { next }
        /^(-P |:)INPUT DROP/ { closed = 1 }
        sub(/^(\[[0-9:]*\] )?-A INPUT /, "") {
            n++
            if (/-j (DROP|REJECT)/ && !/(^| )(-s|-d|-p icmp|-p ipv6-icmp|--match-set|--[ds]ports?|--tcp-flags|--(ct)?state INVALID) / && !wall) wall = n
        }
        END { if (wall) print wall; else if (closed) print n + 1 }'
}

# Ours for INPUT, as iptables-save writes them.
iptables_rules() {
    while read -r proto ports; do
        echo "-A INPUT -p $proto -m $proto --dport $(echo "$ports" | tr - :) -m comment --comment denwa -j ACCEPT"
    done <"$work/holes"
}

# open_iptables COMMAND
open_iptables() {
    has "$1" && [ "$("$1" -S INPUT 2>/dev/null | wall)" ] || return 0
    iptables_rules | sort >"$work/wanted"
    "$1" -S INPUT | grep -e '--comment denwa ' | sort >"$work/there" || true
    if ! cmp -s "$work/wanted" "$work/there"; then
        delete_iptables "$1"
        at=$("$1" -S INPUT | wall)
        while read -r _ _ rule; do
            # shellcheck disable=SC2086 # a list of words
            "$1" -I INPUT "$at" $rule || return 1
            at=$((at + 1))
        done <"$work/wanted"
    fi
    opened=iptables kept=
    for file in $(saved "$1"); do
        ! keep_iptables "$file" || kept=yes
    done
    [ "$kept" ] || forgotten=iptables
}

close_iptables() {
    ! has "$1" || delete_iptables "$1"
    for file in $(saved "$1"); do
        ! grep -q -e '--comment denwa ' "$file" || sed '/--comment denwa /d' "$file" | replace "$file"
    done
}

delete_iptables() {
    "$1" -S INPUT 2>/dev/null | sed -n '/--comment denwa /s/^-A/-D/p' | while read -r rule; do
        # shellcheck disable=SC2086 # a list of words
        "$1" $rule
    done
}

# From where the rules of a command come at the next boot, as far as there is such a file: on Debian, in the RHEL
# family, on Alpine.
saved() {
    case $1 in
    iptables) set -- /etc/iptables/rules.v4 /etc/sysconfig/iptables /etc/iptables/rules-save ;;
    *) set -- /etc/iptables/rules.v6 /etc/sysconfig/ip6tables /etc/iptables/rules6-save ;;
    esac
    for file; do [ ! -e "$file" ] || echo "$file"; done
}

# Only ours are put in: what else is there at this moment may not be meant to stay. False if the file has no wall.
keep_iptables() {
    sed '/--comment denwa /d' "$1" >"$work/others"
    at=$(wall <"$work/others")
    [ "$at" ] || return 1
    awk -v at="$at" -v ours="$work/wanted" '
        function dig() { while ((getline line <ours) > 0) print line; at = 0 }
        /^\*/ { filter = $0 == "*filter" }
        filter && /^(\[[0-9:]*\] )?-A INPUT / && ++n == at { dig() }
        filter && at && /^COMMIT/ { dig() }
        { print }' "$work/others" >"$work/saved"
    cmp -s "$work/saved" "$1" || replace "$1" <"$work/saved"
}

# replace FILE: with what comes in, as a whole; its rights stay, and a link to it does.
replace() {
    set -- "$(readlink -f "$1")"
    cp -p "$1" "$1.denwa"
    cat >"$1.denwa"
    mv "$1.denwa" "$1"
    label "$1"
}

# --- nftables

nft_file=$folder/firewall.nft
nft_include="include \"$folder/*.nft\""

# The rules that there are, without those that iptables makes: of these nft says so.
nft_rules() {
    nft "$@" list ruleset 2>&1 | sed -n 's/^# Warning: table \(.*\) is managed by iptables-nft.*/\1/p' >"$work/managed"
    nft "$@" list ruleset 2>/dev/null | awk -v managed="$work/managed" '
        BEGIN { while ((getline table <managed) > 0) skip[table] = 1 }
        $1 == "table" { skipped = ($2 " " $3) in skip }
        !skipped && !/^#/'
}

# Each chain with a wall, as FAMILY TABLE CHAIN, and how to come before it: behind the other rules where the wall is
# the policy, else before all of them, since no rule has a number that holds at the next boot.
nft_walls() {
    nft_rules | awk '
        $1 == "table" { table = $2 " " $3; known = $2 ~ /^(ip|ip6|inet)$/ }
        $1 == "chain" { chain = $2 }
        known && /hook input/ { place = table " " chain; closed = /policy drop/; wall = 0; next }
        { sub(/reject with .*/, "reject") }
        place && /(^|[ \t])(drop|reject)([ \t]|$)/ && !/addr|[ds]port|icmp|flags|invalid|@/ { wall = 1 }
        place && $1 == "}" { if (wall || closed) print place, wall ? "insert" : "add"; place = "" }'
}

# Ours, as FAMILY TABLE CHAIN RULE.
nft_ours() {
    nft_rules | awk '
        $1 == "table" { table = $2 " " $3 }
        $1 == "chain" { chain = $2 }
        /comment "denwa"$/ { sub(/^[ \t]*/, ""); print table, chain, $0 }' | sort
}

open_nft() {
    has nft || return 0
    nft_walls >"$work/walls"
    [ -s "$work/walls" ] || return 0
    while read -r family table chain how; do
        # That a boot does not fail by a table whose name the owner has changed.
        echo "add table $family $table"
        echo "add chain $family $table $chain"
        while read -r proto ports; do
            echo "$how rule $family $table $chain $proto dport $ports accept comment \"denwa\""
        done <"$work/holes"
    done <"$work/walls" >"$work/nft"
    sed -n 's/^[a-z]* rule //p' "$work/nft" | sort >"$work/wanted"
    nft_ours >"$work/there"
    cmp -s "$work/wanted" "$work/there" || { delete_nft && nft -f "$work/nft"; } || return 1
    opened=${opened:+$opened, }nftables
    keep_nft || forgotten=${forgotten:+$forgotten and }nftables
}

close_nft() {
    ! has nft || delete_nft
    for file in /etc/nftables.conf /etc/sysconfig/nftables.conf /etc/nftables.nft; do
        ! grep -qsxF "$nft_include" "$file" || grep -vxF "$nft_include" "$file" | replace "$file"
    done
    rm -f "$nft_file"
}

delete_nft() {
    nft_rules -a | awk '
        $1 == "table" { table = $2 " " $3 }
        $1 == "chain" { chain = $2 }
        /comment "denwa" # handle/ { print "delete rule", table, chain, "handle", $NF }' >"$work/delete"
    [ ! -s "$work/delete" ] || nft -f "$work/delete"
}

# The file from which the rules come at a boot then reads ours too. False if there is none that has these tables.
keep_nft() {
    case $init in
    openrc) rc-update show | grep -q '^ *nftables ' || return 1 ;;
    systemd) systemctl -q is-enabled nftables 2>/dev/null || return 1 ;;
    esac
    for file in /etc/nftables.conf /etc/sysconfig/nftables.conf /etc/nftables.nft; do
        [ -e "$file" ] || continue
        while read -r family table _; do
            grep -qE "^[[:space:]]*(add )?table[[:space:]]+${family}[[:space:]]+${table}([[:space:]]|[{]|\$)" "$file" || return 1
        done <"$work/walls"
        put "$nft_file" <"$work/nft"
        grep -qxF "$nft_include" "$file" || { awk 1 "$file"; echo "$nft_include"; } | replace "$file"
        return
    done
    return 1
}
