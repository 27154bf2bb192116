# containerd with its shim io.containerd.runc.v2.
needs containerd ctr containerd-shim-runc-v2 script
make_image

mkdir "$PLACE/containerd"
cat >"$PLACE/containerd/config.toml" <<END
version = 2
root = "$PLACE/containerd/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/containerd.sock"
END
# What names no binary of its own runs on the `runc` that the shim finds.
mkdir "$PLACE/path"
ln -s "$BINARY" "$PLACE/path/runc"
PATH=$PLACE/path:$PATH containerd --config "$PLACE/containerd/config.toml" >"$PLACE/containerd/log" 2>&1 &
wait_for ctr version || { tail -n 5 "$PLACE/containerd/log"; not_ok "containerd starts" "it doesn't answer"; total; exit 1; }

export IMAGE CONTAINERD_SNAPSHOTTER=native RUN_OPTIONS="--runtime io.containerd.runc.v2 --runc-binary $BINARY"
# once OPTIONS… -- COMMAND…: a container for one command.
once() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    ctr run --rm $RUN_OPTIONS "${options[@]}" "$IMAGE" "once-$BASHPID" "$@"
}
# A container NAME that stays, says so, and ends with 9 at SIGTERM.
stays() { # NAME OPTIONS…
    ctr run -d $RUN_OPTIONS --log-uri "file://$PLACE/$1.log" "${@:2}" "$IMAGE" "$1" \
        sh -c 'trap "exit 9" TERM; trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done'
}
proc_status() { once "${@:2}" -- grep "^$1:" /proc/self/status; }
status_of() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
# Its task's exit status, after it has ended by itself.
ended() {
    local tries
    for tries in {1..50}; do
        [ "$(status_of "$1")" = STOPPED ] && break
        sleep 0.1
    done
    ctr task delete "$1" # warns of a status that isn't 0
    ctr container delete "$1"
}
export -f once stays proc_status status_of ended

prints "import an image" '' ctr image import --no-unpack=false "$PLACE/image.tar"
[ $status = 0 ] || prints "import an image, older form" '' ctr image import "$PLACE/image.tar"

# Exit statuses, output, terminals
prints "run prints" '^hi$' once -- echo hi
expect "run: status 0" 0 '^$' once -- true
expect "run: status 1" 1 '' once -- false
expect "run: status 42" 42 '' once -- sh -c 'exit 42'
expect "run: no such program" fail '(executable file .*not found|[Nn]o such file)' once -- nonesuch
expect "run: no such program by path" fail '[Nn]o such file' once -- /bin/nonesuch
expect "run: not executable" fail '[Pp]ermission denied' once -- /etc/passwd
prints "run: stderr arrives" '^oops$' once -- sh -c 'echo oops >&2'
# ctr run of this age does not pass on the end of its input.
stdin() { echo through | once -- head -n 1; }
export -f stdin
prints "run passes stdin" '^through$' stdin
prints "run --null-io" '^$' once --null-io -- echo hi
expect "run -t: a terminal, its size, its status" 7 '/dev/.*40 100' \
    at_terminal ctr run --rm -t $RUN_OPTIONS "$IMAGE" terminal sh -c 'tty; until stty size | grep "40 100"; do sleep 0.1; done; sleep 0.5; exit 7'
expect "run -t: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' ctr run --rm -t $RUN_OPTIONS "$IMAGE" shell sh

