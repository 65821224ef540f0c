#!/bin/sh
# Forwarding from one veth to another, by packet sockets and by AF_XDP sockets, in turns.
#
#   bench/wires.sh [SECONDS] [ROUNDS]
#
# A generator (twinpath itself, over AF_XDP) sends 64-byte UDP of 1,000 flows into pair a; the
# forwarder under test takes them from there to pair b, whose far end counts. Prints packets a
# second out of the far end, sent by the generator, and the forwarder's share of a core; the
# bottleneck is the generator when out = in, else the forwarder. Needs root and the release build.
set -eu
seconds=${1:-4}
rounds=${2:-3}
binary=${TWINPATH_BIN:-$(dirname "$0")/../target/release/twinpath}
folder=$(mktemp -d /tmp/twinpath-wires.XXXXXX)
generator=
forwarder=
finish() {
    for process in $generator $forwarder; do kill "$process" 2>/dev/null || true; done
    ip link del twba0 2>/dev/null || true
    ip link del twbb0 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT INT TERM
for pair in a b; do
    ip link add "twb${pair}0" type veth peer name "twb${pair}1"
    for end in 0 1; do
        sysctl -qw "net.ipv6.conf.twb$pair$end.disable_ipv6=1"
        ip link set "twb$pair$end" up
    done
done
echo 'in_port=1,actions=output:2' > "$folder/rules"
configure() { # NAME WIRE WIRE
    {
        printf 'device = "none"\nrules = "rules"\ncontrol = "%s.control"\n' "$1"
        printf '[[port]]\nnumber = 1\nname = "in"\nwire = "%s"\n' "$2"
        printf '[[port]]\nnumber = 2\nname = "out"\nwire = "%s"\n' "$3"
    } > "$folder/$1.toml"
}
configure generator "gen:flows=1000,rate=3M" "xdp:twba0"
configure packet "packet:twba1" "packet:twbb0"
configure xdp "xdp:twba1" "xdp:twbb0"
count() { cat "/sys/class/net/$1/statistics/$2"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
for round in $(seq "$rounds"); do
    for kind in packet xdp; do
        "$binary" run "$folder/$kind.toml" > "$folder/$kind.out" 2>&1 &
        forwarder=$!
        sleep 0.5
        "$binary" run "$folder/generator.toml" > "$folder/generator.out" 2>&1 &
        generator=$!
        sleep 1
        in=$(count twba0 tx_packets) out=$(count twbb1 rx_packets) used=$(ticks "$forwarder")
        sleep "$seconds"
        in=$(($(count twba0 tx_packets) - in)) out=$(($(count twbb1 rx_packets) - out))
        used=$(($(ticks "$forwarder") - used))
        kill -INT "$generator" && wait "$generator" || true
        kill -INT "$forwarder" && wait "$forwarder" || true
        generator='' forwarder=''
        echo "round $round $kind: out $((out / seconds)) pps, in $((in / seconds)) pps," \
            "core $((used / seconds)) %"
    done
done
