#!/bin/sh
# setup.sh               makes every password that is missing; docker compose runs it before the broker starts
# setup.sh user NAME     makes an MQTT user for a device, with a new password, and prints that
#
# Each service has a volume of its own below /secrets with what it may read and nothing else. No password is in the
# repository, in the environment or in a process list of a service that stays.
set -eu
umask 077
root=${SECRETS:-/secrets}
passwd=$root/mosquitto/passwd

random() {
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

own() { # numeric owner of the service that reads it, files
    owner=$1
    shift
    [ "$(id -u)" -ne 0 ] || chown "$owner:$owner" "$@"
}

# The file appears whole or not at all: setup may be interrupted at any place and run again.
secret() { # file
    [ -s "$1" ] && return
    random >"$1.new"
    mv "$1.new" "$1"
    echo "made $1"
}

user() { # name, password
    [ -e "$passwd" ] || : >"$passwd"
    mosquitto_passwd -b "$passwd" "$1" "$2"
}

case ${1:-} in
user)
    name=${2:?a name is expected after user}
    case $name in *[!A-Za-z0-9_.-]*) echo "letters, digits, _ . - expected in a name" >&2; exit 2 ;; esac
    case $name in sluice | health) echo "the user $name is the stack's own" >&2; exit 2 ;; esac
    password=$(random)
    user "$name" "$password"
    own 1883 "$passwd"
    echo "user $name, password $password"
    echo "The broker reads it with: docker compose exec mosquitto sh -c 'kill -HUP 1'"
    ;;
"")
    mkdir -p "$root/mosquitto" "$root/sluice" "$root/devices" "$root/grafana"
    chmod 0700 "$root/mosquitto" "$root/sluice" "$root/devices" "$root/grafana"
    secret "$root/sluice/mqtt_password"
    secret "$root/sluice/jwt_secret"
    secret "$root/devices/mqtt_password"
    secret "$root/mosquitto/health_password"
    secret "$root/grafana/admin_password"
    user sluice "$(cat "$root/sluice/mqtt_password")"
    user devices "$(cat "$root/devices/mqtt_password")"
    user health "$(cat "$root/mosquitto/health_password")"
    # Options of mosquitto_sub for the broker's health check: so the password is no argument of it.
    printf -- '-u health\n-P %s\n' "$(cat "$root/mosquitto/health_password")" >"$root/mosquitto/mosquitto_sub"
    own 1883 "$root/mosquitto" "$root/mosquitto"/*
    own 65532 "$root/sluice" "$root/sluice"/* "$root/devices" "$root/devices"/*
    own 472 "$root/grafana" "$root/grafana"/*
    ;;
*)
    echo "nothing, or: user NAME" >&2
    exit 2
    ;;
esac
