# What becomes of a machine that the package is installed on, used, upgraded and removed. The first thing that is not as it should be
# ends it.
cd /
set -euo pipefail
fail() { echo "NOT AS IT SHOULD BE: $*" >&2; systemctl status vip-user --no-pager -l >&2 || true; exit 1; }
await() { for _ in $(seq 300); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; fail "in vain: $*"; }
export DEBIAN_FRONTEND=noninteractive
await systemctl is-active basic.target

echo "install: the user is there, and nothing runs without a configuration"
dpkg --install /package.deb >/tmp/dpkg.log
getent passwd vip-user >/dev/null || fail "no user"
systemctl is-enabled --quiet vip-user || fail "not enabled"
! systemctl is-active --quiet vip-user || fail "runs without a configuration"

echo "start: the service serves"
cat >/etc/vip-user/vip.toml <<'C'
[node]
iface = "eth0"
xdp = "generic"
[cluster]
key_file = "/etc/vip-user/cluster.key"
expect = 1
# A busy machine does not let it lapse.
interval = "50ms"
lease = "1s"
[[group]]
name = "web"
vips = ["10.77.0.100/24"]
C
(umask 077; vip-user keygen >/etc/vip-user/cluster.key)
chown vip-user: /etc/vip-user/cluster.key
vip-user check --config /etc/vip-user/vip.toml >/dev/null
systemctl start vip-user
ip netns add client
ip link set client0 netns client
ip -n client address add 10.77.0.200/24 dev client0
ip -n client link set client0 up
await ip netns exec client ping -c 1 -W 1 10.77.0.100
[ "$(ps -o user= -C vip-user | sort -u)" = vip-user ] || fail "runs as $(ps -o user= -C vip-user)"

echo "upgrade: another daemon serves, and no ping is lost"
daemon() { pgrep --parent "$(systemctl show --property MainPID --value vip-user)"; }
before=$(daemon)
ip netns exec client ping -q -i 0.01 -W 1 10.77.0.100 >/tmp/pings &
pings=$!
sleep 0.5
dpkg --install /package.deb >>/tmp/dpkg.log
[ "$(daemon)" != "$before" ] || fail "the same daemon goes on"
sleep 0.5
kill -INT $pings
wait $pings || true
grep -q ' 0% packet loss' /tmp/pings || fail "$(cat /tmp/pings)"
grep -o '^[0-9]* packets.*loss' /tmp/pings

echo "remove: all that it made is gone, and the configuration stays"
dpkg --remove vip-user >>/tmp/dpkg.log
! pgrep -x vip-user >/dev/null || fail "still runs"
! ls -d /sys/fs/bpf/vip-user /run/vip-user 2>/dev/null || fail "leftovers"
! ip link show vip-eth0 2>/dev/null || fail "the VIPs are still there"
! ip -d link show eth0 | grep -q 'prog/xdp' || fail "the program is still there"
[ -f /etc/vip-user/vip.toml ] || fail "no configuration any more"

echo "purge: so are configuration, key, state and user"
dpkg --purge vip-user >>/tmp/dpkg.log
! ls -d /etc/vip-user /var/lib/vip-user 2>/dev/null || fail "leftovers"
! getent passwd vip-user || fail "the user is still there"
