#!/bin/bash
# Stands for systemd, as far as documents need it: starts, stops, kills and reloads services. What has ended stays ended.
set -eu

main() { cat "/run/$1.main"; }

is_active() { [ -e "/run/$1.main" ] && kill -0 "$(main "$1")" 2> /dev/null; }

of_unit() { sed -n "s/^$2=//p" "/lib/systemd/system/$1.service"; }

# The command of a unit with a user and capabilities of its own; without its limits, which containers cannot raise.
confined() {
    local user capabilities
    user=$(of_unit "$1" User)
    capabilities=$(of_unit "$1" AmbientCapabilities | sed 's/CAP_/+/g; s/ /,/g' | tr A-Z a-z)
    echo "setpriv --reuid=$user --regid=$user --clear-groups" \
        "--inh-caps=$capabilities --ambient-caps=$capabilities $(of_unit "$1" ExecStart)"
}

start() {
    is_active "$1" && return
    local command
    case $1 in
        haproxy) command='haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid' ;;
        nginx) command="nginx -g 'daemon off;'" ;;
        *) command=$(confined "$1") ;;
    esac
    rm -f "/run/$1.main"
    setsid bash -c "echo \$\$ > /run/$1.main; exec $command" > "/run/$1.log" 2>&1 < /dev/null &
    until [ -s "/run/$1.main" ]; do sleep 0.01; done
}

stop() {
    is_active "$1" || return 0
    kill -TERM "$(main "$1")"
    while is_active "$1"; do sleep 0.01; done
}

reload() {
    case $1 in
        haproxy) kill -USR2 "$(main "$1")" ;;
        *) kill -HUP "$(main "$1")" ;;
    esac
}

action=$1
shift
case $action in
    enable) shift && start "$@" ;;
    start | stop | reload) "$action" "$@" ;;
    restart) stop "$1" && start "$1" ;;
    kill) kill -s "${1#--signal=}" -- "-$(main "$2")" ;;
    *) echo "systemctl $action: not here" >&2 && exit 1 ;;
esac
