#!/usr/bin/env bash
# Allows unprivileged user namespaces where AppArmor forbids them (Ubuntu 24.04), and says which isolation a run gets here.
#
# In: MAESTRO_ACTION_BIN, _DIRECTORY; MAESTRO_CI_PRD, _CONFIG, _ALLOW_UNSANDBOXED as for the run. Never fails the job: what
# cannot be had is said, and the run decides by `sandbox.require`.
set -euo pipefail

say() { printf 'maestro-ci action: %s\n' "$*"; }

key=kernel.apparmor_restrict_unprivileged_userns
restricted=$(sysctl -n "$key" 2> /dev/null || true)
case $restricted in
    1)
        if sudo -n sysctl -q -w "$key=0"; then
            say "$key was 1 and is $(sysctl -n "$key") now"
        else
            say "$key is 1 and could not be changed: sudo without a password is needed"
        fi
        ;;
    0) say "$key is 0 already" ;;
    *) say "this kernel has no $key; nothing had to be changed" ;;
esac
if command -v unshare > /dev/null && unshare --user --map-root-user true 2> /dev/null; then
    say "user namespaces: available"
else
    say "user namespaces: not available"
fi

cd -- "${MAESTRO_ACTION_DIRECTORY:-.}" 2> /dev/null || exit 0
# A command stands in for the agent, so that nothing is started but the program itself.
level=$(MAESTRO_CI_AGENT='' MAESTRO_CI_MODEL='' "${MAESTRO_ACTION_BIN:?}" check --agent-cmd true 2> /dev/null \
    | sed -n 's/^isolation *//p' || true)
say "isolation: ${level:-not known, since the PRD or the configuration cannot be read}"
