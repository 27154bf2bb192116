# podman as an ordinary user: with subordinate ids, and without any.
needs podman conmon script newuidmap newgidmap setpriv
make_image

# Users of this run alone: the host's lists are covered by copies.
for file in passwd group subuid subgid; do
    [ -e /etc/$file ] || { skip rootless "there is no /etc/$file"; total; exit; }
    cp /etc/$file "$PLACE/$file"
done
echo 'box-ids:x:54321:54321::/:/bin/sh' >>"$PLACE/passwd"
echo 'box-ids:x:54321:' >>"$PLACE/group"
echo 'box-plain:x:54322:54322::/:/bin/sh' >>"$PLACE/passwd"
echo 'box-plain:x:54322:' >>"$PLACE/group"
echo 'box-ids:700000:65536' | tee -a "$PLACE/subuid" >>"$PLACE/subgid"
for file in passwd group subuid subgid; do
    mount --bind "$PLACE/$file" /etc/$file
done
cat >"$PLACE/containers.conf" <<'END'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=1000:1000"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
USER_HOME=$PLACE/user RUNTIME_DIR=/run/user/54321
mkdir -p "$USER_HOME" $RUNTIME_DIR
chown 54321:54321 "$USER_HOME" $RUNTIME_DIR
chmod 700 $RUNTIME_DIR
cp "$BINARY" "$PLACE/$(basename "$BINARY")"
RUNTIME=$PLACE/$(basename "$BINARY")
export IMAGE RUNTIME USER_HOME RUNTIME_DIR

as_user() {
    setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps=-all \
        env -i "PATH=$PATH" "HOME=$USER_HOME" "XDG_RUNTIME_DIR=$RUNTIME_DIR" TERM=xterm \
        "CONTAINERS_CONF=$PLACE/containers.conf" "IMAGE=$IMAGE" "$@"
}
pod() {
    cd "$USER_HOME" && as_user podman --storage-driver vfs --runtime "$RUNTIME" "$@"
}
once() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    pod run --rm "${options[@]}" "$IMAGE" "$@"
}
stays() { # NAME OPTIONS…
    pod run -d --name "$1" "${@:2}" "$IMAGE" \
        sh -c 'trap "exit 9" TERM; trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done'
}
inspect() { pod inspect --format "$2" "$1"; }
status_of() { inspect "$1" '{{.State.Status}} {{.State.ExitCode}}'; }
proc_status() { once "${@:2}" -- grep "^$1:" /proc/self/status; }
export -f as_user pod once stays inspect status_of proc_status

prints "it is rootless" '^true' pod info --format '{{.Host.Security.Rootless}}'
prints "load an image" 'box:1' pod load -i "$PLACE/image.tar"

# Exit statuses and terminals
prints "run prints" '^hi$' once -- echo hi
expect "run: status 42" 42 '' once -- sh -c 'exit 42'
expect "run: killed by a signal" 143 '' once --init -- sh -c 'kill $$'
expect "run: no such program" 127 '(executable file .*not found|[Nn]o such file)' once -- nonesuch
expect "run: not executable" 126 '[Pp]ermission denied' once -- /etc/passwd
expect "run -it: a terminal, its size, its status" 7 '/dev/.*40 100' \
    at_terminal pod run -it --rm "$IMAGE" sh -c 'tty; until stty size | grep "40 100"; do sleep 0.1; done; sleep 0.5; exit 7'
expect "run -it: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' pod run -it --rm "$IMAGE" sh
stdin() { echo through | once -i -- cat; }
export -f stdin
prints "run -i passes stdin" '^through$' stdin

# A container's life
prints "run -d" '[0-9a-f]{64}$' stays one
await "logs" 'started$' pod logs one
prints "its processes are the user's" '^54321$' bash -c 'stat -c %u /proc/$(inspect one "{{.State.Pid}}")'
prints "ps" 'one Up' pod ps --format '{{.Names}} {{.Status}}'
prints "top" 'sh -c' pod top one
prints "exec" '^hi$' pod exec one echo hi
expect "exec: status" 42 '' pod exec one sh -c 'exit 42'
expect "exec: no such program" 127 '(executable file .*not found|[Nn]o such file)' pod exec one nonesuch
expect "exec: not executable" 126 '[Pp]ermission denied' pod exec one /etc/passwd
expect "exec -it" 5 '/dev/' at_terminal pod exec -it one sh -c 'tty; sleep 0.5; exit 5'
prints "exec -u, -w, -e" '^1000 /tmp bar$' pod exec -u 1000 -w /tmp -e FOO=bar one sh -c 'echo $(id -u) $PWD $FOO'
prints "exec -d" '' pod exec -d one sh -c 'echo done >/tmp/detached'
await "exec -d has run" '^done$' pod exec one cat /tmp/detached
prints "cp" 'netns' bash -c 'pod cp $PLACE/containers.conf one:/tmp/c && pod exec one cat /tmp/c'
prints "kill -s USR1" '' pod kill -s USR1 one
await "the signal has arrived" 'usr1' pod logs one
prints "stop: SIGTERM first" '' pod stop -t 5 one
prints "stopped with the trap's status" 'exited 9$' status_of one
prints "start again" '' pod start one
prints "restart" '' pod restart -t 1 one
prints "kill" '' pod kill one
prints "wait" '^137$' pod wait one
prints "rm" '' pod rm one
prints "create, init, start, wait" '4$' bash -c 'pod create --name made $IMAGE sh -c "exit 4" && pod init made && pod start made && pod wait made; pod rm made >/dev/null'

