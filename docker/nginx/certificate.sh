#!/bin/sh
# Runs before nginx starts (the image runs what is in /docker-entrypoint.d): a certificate for trying things out, signed
# by itself, if there is none. Put your own sluice.crt and sluice.key into the volume nginx-certificates instead.
set -eu
dir=${CERTIFICATES:-/etc/nginx/certificates}
[ -s "$dir/sluice.crt" ] && [ -s "$dir/sluice.key" ] && exit 0
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
    -keyout "$dir/sluice.key.new" -out "$dir/sluice.crt.new" \
    -subj "/CN=${SERVER_NAME:-localhost}" -addext "subjectAltName=DNS:${SERVER_NAME:-localhost},IP:127.0.0.1" 2>/dev/null
mv "$dir/sluice.key.new" "$dir/sluice.key"
mv "$dir/sluice.crt.new" "$dir/sluice.crt"
echo "certificate.sh: made a certificate for ${SERVER_NAME:-localhost}; it is signed by itself"
