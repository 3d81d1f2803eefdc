#!/bin/sh
# Runs a command as the user whom the tokens belong to, so that it can read them: they are for
# their owner alone. Directories that it writes to, and that Docker had to make, are given to it.
#
# Nothing is served as root. If the tokens are root's, the command runs as clerk, who may read
# what root may read, and no more.
set -eu

if [ "$(id -u)" -ne 0 ]; then
    exec "$@" # somebody has chosen the user
fi

tokens=${AUTH_TOKENS_FILE:-tokens.json}
[ -e "$tokens" ] || tokens=$(dirname "$tokens")
uid=$(stat -Lc %u "$tokens" 2>/dev/null || echo 0)
gid=$(stat -Lc %g "$tokens" 2>/dev/null || echo 0)
reading=
if [ "$uid" -eq 0 ]; then
    uid=1000 gid=1000
    reading="--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
    # Docker has to allow it: cap_add: [DAC_READ_SEARCH].
    # shellcheck disable=SC2086
    setpriv $reading true 2>/dev/null || reading=
fi

for directory in ${WRITABLE:-}; do
    if [ "$(stat -c %u "$directory" 2>/dev/null)" = 0 ]; then
        chown "$uid:$gid" "$directory" || : # what needs it will tell
    fi
done

# shellcheck disable=SC2086
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs $reading "$@"