# Identity and namespaces
prints "root inside is the user outside" '0 +54321 +1' once -- cat /proc/self/uid_map
prints "--user" '^1000 1000$' once --user 1000:1000 -- sh -c 'echo $(id -u) $(id -g)'
prints "--userns keep-id" '^54321$' once --userns keep-id -- id -u
prints "--uidmap" '5 +1 +10' once --uidmap 0:0:1 --uidmap 5:1:10 --gidmap 0:0:1 --gidmap 5:1:10 -- cat /proc/self/uid_map
prints "--group-add keep-groups" '' once --annotation run.oci.keep_original_groups=1 -- true
prints "--hostname" '^box7$' once --hostname box7 -- hostname
prints "--cap-drop all" 'CapBnd:[[:space:]]0{16}$' proc_status CapBnd --cap-drop all
prints "--privileged" 'CapEff:[[:space:]]000001ff' proc_status CapEff --privileged
prints "no-new-privileges" 'NoNewPrivs:[[:space:]]1' proc_status NoNewPrivs --security-opt no-new-privileges
prints "the default seccomp profile" 'Seccomp:[[:space:]]2' proc_status Seccomp
prints "--pid host" '' bash -c 'a=$(once --pid host -- readlink /proc/self/ns/pid) && b=$(readlink /proc/self/ns/pid) && [ "$a" = "$b" ]'
prints "--network host" '' bash -c 'a=$(once --network host -- readlink /proc/self/ns/net) && b=$(readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "--sysctl" '^12345$' once --sysctl kernel.msgmax=12345 -- cat /proc/sys/kernel/msgmax
prints "--ulimit" '^512$' once --ulimit nofile=512:1024 --ulimit nproc=1000:1000 -- sh -c 'ulimit -n'
prints "--oom-score-adj" '^500$' once --oom-score-adj 500 -- cat /proc/self/oom_score_adj

# Files
mkdir "$USER_HOME/shared"
echo content >"$USER_HOME/shared/file"
chown -R 54321:54321 "$USER_HOME/shared"
prints "--volume" '^content$' once -v "$USER_HOME/shared:/mnt" -- cat /mnt/file
prints "--volume: what is written belongs to the user" '^54321$' bash -c 'once -v $USER_HOME/shared:/mnt -- touch /mnt/new && stat -c %u $USER_HOME/shared/new'
expect "--volume ro" 1 'Read-only file system' once -v "$USER_HOME/shared:/mnt:ro" -- touch /mnt/x
prints "--volume U" '^1000$' once --user 1000 -v "$USER_HOME/shared:/mnt:U" -- stat -c %u /mnt/file
prints "a named volume" '^kept$' bash -c 'once -v kept:/data -- sh -c "echo kept >/data/f" && once -v kept:/data -- cat /data/f'
prints "--tmpfs" 'tmpfs.*size=1024k' once --tmpfs /scratch:size=1m -- grep ' /scratch ' /proc/mounts
expect "--read-only" 1 'Read-only file system' once --read-only -- touch /x
prints "the usual devices" '' once -- sh -c 'for d in null zero full random urandom tty; do test -c /dev/$d || exit; done; echo >/dev/null'
prints "--device" '^4$' once --device /dev/zero:/dev/nought -- sh -c 'head -c 4 /dev/nought | wc -c'
expect "a file of another user stays out of reach" 1 'ermission denied' once -v /etc/shadow:/shadow -- cat /shadow
prints "masked paths" '^0$' once -- sh -c 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c'

# PID 1, pods
prints "--init" 'catatonit|podman-init|init' once --init -- sh -c "tr '\0' ' ' </proc/1/cmdline"
prints "a pod" '' bash -c 'pod pod create --name group --network none && stays left --pod group && stays right --pod group'
prints "its containers share a network namespace" '' bash -c 'a=$(pod exec left readlink /proc/self/ns/net) && b=$(pod exec right readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "pod stop, start, rm" '' bash -c 'pod pod stop -t 1 group && pod pod start group && pod pod rm -f -t 0 group'

# A user without subordinate ids has one id and one id alone.
mkdir -p "$PLACE/plain/root" /run/user/54322
tar -C "$PLACE/plain/root" -xf "$PLACE/image/layer.tar"
chown -R 54322:54322 "$PLACE/plain" /run/user/54322
chmod 700 /run/user/54322
plain() {
    cd "$PLACE/plain" && setpriv --reuid 54322 --regid 54322 --clear-groups --inh-caps=-all \
        env -i "PATH=$PATH" "HOME=$PLACE/plain" XDG_RUNTIME_DIR=/run/user/54322 \
        "CONTAINERS_CONF=$PLACE/containers.conf" podman --storage-driver vfs --runtime "$RUNTIME" "$@"
}
export -f plain
prints "no subordinate ids: run" 'hi$' plain run --rm --rootfs "$PLACE/plain/root" echo hi
prints "no subordinate ids: one id" '^0 54322 1$' plain run --rm --rootfs "$PLACE/plain/root" sh -c 'echo $(cat /proc/self/uid_map)'
prints "no subordinate ids: run -d, exec, kill" 'hi' bash -c 'plain run -d --name p --rootfs $PLACE/plain/root sleep 30 && plain exec p echo hi && plain kill p && plain rm -f p'
expect "no subordinate ids: a status" 42 '' plain run --rm --rootfs "$PLACE/plain/root" sh -c 'exit 42'

prints "rm of everything" '' bash -c 'pod pod rm -f -a -t 0; pod rm -f -a -t 0'
holds "no process stays" nothing_runs conmon
total
