# Becomes a machine for a package to be tried on: this machine's files under a layer that takes all changes, in the namespaces of this
# process, with systemd as its first process. Arguments: an empty folder for it, and the package.
set -euo pipefail
home=$1 package=$2

make_machine() {
    mount -t tmpfs tmpfs "$home"
    mkdir "$home/upper" "$home/work" "$home/root"
    cp "$package" "$home/package.deb"
    mount -t overlay -o "lowerdir=/,upperdir=$home/upper,workdir=$home/work" overlay "$home/root"
    cd "$home/root"
    mount -t proc proc proc
    mount -t sysfs sys sys
    mount -t cgroup2 cgroup sys/fs/cgroup
    mount -t bpf bpf sys/fs/bpf
    mount --rbind /dev dev
    for place in run tmp; do mount -t tmpfs tmpfs $place; done
    mv "$home/package.deb" .
    rm -rf usr/sbin/policy-rc.d etc/vip-user var/lib/vip-user etc/systemd/system/*.wants etc/fstab
    # A client on the other end of a cable.
    ip link set lo up
    ip link add eth0 type veth peer name client0
    ip address add 10.77.0.1/24 dev eth0
    ip link set eth0 up
}
make_machine
exec chroot . env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target --log-target=null --show-status=no
