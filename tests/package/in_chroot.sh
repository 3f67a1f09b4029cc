#!/bin/sh
# in_chroot.sh SUITE [WORK]: on a Debian of its own (bookworm, trixie), made by debootstrap: builds the committed tree with
# warnings as errors, runs the unit tests and most integration tests, makes the package, and in a second, bare Debian
# installs, upgrades, removes and purges it, each with a look at what is there afterwards; with systemd in it too, the unit
# is started, reloaded and stopped by a real systemd. Needs root and debootstrap; takes about ten minutes; no part of CI.
# shellcheck disable=SC2016 # what stands in single quotes is for the shell inside
set -eu
suite=${1:?bookworm or trixie}
work=${2:-/tmp/sluice-$suite}
cd "$(dirname "$0")/../.."
mkdir -p "$work"
say() { echo "== $*"; }
die() { echo "in_chroot.sh: $*" >&2; exit 1; }

if [ ! -e "$work/base/etc/debian_version" ]; then
    say "debootstrap $suite"
    debootstrap --variant=minbase "$suite" "$work/base" >"$work/debootstrap.log" 2>&1
    printf '#!/bin/sh\nexit 101\n' >"$work/base/usr/sbin/policy-rc.d" # servers are for tests to start
    chmod +x "$work/base/usr/sbin/policy-rc.d"
fi

inside() { # tree, command
    tree=$1
    shift
    chroot "$tree" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive sh -euc "$*"
}
mounted() { # tree, command: with /proc and /dev, in a mount namespace that ends with it
    tree=$1
    shift
    unshare --mount --pid --fork --kill-child sh -euc "
        mount -t proc proc '$tree/proc'; mount --rbind /dev '$tree/dev'
        exec chroot '$tree' env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -euc \"\$1\"
    " sh "$*"
}

build=$work/build
if [ ! -d "$build" ]; then
    cp -a "$work/base" "$build"
fi
packages=$(bash -c 'eval "$(sed -n "/^PACKAGES_/,/)/p" dev)"; echo "${PACKAGES_BUILD[@]} ${PACKAGES_UP[@]} ${PACKAGES_TEST[@]}"' |
    tr ' ' '\n' | grep -vE '^(clang|llvm|libclang|chromium|docker-compose)' | tr '\n' ' ')
say "packages: $packages"
inside "$build" "apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1"
rm -rf "$build/src"
mkdir "$build/src"
git archive HEAD | tar -x -C "$build/src"
say "build with $(inside "$build" 'gcc -dumpfullversion; dpkg-query -W -f "\${Package} \${Version}  " libwebsockets-dev libmosquitto-dev' | tr '\n' ' ')"
mounted "$build" 'cd /src && mkdir -p build && for preset in release dev; do
    cmake --preset $preset >/dev/null && cmake --build --preset $preset >build/$preset.log || { tail -30 build/$preset.log; exit 1; }; done'
say "unit tests"
mounted "$build" 'cd /src && ctest --preset dev >build/ctest.log || { tail -60 build/ctest.log; exit 1; }; grep "tests passed" build/ctest.log'
say "integration tests"
mounted "$build" "cd /src && SLUICE_BINARY=/src/build/release/sluice python3 -m pytest -q -p no:cacheprovider tests/integration \
    --ignore tests/integration/test_docker.py ${PYTEST_ARGS:-} >build/pytest.log || { tail -60 build/pytest.log; exit 1; }; tail -1 build/pytest.log"
say "package"
mounted "$build" 'cd /src && cpack -G DEB -B build/package --config build/release/CPackConfig.cmake >/dev/null && lintian --allow-root --fail-on error build/package/*.deb'

