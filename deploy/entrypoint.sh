#!/bin/sh
# Runs a command as the user whom the tokens belong to, so that it can read them: they are for
# their owner alone. Directories that it writes to, and that Docker had to make, are given to it.
#
# Nothing is served as root. Where the tokens are root's, it is the owner of their directory, or
# else user 1000; tokens that this user cannot read are refused, with the command that helps.
set -eu

if [ "$(id -u)" -ne 0 ]; then
    exec "$@" # somebody has chosen the user
fi

tokens=${AUTH_TOKENS_FILE:-tokens.json}
uid=0
for place in "$tokens" "$(dirname "$tokens")"; do
    if [ "$uid" -eq 0 ]; then
        uid=$(stat -Lc %u "$place" 2>/dev/null || echo 0)
        gid=$(stat -Lc %g "$place" 2>/dev/null || echo 0)
    fi
done
[ "$uid" -ne 0 ] || { uid=1000 gid=1000; }

as_user() {
    setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs "$@"
}

# shellcheck disable=SC2016
if ! as_user sh -c '[ ! -e "$0" ] || [ -r "$0" ]' "$tokens"; then
    name=$(basename "$tokens")
    echo "as-clerk: user $uid cannot read $name, and nothing is served as root: on the host, in the" \
        "directory of $name, run: chown $uid $name" >&2
    exit 7
fi

for directory in ${WRITABLE:-}; do
    if [ "$(stat -c %u "$directory" 2>/dev/null)" = 0 ]; then
        chown "$uid:$gid" "$directory" || : # what needs it will tell
    fi
done

exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs "$@"
