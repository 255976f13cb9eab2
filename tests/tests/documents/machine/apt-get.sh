#!/bin/bash
# Stands for apt: of Debian's own packages it says what is missing; of vip-user's it does what counts on one machine, with the
# program that is tested.
set -eu

install_vip_user() {
    ln -sf /wire/vip-user /usr/sbin/vip-user
    getent passwd vip-user > /dev/null || useradd --system --no-create-home vip-user
    sed 's|/usr/local/sbin|/usr/sbin|' /wire/vip-user.service > /lib/systemd/system/vip-user.service
    mkdir -p /etc/vip-user
    for folder in /run/vip-user /var/lib/vip-user /sys/fs/bpf/vip-user; do
        install -d -o vip-user -g vip-user "$folder"
    done
}

[ "$1" = install ]
shift
for package in "$@"; do
    case $package in
        ./vip-user_*.deb) install_vip_user ;;
        *) command -v "$package" > /dev/null || { echo "$package: not here" >&2 && exit 1; } ;;
    esac
done