tree=$work/install
rm -rf "$tree"
cp -a "$work/base" "$tree"
cp "$build"/src/build/package/*.deb "$tree/tmp/"
say "install"
inside "$tree" 'apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd systemd-sysv mosquitto >/dev/null 2>&1'
inside "$tree" 'find / -xdev \( -path /proc -o -path /tmp -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log \) -prune -o -print | sort >/tmp/before'
inside "$tree" 'apt-get install -y -qq --no-install-recommends /tmp/sluice_*.deb >/dev/null 2>&1
    getent passwd sluice; ls -l /etc/sluice/sluice.yaml; sluice --version; sluice check /etc/sluice/sluice.yaml
    [ "$(stat -c %U:%G:%a /etc/sluice/sluice.yaml)" = root:sluice:640 ]
    [ -L /etc/systemd/system/multi-user.target.wants/sluice.service ]
    setpriv --reuid sluice --regid sluice --clear-groups sluice check /etc/sluice/sluice.yaml'

say "under systemd"
rm -f "$tree/usr/sbin/policy-rc.d" # from here on services start and stop as they do for anybody
cat >"$tree/usr/local/sbin/try-sluice" <<'TRY'
#!/bin/sh
# Run by systemd in the chroot; what it prints is the result.
exec >/try.log 2>&1
set -ux
systemctl start mosquitto || exit 1
systemctl start sluice || { journalctl -u sluice --no-pager | tail -20; exit 1; }
[ "$(systemctl show -P ActiveState sluice)" = active ] || exit 1
[ "$(systemctl show -P StatusText sluice)" = running ] || exit 1
sluice healthcheck || exit 1
grep -E '^(Uid|NoNewPrivs|Seccomp|CapBnd):' /proc/$(systemctl show -P MainPID sluice)/status
[ "$(stat -c %U /proc/$(systemctl show -P MainPID sluice))" = sluice ] || exit 1
journalctl -u sluice --no-pager | grep -E "can't|no filter" && exit 1 # nothing that the sandbox wants is refused by the unit's
echo '# changed' >>/etc/sluice/sluice.yaml
systemctl reload sluice || exit 1
tries=0
until journalctl -u sluice --no-pager | grep -q reloaded; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || exit 1
    sleep 0.1
done
systemctl restart sluice || exit 1
systemctl stop sluice || exit 1
[ "$(systemctl show -P Result sluice)" = success ] || exit 1
[ "$(systemctl show -P ExecMainStatus sluice)" = 0 ] || exit 1
echo 'nonsense: 1' >>/etc/sluice/sluice.yaml
systemctl start sluice && exit 1
[ "$(systemctl show -P ExecMainStatus sluice)" = 2 ] || exit 1
[ "$(systemctl show -P NRestarts sluice)" = 0 ] || exit 1
journalctl -u sluice --no-pager | grep 'nonsense: unknown key' || exit 1
sed -i '/nonsense/d' /etc/sluice/sluice.yaml
systemctl reset-failed sluice
systemctl start sluice || exit 1
dpkg -r sluice || exit 1
systemctl is-active sluice && exit 1
echo all well
TRY
chmod +x "$tree/usr/local/sbin/try-sluice"
printf '[Unit]\nDefaultDependencies=no\nAfter=dbus.socket systemd-journald.socket\n[Service]\nType=oneshot\nExecStart=/usr/local/sbin/try-sluice\nExecStopPost=/bin/systemctl exit\nTimeoutStartSec=120\n' \
    >"$tree/etc/systemd/system/try-sluice.service"
if command -v systemd-nspawn >/dev/null; then
    timeout 200 systemd-nspawn -q --register=no --keep-unit -D "$tree" --boot systemd.unit=try-sluice.service >"$work/boot.log" 2>&1 || true
    tail -3 "$tree/try.log" 2>/dev/null || die "systemd did not come up, see $work/boot.log"
    [ "$(tail -1 "$tree/try.log")" = "all well" ] || die "see $tree/try.log"
else
    say "skipped: there is no systemd-nspawn (package systemd-container)"
    inside "$tree" 'dpkg -r sluice >/dev/null 2>&1'
fi

say "removed, installed again, purged"
inside "$tree" '[ ! -e /usr/bin/sluice ] && [ -e /etc/sluice/sluice.yaml ]
    echo "# mine" >>/etc/sluice/sluice.yaml
    dpkg -i /tmp/sluice_*.deb >/dev/null 2>&1; grep -q "# mine" /etc/sluice/sluice.yaml
    dpkg -i /tmp/sluice_*.deb >/dev/null 2>&1; grep -q "# mine" /etc/sluice/sluice.yaml
    [ "$(stat -c %U:%G:%a /etc/sluice/sluice.yaml)" = root:sluice:640 ]
    dpkg -P sluice >/dev/null 2>&1
    ! getent passwd sluice && [ ! -e /etc/sluice ] && [ ! -e /var/lib/sluice ]'
say "what is left behind"
inside "$tree" 'find / -xdev \( -path /proc -o -path /tmp -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log \) -prune -o -print | sort |
    comm -13 /tmp/before - | grep -i sluice | grep -v try-sluice && exit 1 || echo nothing'
say "all passed on $suite"
