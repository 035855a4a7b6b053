#!/bin/sh
# A hub and two workers, each behind a router of its own that hides it (NAT). Run by `unshare -n -m`.
#
#     alice 10.1.0.2 ── 10.1.0.1 router 203.0.113.11 ──┐
#                                                      ├── 203.0.113.0/24 ── hub 203.0.113.1
#     bob   10.2.0.2 ── 10.2.0.1 router 203.0.113.12 ──┘
#
# behind-nat.sh NODE DIST HOST-KEY AUTHORIZED-KEYS FINGERPRINT KEY
set -eu
node=$1 dist=$2 host_key=$3 authorized_keys=$4 fingerprint=$5 key=$6

mount -t tmpfs none /run # the names of network namespaces live here, and end with us
for name in internet hub router1 router2 alice bob; do
    ip netns add $name
    ip -n $name link set lo up
done

# bridge INTERFACE NAME ADDRESS: a port of the internet
ip -n internet link add bridge type bridge
ip -n internet link set bridge up
port() {
    ip -n internet link add "$1" type veth peer name outside netns "$1"
    ip -n internet link set "$1" master bridge up
    ip -n "$1" address add "$2/24" dev outside
    ip -n "$1" link set outside up
}
port hub 203.0.113.1
port router1 203.0.113.11
port router2 203.0.113.12

# behind ROUTER WORKER NETWORK
behind() {
    ip -n "$1" link add inside type veth peer name uplink netns "$2"
    ip -n "$1" address add "$3.1/24" dev inside
    ip -n "$1" link set inside up
    ip -n "$2" address add "$3.2/24" dev uplink
    ip -n "$2" link set uplink up
    ip -n "$2" route add default via "$3.1"
    ip netns exec "$1" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    ip netns exec "$1" iptables -t nat -A POSTROUTING -o outside -j MASQUERADE
    ip netns exec "$1" iptables -P FORWARD DROP
    ip netns exec "$1" iptables -A FORWARD -i inside -j ACCEPT
    ip netns exec "$1" iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
}
behind router1 alice 10.1.0
behind router2 bob 10.2.0

echo "network ready"
NODE_DEBUG=wraith ip netns exec hub "$node" "$dist/hub.js" 203.0.113.1:2222 "$host_key" "$authorized_keys" 2>&1 &
hub=$!
ip netns exec alice "$node" "$dist/worker.js" alice 203.0.113.1:2222 "$fingerprint" "$key" bob 2>&1 &
alice=$!
ip netns exec bob "$node" "$dist/worker.js" bob 203.0.113.1:2222 "$fingerprint" "$key" alice 2>&1 &
bob=$!
read -r _ # until the test has seen enough
kill $alice $bob
wait $alice $bob || true
kill $hub
wait $hub && echo "hub ended well"
