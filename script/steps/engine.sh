# shellcheck shell=bash
# Sourced by script/bootstrap: a Docker engine that answers.

engine_answers() {
    timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

engine() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        ensure_commands docker:docker.io
        engine_answers || fail "the Docker engine at DOCKER_HOST=$DOCKER_HOST does not answer"
        return
    fi
    if engine_answers; then
        return
    fi
    ensure_commands dockerd:docker.io docker:docker.io iptables:iptables
    if engine_answers; then
        return
    fi
    if as_root env DOCKER_HOST= timeout 20 docker version >/dev/null 2>&1; then
        fail "you may not use the Docker engine: sudo usermod -aG docker $(id -un), then log in again"
    fi
    if [ -d /run/systemd/system ]; then
        say "Starting the Docker service"
        as_root systemctl start docker || fail "see: journalctl -u docker"
    else
        start_engine
    fi
    engine_answers ||
        fail "the engine runs, but not for you: sudo usermod -aG docker $(id -un), then log in again"
}

start_engine() {
    local log=$PWD/var/log/dockerd.log pid
    # Where no init system has done it.
    if ! grep -q ' cgroup2\? ' /proc/mounts; then
        ensure_commands cgroupfs-mount:cgroupfs-mount
        as_root cgroupfs-mount
    fi
    say "Starting a Docker engine, log: var/log/dockerd.log"
    as_root sh -c "PATH=\$PATH:/usr/sbin:/sbin; setsid dockerd </dev/null >>'$log' 2>&1 9>&- & echo \$!" \
        >var/run/dockerd.pid
    pid=$(cat var/run/dockerd.pid)
    for _ in $(seq 120); do
        if as_root docker version >/dev/null 2>&1; then
            echo "    It stays up when script/server ends; to stop it: kill $pid"
            return
        fi
        [ -d "/proc/$pid" ] || break
        sleep 0.5
    done
    tail -n 20 "$log" >&2
    fail "the Docker engine did not start, its last words are above; in a container it needs --privileged"
}
