#!/bin/sh
# The configuration that coturn starts with, on stdout: turnserver.conf, and what is known only where it runs.
#   LISTEN          addresses to listen on, the first also to relay from
#   ALLOWED_PEERS   addresses, or ranges like 10.244.0.0-10.244.255.255, that a relay may lead to
#   SECRET_FILE     the secret that edges share (peer.turn.secret); while it is changed the old one too, each in a line
#   STATE           a folder that can be written to
#   TLS             a folder with tls.crt and tls.key; where they are missing there is no TLS
set -eu
cat "$(dirname "$0")/turnserver.conf"
for address in $LISTEN; do
    echo "listening-ip=$address"
done
echo "relay-ip=${LISTEN%% *}"
echo "prometheus-address=${LISTEN%% *}"
for peers in $ALLOWED_PEERS; do
    echo "allowed-peer-ip=$peers"
done
if [ -s "$TLS/tls.crt" ]; then
    printf 'cert=%s\npkey=%s\n' "$TLS/tls.crt" "$TLS/tls.key"
else
    printf 'no-tls\nno-dtls\n'
fi
printf 'pidfile=%s\nuserdb=%s\n' "$STATE/turnserver.pid" "$STATE/turndb"
[ -s "$SECRET_FILE" ] || { echo "render.sh: expected a secret in $SECRET_FILE, got none" >&2; exit 1; }
sed -n 's/^\([^[:space:]][^[:space:]]*\)$/static-auth-secret=\1/p' "$SECRET_FILE"
