# What the clients' checks share: sourced by `inside`. BINARY is the runtime under test,
# PLACE a directory that is removed afterwards.

# script(1) gives what it runs to this shell, and another than bash has no exported functions.
SHELL=$(command -v bash)
export BINARY PLACE SHELL

passed=0 failures=0 skipped=0
patience=20 # seconds for any one command

ok() {
    echo "ok $1"
    passed=$((passed + 1))
}

not_ok() { # NAME WHY
    echo "not ok $1: $2"
    failures=$((failures + 1))
}

skip() { # NAME WHY
    echo "skip $1: $2"
    skipped=$((skipped + 1))
}

# Without this line the client's script has stopped half-way.
total() {
    echo "$client: $passed ok, $failures not ok, $skipped skipped"
    [ $failures = 0 ]
}

# Ends the script, loudly and without failing, where a program isn't installed.
needs() {
    local program missing=()
    for program; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    skip "$client" "not installed here: ${missing[*]}"
    total
    exit
}

# Runs COMMAND (a program or an exported function) with a time limit; sets `status` and `output` (both streams, no \r).
try() {
    local began=$SECONDS
    status=0
    # KILL, since it reaches the whole process group at once and can't be caught.
    output=$(timeout --signal=KILL $patience bash -c '"$@"' try "$@" 2>&1 </dev/null) || status=$?
    output=${output//$'\r'/}
    [ $((SECONDS - began)) -lt $patience ] || status=timeout
}

judge() { # NAME STATUS REGEX COMMAND…
    local name=$1 want=$2 regex=$3
    shift 3
    local said=${output//$'\n'/ | }
    [ ${#said} -le 600 ] || said="${said:0:300} … ${said: -300}"
    if [ $status = timeout ]; then
        not_ok "$name" "no end after $patience s: $*"
    elif case $want in any) false ;; fail) [ $status = 0 ] ;; *) ! [[ $status =~ ^($want)$ ]] ;; esac then
        not_ok "$name" "status $status, not $want: $* — $said"
    elif ! [[ $output =~ $regex ]]; then
        not_ok "$name" "«$said» doesn't match «$regex»: $*"
    else
        ok "$name"
    fi
}

# expect NAME STATUS REGEX COMMAND…: STATUS is a number, several with | between, `fail` or `any`; REGEX is matched
# against all of the output, in which a line's end is an ordinary character.
expect() {
    local name=$1 want=$2 regex=$3
    shift 3
    try "$@"
    judge "$name" "$want" "$regex" "$@"
}

# prints NAME REGEX COMMAND…: it succeeds and says this.
prints() {
    expect "$1" 0 "${@:2}"
}

# await NAME REGEX COMMAND…: asks again for some seconds until it says this.
await() {
    local name=$1 regex=$2 asked
    shift 2
    for asked in {1..50}; do
        try "$@"
        [ $status = 0 ] && [[ $output =~ $regex ]] && break
        sleep 0.2
    done
    judge "$name" 0 "$regex" "$@"
}

# holds NAME COMMAND…: a condition.
holds() {
    expect "$1" 0 "" "${@:2}"
}

# Whether the machine lets root have every capability; no runtime can give more.
all_capabilities() {
    local bounding
    bounding=$(awk '/^CapBnd/ { print $2 }' /proc/self/status)
    ((0x$bounding == (1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1))
}

# Something for a check that a later check needs; says what went wrong.
prepare() {
    try "$@"
    [ $status = 0 ] || echo "# status $status: $* — ${output//$'\n'/ | }"
}

# at_terminal COMMAND…: with a pseudo-terminal of 40 rows and 100 columns as its own. What a
# process says at its very end may get lost on the way from a terminal, with any runtime.
at_terminal() {
    script -qec "stty rows 40 cols 100; $(printf '%q ' "$@")" /dev/null
}

# types INPUT COMMAND…: the same, and somebody types INPUT once the output holds a prompt.
types() {
    local input=$1 seen=$PLACE/typed.$BASHPID tries
    shift
    : >"$seen"
    {
        for tries in {1..100}; do
            ! grep -q '[#$] ' "$seen" || break
            sleep 0.1
        done
        printf '%b' "$input"
        sleep 1
    } | script -qefc "$(printf '%q ' "$@")" /dev/null | tee "$seen"
    return "${PIPESTATUS[1]}"
}
export -f at_terminal types

# The image of all clients, as an archive that podman, containerd and Docker load alike.
make_image() {
    local dir=$PLACE/image layer
    mkdir -p "$dir"
    tar -C "$here/../../rootfs" --exclude=./build.sh --exclude=./.gitignore \
        --owner=0 --group=0 --numeric-owner -cf "$dir/layer.tar" .
    layer=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
    cat >"$dir/config.json" <<END
{"architecture": "$(dpkg --print-architecture 2>/dev/null || echo amd64)", "os": "linux",
 "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "IMAGE=box"], "Cmd": ["/bin/sh"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}, "history": [{"created_by": "box"}]}
END
    cat >"$dir/manifest.json" <<END
[{"Config": "config.json", "RepoTags": ["$IMAGE"], "Layers": ["layer.tar"]}]
END
    tar -C "$dir" -cf "$PLACE/image.tar" manifest.json config.json layer.tar
}
IMAGE=localhost/box:1

# Waits until COMMAND succeeds; for an engine's start.
wait_for() {
    local tries
    for tries in {1..150}; do
        ! timeout 5 "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    return 1
}

# nothing_runs NAME…: no process of these names is left, waiting a little for those that end.
nothing_runs() {
    local tries left
    for tries in {1..50}; do
        left=$(ps -C "$(IFS=,; echo "$*")" -o pid=,args=) || return 0
        sleep 0.1
    done
    echo "still there: $left"
    return 1
}

# The cgroups that were made below this run's own.
cgroups_left() {
    find /sys/fs/cgroup -mindepth 2 -type d ! -path '*/checks*'
}
export -f nothing_runs cgroups_left

finish() {
    find /sys/fs/cgroup -name freezer.state -exec sh -c 'for f; do echo THAWED >"$f"; done' - {} + 2>/dev/null
    find /sys/fs/cgroup -name cgroup.freeze -exec sh -c 'for f; do echo 0 >"$f"; done' - {} + 2>/dev/null
}
trap finish EXIT