# A task's life
prints "run -d" '' stays one --label probe=1 --pid-file "$PLACE/one.pid"
await "its log" '^started$' cat "$PLACE/one.log"
prints "task ls" 'one +[0-9]+ +RUNNING' ctr task ls
prints "the pid file" '^sh' bash -c 'tr "\0" " " </proc/$(cat $PLACE/one.pid)/cmdline'
prints "container info: the label" '"probe": "1"' ctr container info one
prints "container info: the spec" '"ociVersion"' ctr container info --spec one
prints "task ps" 'PID.*[0-9]+' ctr task ps one
prints "task ps names the first process" '' bash -c 'ctr task ps one | grep -qw "$(cat $PLACE/one.pid)"'
prints "task metrics" '(memory|pids)' ctr task metrics one
prints "task metrics: json" '"(pids|memory|usage)"' ctr task metrics --format json one
prints "exec" '^hi$' ctr task exec --exec-id e1 one echo hi
expect "exec: status" 42 '' ctr task exec --exec-id e2 one sh -c 'exit 42'
expect "exec: no such program" fail '(executable file .*not found|[Nn]o such file)' ctr task exec --exec-id e3 one nonesuch
expect "exec: not executable" fail '[Pp]ermission denied' ctr task exec --exec-id e4 one /etc/passwd
expect "exec -t" 5 '/dev/' at_terminal ctr task exec -t --exec-id e5 one sh -c 'tty; sleep 0.5; exit 5'
expect "exec -t: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' ctr task exec -t --exec-id e6 one sh
prints "exec --cwd" '^/tmp$' ctr task exec --exec-id e7 --cwd /tmp one pwd
prints "exec --user" '^1000$' ctr task exec --exec-id e8 --user 1000 one id -u
exec_stdin() { echo through | ctr task exec --exec-id e9 one cat; }
export -f exec_stdin
prints "exec passes stdin" '^through$' exec_stdin
prints "exec -d" '' ctr task exec -d --exec-id e10 one sh -c 'echo done >/tmp/detached; sleep 20'
await "exec -d has run" '^done$' ctr task exec --exec-id e11 one cat /tmp/detached
prints "task ps shows the exec" '.*e10|[0-9]+.*[0-9]+' ctr task ps one
prints "kill --exec-id" '' ctr task kill --exec-id e10 -s KILL one
await "delete --exec-id" '' bash -c 'ctr task delete --exec-id e10 one; [ $? = 137 ]'
expect "exec of an id twice" fail 'already exists' bash -c 'ctr task exec -d --exec-id e12 one sleep 20; ctr task exec --exec-id e12 one true'
prints "pause" '' ctr task pause one
prints "paused" '^PAUSED$' status_of one
expect "exec in a paused task" fail 'paused|exec' ctr task exec --exec-id e13 one true
prints "resume" '' ctr task resume one
prints "running again" '^RUNNING$' status_of one
prints "kill -s USR1" '' ctr task kill -s USR1 one
await "the signal has arrived" 'usr1' cat "$PLACE/one.log"
expect "delete of a running task" fail 'running|not stopped' ctr task delete one
prints "kill: SIGTERM" '' ctr task kill one
prints "its status" 'exit code 9' ended one
expect "exec in what is gone" fail 'not found' ctr task exec --exec-id e14 one true
prints "kill -s KILL, --all" '' bash -c 'stays two && ctr task kill -a -s KILL two'
prints "its status after KILL" 'exit code 137' ended two
prints "delete --force of a running task" '' bash -c 'stays three && ctr task delete --force three; ctr container delete three'
expect "kill of what has ended" fail 'not found|already finished|not running' bash -c 'ctr run -d $RUN_OPTIONS $IMAGE short true; sleep 1; ctr task kill -s KILL short; s=$?; ended short; exit $s'
prints "create, start, as the runc on PATH" 'created' bash -c 'ctr container create $IMAGE made echo created && ctr task start made; ctr container delete made'
expect "an id twice" fail 'already exists' bash -c 'stays twice; stays twice; s=$?; ctr task kill -s KILL twice; ended twice; exit $s'
prints "events: create, start, exec, exit, delete, in order" 'create.*start.*exit.*delete' bash -c \
    'ctr events >$PLACE/events & sleep 0.5; once -- true; sleep 0.5; kill $!; grep -o "/tasks/[a-z]*" $PLACE/events | tr "\n" " "'

# Identity
prints "--cwd" '^/tmp$' once --cwd /tmp -- pwd
prints "--env" '^bar box$' once --env FOO=bar -- sh -c 'echo $FOO $IMAGE'
prints "--cap-drop" 'CapEff:[[:space:]]00000000a80425f[a]$|CapEff:[[:space:]]0*a80425fa$' proc_status CapEff --cap-drop CAP_CHOWN
prints "--cap-add" 'CapEff:[[:space:]]0*a82425fb$' proc_status CapEff --cap-add CAP_SYS_ADMIN
prints "no_new_privs is on" 'NoNewPrivs:[[:space:]]1' proc_status NoNewPrivs
prints "--allow-new-privs" 'NoNewPrivs:[[:space:]]0' proc_status NoNewPrivs --allow-new-privs
prints "--seccomp" 'Seccomp:[[:space:]]2' proc_status Seccomp --seccomp
prints "without --seccomp" 'Seccomp:[[:space:]]0' proc_status Seccomp
cat >"$PLACE/nomkdir.json" <<'END'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
END
expect "--seccomp-profile" 1 'No space left' once --seccomp --seccomp-profile "$PLACE/nomkdir.json" -- mkdir /x
prints "--privileged" 'CapEff:[[:space:]]000001ff' proc_status CapEff --privileged
prints "--uidmap, --gidmap" '0 +100000 +1000' once --uidmap 0:100000:1000 --gidmap 0:100000:1000 -- cat /proc/self/uid_map

