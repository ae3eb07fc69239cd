# shellcheck shell=bash
# Sourced by script/bootstrap: the sandbox images, and the base that they are built on.

IMAGE=custom-rce-kernel
BASE=python:3.11-slim-bookworm
INPUTS_LABEL=interpreter.inputs
RUNNER_LABEL=interpreter.runner
STAND_IN_LABEL=interpreter.stand-in
FURTHER_LABEL=interpreter.further
IMAGE_INPUTS=(Dockerfile.rce rce_requirements.txt image sandbox/runner)

base_image() {
    local image=$1
    if ! docker image inspect "$BASE" >/dev/null 2>&1; then
        say "Pulling $BASE"
        docker pull "$BASE" || stand_in
    fi
    if [ -n "$(label_of "$BASE" $STAND_IN_LABEL)" ]; then
        echo "    NOTE: $BASE is a STAND-IN made of Debian packages here, as no registry could be"
        echo "    reached. To replace it: docker rmi $image $IMAGE:latest $BASE; script/bootstrap"
    fi
}

stand_in() {
    say "No registry can be reached: building a STAND-IN for $BASE from Debian packages"
    ensure_commands mmdebstrap:mmdebstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
        install_packages debian-archive-keyring
    local archive exclude options=()
    for exclude in doc man info locale lintian; do
        options+=("--dpkgopt=path-exclude=/usr/share/$exclude/*")
    done
    options+=("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    # mmdebstrap leaves a copy of this host's in there.
    # shellcheck disable=SC2016
    options+=('--customize-hook=rm "$1/etc/resolv.conf" "$1/etc/hostname"')
    archive=$(mktemp --suffix .tar)
    as_root mmdebstrap --quiet --variant=minbase "${options[@]}" \
        --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$archive" ||
        fail "mmdebstrap could not build the stand-in"
    docker import --change "LABEL $STAND_IN_LABEL=mmdebstrap" "$archive" "$BASE" >/dev/null
    as_root rm -f "$archive"
}

runner_version() {
    .venv/bin/python -c 'from sandbox.runner.protocol import VERSION; print(VERSION)'
}

label_of() {
    docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true
}

# Tagged by its inputs as well: another checkout that builds on the same engine moves `latest`, and
# a server that runs must not find another runner in its image. var/image says which one is ours.
sandbox_image() {
    find_or_pull_image && return
    build_default_image
    docker tag "$built" "$IMAGE:latest"
    echo "$built" >var/image
}

# Whether SANDBOX_IMAGE names one, which is then not ours to build.
find_or_pull_image() {
    [ -n "${SANDBOX_IMAGE:-}" ] || return 1
    docker image inspect "$SANDBOX_IMAGE" >/dev/null 2>&1 || docker pull "$SANDBOX_IMAGE" ||
        fail "SANDBOX_IMAGE=$SANDBOX_IMAGE cannot be found"
}

# Says in `built` which one it is, and nothing to a server that runs.
build_default_image() {
    local wanted context
    wanted=$(digest_of "${IMAGE_INPUTS[@]}")
    built=$IMAGE:${wanted:0:12}
    [ "$(label_of "$built" $INPUTS_LABEL)" != "$wanted" ] || return 0
    base_image "$built"
    say "Building the sandbox image $built, the first time takes minutes; log: var/log/image.log"
    context=$(mktemp -d)
    tar --create --exclude=__pycache__ "${IMAGE_INPUTS[@]}" | tar --extract --directory "$context"
    build_image "$built" "$wanted" "$context" "$context/Dockerfile.rce"
}

# One with more Python packages than the default one, of which it is a layer more: seconds to build
# rather than minutes, and no second copy of what both have, on the disk or in memory.
further_image() {
    local image=custom-rce-$1:latest file=$2 wanted context
    [[ $1 =~ ^[a-z0-9][a-z0-9-]*$ ]] || fail "an image's name is lower-case letters, digits and -: $1"
    [ "$1" != kernel ] || fail "custom-rce-kernel is the default image, choose another name"
    [ -r "$file" ] || fail "there is no file $file"
    if find_or_pull_image; then
        built=$SANDBOX_IMAGE
    else
        build_default_image
    fi
    wanted=$({
        docker image inspect --format '{{.Id}}' "$built"
        further_dockerfile "$built"
        cat "$file"
    } | sha256sum | cut -d ' ' -f 1)
    [ "$(label_of "$image" $INPUTS_LABEL)" != "$wanted" ] || return 0
    context=$(mktemp -d)
    cp "$file" "$context/packages.txt"
    say "Building the sandbox image $image from $built; log: var/log/image.log"
    further_dockerfile "$built" >"$context/Dockerfile"
    build_image "$image" "$wanted" "$context" "$context/Dockerfile" --label "$FURTHER_LABEL=$1"
}

# As Dockerfile.rce does it. What the image has already stays as it is, by the constraints: what the
# zygote loads was found out with these versions.
further_dockerfile() {
    cat <<EOF
FROM $1 AS packages
COPY packages.txt host-ca.cr[t] /build/
ARG PIP_INDEX_URL
RUN set -eu; \\
    if [ -s /build/host-ca.crt ]; then export PIP_CERT=/build/host-ca.crt; fi; \\
    export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 \\
        PYTHONPATH=/more/lib/python3.11/site-packages; \\
    python3 -m pip freeze >/build/constraints.txt; \\
    python3 -m pip install --prefix /more --no-cache-dir --no-compile --no-deps --timeout 60 \\
        --root-user-action ignore --no-warn-script-location \\
        -c /build/constraints.txt -r /build/packages.txt; \\
    mkdir -p /more/lib; \\
    python3 -m pip check; \\
    find /more/lib -type d -name tests -prune -exec rm -r {} +; \\
    python3 -W ignore -m compileall -q -j 0 --invalidation-mode unchecked-hash \\
        -s /more -p /opt/venv /more/lib
FROM $1
COPY --from=packages /more /opt/venv
EOF
}

# What comes after the Dockerfile goes to `docker build`.
build_image() {
    local image=$1 wanted=$2 context=$3 dockerfile=$4
    shift 4
    local build_arguments=() proxy index
    # The build shall reach the package indexes that this host reaches, and nothing of how shall
    # remain. The host's CAs, among them a TLS-inspecting proxy's, and its index stay in the stage
    # that installs; Docker keeps arguments of the proxies' names out of the image's history.
    local ca=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
    [ ! -s "$ca" ] || cp "$ca" "$context/host-ca.crt"
    for proxy in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!proxy:-}" ] || build_arguments+=(--build-arg "$proxy")
    done
    if [ -z "${http_proxy:-}" ] && command -v apt-config >/dev/null; then
        proxy=$(apt-config dump --no-empty --format '%v' Acquire::http::Proxy)
        [ -z "$proxy" ] || [ "$proxy" = DIRECT ] || build_arguments+=(--build-arg "http_proxy=$proxy")
    fi
    index=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
    [ -z "$index" ] || build_arguments+=(--build-arg "PIP_INDEX_URL=$index")
    [ -z "${NPM_CONFIG_REGISTRY:-}" ] || build_arguments+=(--build-arg NPM_CONFIG_REGISTRY)
    # What runs in it, for who does not want to start it.
    build_arguments+=(--label "$RUNNER_LABEL=$(runner_version)")
    # The classic builder is the one that every engine has; newer ones ignore the variable.
    if ! DOCKER_BUILDKIT=0 docker build --network host --force-rm "${build_arguments[@]}" "$@" \
        --label "$INPUTS_LABEL=$wanted" --tag "$image" --file "$dockerfile" "$context" \
        >var/log/image.log 2>&1; then
        rm -rf "$context"
        tail -n 30 var/log/image.log >&2
        fail "the sandbox image could not be built, see var/log/image.log"
    fi
    rm -rf "$context"
    # Those of earlier versions, unless containers still run from them. A further one has the same
    # name in each version, and may have run for nobody for long: only what has lost its name.
    docker image prune --all --force --filter label=$INPUTS_LABEL --filter "label!=$FURTHER_LABEL" \
        --filter until=720h >/dev/null
    docker image prune --force --filter label=$FURTHER_LABEL --filter until=720h >/dev/null
}
