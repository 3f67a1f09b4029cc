#!/bin/sh
# Builds the image and runs it, where a container engine works; exit status 77 where none does (that is no failure), and
# says why. Run from the root of the checkout.
set -eu

engine=
for candidate in docker podman; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    if [ "$candidate" = docker ]; then # the client alone is no engine
        timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || continue
    else
        timeout 20 podman info >/dev/null 2>&1 || continue
    fi
    engine=$candidate
    break
done
[ -n "$engine" ] || { echo "no container engine answers here: neither docker nor podman"; exit 77; }
timeout 300 "$engine" pull -q debian:bookworm-slim >/dev/null 2>&1 ||
    { echo "$engine works, but can't fetch debian:bookworm-slim"; exit 77; }

image=sluice-test:$$
name=sluice-test-$$
dir=$(mktemp -d)
clean() {
    "$engine" rm -f "$name" >/dev/null 2>&1 || true
    "$engine" rmi -f "$image" >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap clean EXIT
fail() {
    echo "with_engine.sh: $*" >&2
    "$engine" logs "$name" >&2 2>/dev/null || true
    exit 1
}

"$engine" build -q -f docker/Dockerfile -t "$image" . >/dev/null
size() { "$engine" image inspect --format '{{.Size}}' "$1"; }
added=$(($(size "$image") - $(size debian:bookworm-slim)))
echo "the image adds $added bytes to debian:bookworm-slim"
[ "$added" -le 15000000 ] || fail "that is more than 15 MB"

cat >"$dir/sluice.yaml" <<'YAML'
broker:
  url: mqtt://127.0.0.1:1883
routes:
  - topic: "#"
YAML
chmod -R a+rX "$dir"
"$engine" run -d --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges \
    -v "$dir/sluice.yaml:/etc/sluice/sluice.yaml:ro" "$image" >/dev/null
tries=0
until "$engine" exec "$name" /usr/bin/sluice healthcheck 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "it does not become healthy"
    sleep 0.2
done
[ "$("$engine" inspect --format '{{.Config.User}}' "$name")" = 65532:65532 ] || fail "it does not run as 65532"
"$engine" stop -t 10 "$name" >/dev/null
status=$("$engine" inspect --format '{{.State.ExitCode}}' "$name")
[ "$status" = 0 ] || fail "stopping gives exit status $status"
echo "built and run by $engine: read-only, without capabilities, healthy, stopped with exit status 0"
