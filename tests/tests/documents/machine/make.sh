# Makes a machine of this process's namespaces: arguments are its folder, its name, and the folder that all machines share.
home=$1 name=$2 wire=$3
hostname "$name"
mount -t tmpfs tmpfs "$home"
mkdir "$home/upper" "$home/work" "$home/root"
mount -t overlay -o "lowerdir=/,upperdir=$home/upper,workdir=$home/work" overlay "$home/root"
cd "$home/root"
mount -t proc proc proc
mount -t sysfs sys sys
mount -t bpf bpf sys/fs/bpf
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir wire
mount --bind "$wire" wire
rm -rf etc/vip-user etc/haproxy/haproxy.cfg var/lib/vip-user
echo
# Of those that its processes leave behind, the first process of a namespace has to hear.
exec chroot . bash -c 'sleep infinity & wait'