# Namespaces and files
prints "--net-host" '' bash -c 'a=$(once --net-host -- readlink /proc/self/ns/net) && b=$(readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "--with-ns" '' bash -c 'a=$(once --with-ns ipc:/proc/1/ns/ipc -- readlink /proc/self/ns/ipc) && b=$(readlink /proc/self/ns/ipc) && [ "$a" = "$b" ]'
prints "--with-ns pid" '^inside' once --with-ns pid:/proc/1/ns/pid -- sh -c "tr '\0' ' ' </proc/1/cmdline | sed 's/.*inside.*/inside/'"
expect "--read-only" 1 'Read-only file system' once --read-only -- touch /x
mkdir "$PLACE/shared"
echo content >"$PLACE/shared/file"
prints "--mount bind" '^content$' once --mount "type=bind,src=$PLACE/shared,dst=/mnt,options=rbind:rw" -- cat /mnt/file
expect "--mount bind, ro" 1 'Read-only file system' once --mount "type=bind,src=$PLACE/shared,dst=/mnt,options=rbind:ro" -- touch /mnt/x
prints "--mount tmpfs" 'tmpfs.*size=1024k' once --mount type=tmpfs,src=tmpfs,dst=/scratch,options=size=1m -- grep ' /scratch ' /proc/mounts
expect "--mount of what isn't there" fail '[Nn]o such file' once --mount "type=bind,src=$PLACE/nonesuch,dst=/mnt,options=rbind:ro" -- true
prints "--device" '^4$' once --device /dev/loop-control -- sh -c 'test -c /dev/loop-control; head -c 4 /dev/zero | wc -c'
prints "--rootfs" '^bare$' bash -c 'mkdir -p $PLACE/bare && tar -C $PLACE/bare -xf $PLACE/image/layer.tar && ctr run --rm $RUN_OPTIONS --rootfs $PLACE/bare bare /bin/echo bare'
prints "--no-pivot" '^hi$' once --no-pivot -- echo hi
prints "masked paths" '^0$' once -- sh -c 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c'
prints "the usual devices" '' once -- sh -c 'for d in null zero full random urandom tty; do test -c /dev/$d || exit; done'
prints "--config" '^from a file$' bash -c 'ctr run -d $RUN_OPTIONS --rootfs $PLACE/bare spec /bin/true; ctr container info --spec spec | jq ".process.args = [\"/bin/echo\", \"from a file\"]" >$PLACE/spec.json; ended spec >/dev/null; ctr run --rm $RUN_OPTIONS --config $PLACE/spec.json spec'

# Limits
prints "--memory-limit" '^67108864' once --memory-limit 67108864 --mount type=bind,src=/sys/fs/cgroup,dst=/cg,options=rbind:ro --cgroup /limited -- \
    sh -c 'cat /cg/memory/limited/memory.limit_in_bytes /cg/limited/memory.max 2>/dev/null; true'
expect "--memory-limit: the OOM killer" 137 '' once --memory-limit 33554432 --mount type=tmpfs,src=tmpfs,dst=/big,options=size=1g -- dd if=/dev/zero of=/big/x bs=1M count=64
prints "events: oom" 'oom' bash -c \
    'ctr events >$PLACE/oom & sleep 0.5; once --memory-limit 33554432 --mount type=tmpfs,src=tmpfs,dst=/big,options=size=1g -- sh -c "dd if=/dev/zero of=/big/x bs=1M count=64; sleep 1"; sleep 0.5; kill $!; grep -o "/tasks/[a-z]*" $PLACE/oom | tr "\n" " "'
prints "--cpus" '^50000' once --cpus 0.5 --mount type=bind,src=/sys/fs/cgroup,dst=/cg,options=rbind:ro --cgroup /limited -- \
    sh -c 'cat /cg/cpu/limited/cpu.cfs_quota_us /cg/limited/cpu.max 2>/dev/null; true'
prints "--cgroup '' and none is made" '' once --cgroup '' -- true

# What stays
await "no task stays" '^TASK +PID +STATUS *$' ctr task ls
holds "no shim stays" nothing_runs containerd-shim containerd-shim-runc-v2 "${BINARY##*/}"
prints "no state of the runtime stays" '^$' bash -c 'ls -A /run/containerd/runc/default 2>/dev/null; true'
prints "no cgroup stays" '^$' bash -c "cgroups_left | grep -vE '/default\$'; true"
kill %1
wait
total
