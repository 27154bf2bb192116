# podman as root.
needs podman conmon script jq
make_image

# Rlimits that any root may set, also one without CAP_SYS_RESOURCE; no network but lo.
cat >"$PLACE/containers.conf" <<'END'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=1000:1000"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
export CONTAINERS_CONF=$PLACE/containers.conf IMAGE
pod() {
    podman --root "$PLACE/root" --runroot /run/podman --tmpdir /run/podman-tmp \
        --storage-driver vfs --runtime "$BINARY" "$@"
}
# once OPTIONS… -- COMMAND…: a container for one command.
once() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    pod run --rm "${options[@]}" "$IMAGE" "$@"
}
# A container NAME that stays, says so, and ends with 9 at SIGTERM.
stays() { # NAME OPTIONS…
    pod run -d --name "$1" "${@:2}" "$IMAGE" \
        sh -c 'trap "exit 9" TERM; trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done'
}
inspect() { pod inspect --format "$2" "$1"; }
status_of() { inspect "$1" '{{.State.Status}} {{.State.ExitCode}}'; }
proc_status() { once "${@:2}" -- grep "^$1:" /proc/self/status; }
export -f pod once stays inspect status_of proc_status

prints "load an image" 'box:1' pod load -i "$PLACE/image.tar"
prints "import an image" '' pod import "$PLACE/image/layer.tar" localhost/imported
prints "info names the runtime" "$(basename "$BINARY")" pod info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}'

# Exit statuses and output
prints "run prints" '^hi$' once -- echo hi
expect "run: status 0" 0 '^$' once -- true
expect "run: status 1" 1 '^$' once -- false
expect "run: status 42" 42 '' once -- sh -c 'exit 42'
expect "run: killed by a signal" 137 '' once --pid host -- sh -c 'kill -9 $$'
expect "run: stderr arrives" 0 '^oops$' once -- sh -c 'echo oops >&2'
expect "run: no such program" 127 '(executable file .*not found|[Nn]o such file)' once -- nonesuch
expect "run: no such program by path" 127 '([Nn]o such file|not found)' once -- /bin/nonesuch
expect "run: not executable" 126 '[Pp]ermission denied' once -- /etc/passwd
expect "run: a directory as program" 126 '' once -- /etc
expect "run: unknown option" 125 '' once --nonesuch -- true
stdin() { echo through | once -i -- cat; }
export -f stdin
prints "run -i passes stdin" '^through$' stdin
large() { once -- sh -c 'dd if=/dev/zero bs=1M count=4 2>/dev/null' | wc -c; }
export -f large
prints "run passes 4 MiB of output" '^4194304$' large

# Terminals
expect "run -it: a terminal, its size, its status" 7 '/dev/.*40 100' \
    at_terminal pod run -it --rm "$IMAGE" sh -c 'tty; until stty size | grep "40 100"; do sleep 0.1; done; sleep 0.5; exit 7'
expect "run -it: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' pod run -it --rm "$IMAGE" sh
expect "run -it: ^C reaches the process" 33 '' types '\003' pod run -it --rm "$IMAGE" \
    sh -c 'trap "exit 33" INT; echo "$ "; sleep 20 & wait'
prints "run -t: not a tty without -t" 'not a tty' once -- sh -c 'tty; true'
prints "run -d -t" '' pod run -d -t --name tty "$IMAGE" sh -c 'tty; sleep 0.1'
await "logs of a terminal" '/dev/(pts|console)' pod logs tty
prints "wait" '^0$' pod wait tty
prints "rm" '' pod rm tty

# A container's life
prints "run -d" '^[0-9a-f]{64}$' stays one --label probe=1
await "logs" '^started$' pod logs one
prints "ps shows it" 'one Up' pod ps --format '{{.Names}} {{.Status}}'
prints "inspect: running" '^running 0$' status_of one
prints "inspect: a pid that is the container's" '^sh' bash -c 'tr "\0" " " </proc/$(inspect one "{{.State.Pid}}")/cmdline'
prints "inspect: the runtime" "$(basename "$BINARY")" inspect one '{{.OCIRuntime}}'
prints "top" 'COMMAND.*sh -c' pod top one
prints "top: chosen columns" '^PID +COMM' pod top one pid comm
prints "stats --no-stream" '^one [0-9.]+%' pod stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.PIDs}}' one
prints "stats counts processes" '^[1-9]' pod stats --no-stream --format '{{.PIDs}}' one
prints "exec" '^hi$' pod exec one echo hi
expect "exec: status" 42 '' pod exec one sh -c 'exit 42'
expect "exec: no such program" 127 '(executable file .*not found|[Nn]o such file)' pod exec one nonesuch
expect "exec: not executable" 126 '[Pp]ermission denied' pod exec one /etc/passwd
expect "exec: no such container" 125 'no such container|no container with' pod exec nonesuch true
expect "exec -it: a terminal and its status" 5 '/dev/' at_terminal pod exec -it one sh -c 'tty; sleep 0.5; exit 5'
expect "exec -it: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' pod exec -it one sh
prints "exec -u" '^1000 1000$' pod exec -u 1000:1000 one sh -c 'echo $(id -u) $(id -g)'
prints "exec -u NAME" '^1000$' pod exec -u user one id -u
expect "exec -u: no such user" fail 'no matching entries|unable to find' pod exec -u nonesuch one id -u
prints "exec -w" '^/tmp$' pod exec -w /tmp one pwd
expect "exec -w: no such directory" fail '[Nn]o such file|not exist|not found' pod exec -w /nonesuch one pwd
prints "exec -e" '^bar$' pod exec -e FOO=bar one sh -c 'echo $FOO'
prints "exec has the image's environment" '^box$' pod exec one sh -c 'echo $IMAGE'
exec_stdin() { echo through | pod exec -i one cat; }
export -f exec_stdin
prints "exec -i passes stdin" '^through$' exec_stdin
prints "exec -d" '' pod exec -d one sh -c 'echo done >/tmp/detached'
await "exec -d has run" '^done$' pod exec one cat /tmp/detached
prints "exec --privileged" 'CapEff:.*f$' pod exec --privileged one grep CapEff /proc/self/status
prints "exec is in the same pid namespace" 'started' pod exec one sh -c 'grep -ao "echo started" /proc/1/cmdline'
prints "exec is in the container's cgroup" '' pod exec one sh -c 'a=$(cat /proc/1/cgroup) b=$(cat /proc/self/cgroup); [ "$a" = "$b" ]'
prints "cp into it" '' pod cp "$PLACE/containers.conf" one:/tmp/copied
prints "cp out of it" 'netns' bash -c 'pod cp one:/tmp/copied $PLACE/back && cat $PLACE/back'
prints "diff" 'A /tmp/copied' pod diff one
prints "pause" '' pod pause one
prints "paused" '^paused' status_of one
expect "exec in a paused container" fail 'paus|not running|state improper|improper' pod exec one true
prints "unpause" '' pod unpause one
prints "running again" '^running' status_of one
prints "kill -s USR1" '' pod kill -s USR1 one
await "the signal has arrived" 'usr1' pod logs one
prints "rename" '^two' bash -c 'pod rename one two && inspect two "{{.Name}}"'
prints "stop: SIGTERM first" '' pod stop -t 5 two
prints "stopped with the trap's status" '^exited 9$' status_of two
expect "exec in a stopped container" 255 'not running|improper|can only create exec sessions' pod exec two true
prints "start again" '' pod start two
prints "running after start" '^running' status_of two
prints "restart" '' pod restart -t 1 two
prints "running after restart" '^running' status_of two
prints "kill" '' pod kill two
prints "wait after kill" '^137$' pod wait two
prints "start after kill" '' pod start two
expect "rm of a running container" fail 'cannot remove|running or paused' pod rm two
prints "rm -f" '' pod rm -f -t 0 two
expect "gone after rm" fail '[Nn]o such|no container' pod inspect two
prints "stop -t 0 kills what ignores SIGTERM" '' bash -c 'pod run -d --name deaf $IMAGE sh -c "trap : TERM; while :; do sleep 0.1; done" && pod stop -t 1 deaf'
prints "killed after the time" '^exited 137$' status_of deaf
prints "stop-signal" 'exited 6$' bash -c 'pod run -d --name quit --stop-signal QUIT $IMAGE sh -c "trap \"exit 6\" QUIT; echo up; while :; do sleep 0.1; done"; until pod logs quit | grep -q up; do sleep 0.1; done; pod stop -t 5 quit; status_of quit'
prints "create, init, start" 'initialized.*exited 4$' bash -c 'pod create --name made $IMAGE sh -c "exit 4" && pod init made && inspect made "{{.State.Status}}" && pod start made && pod wait made && status_of made'
prints "start --attach" 'attached' bash -c 'pod create --name attached $IMAGE echo attached; pod start -a attached'
prints "attach" 'late' bash -c 'pod run -d --name late $IMAGE sh -c "sleep 1; echo late" >/dev/null; pod attach late'
prints "restart policy on-failure" '^[2-9]$' bash -c 'pod run -d --name again --restart on-failure:2 $IMAGE false >/dev/null; for i in 1 2 3 4 5 6 7 8 9; do [ "$(inspect again "{{.RestartCount}}")" -ge 2 ] && break; sleep 0.3; done; inspect again "{{.RestartCount}}"'
expect "run --timeout" "137|143|255" '' once --timeout 1 -- sleep 20
prints "run --cidfile, --pidfile" '^[0-9a-f]{64} *[0-9]+$' bash -c 'pod run -d --name files --cidfile $PLACE/cid --conmon-pidfile $PLACE/conmon --pidfile $PLACE/pid $IMAGE sleep 20 >/dev/null; echo $(cat $PLACE/cid) $(cat $PLACE/pid); pod rm -f -t 0 files >/dev/null'
prints "healthcheck" '^healthy' bash -c 'pod run -d --name well --health-cmd "test -d /tmp" --health-interval disable $IMAGE sleep 20 >/dev/null; pod healthcheck run well; inspect well "{{.State.Health.Status}}{{.State.Healthcheck.Status}}" 2>/dev/null || inspect well "{{.State.Health.Status}}"'
expect "healthcheck that fails" 1 'unhealthy' bash -c 'pod run -d --name ill --health-cmd false --health-interval disable $IMAGE sleep 20 >/dev/null; pod healthcheck run ill'
prints "--rm leaves no container" '' bash -c 'once --name passing -- true && ! pod container exists passing'
prints "commit" '' bash -c 'pod commit deaf localhost/committed && pod run --rm localhost/committed true'
prints "events" 'start' pod events --stream=false --filter container=deaf
prints "container prune" '' pod container prune -f
prints "rm -f of all" '' pod rm -f -a -t 0

# Identity
prints "--user UID:GID" '^1000 1001$' once --user 1000:1001 -- sh -c 'echo $(id -u) $(id -g)'
prints "--user NAME" '^1000$' once --user user -- id -u
prints "--group-add" '2000' once --group-add 2000 -- id -G
prints "--umask" '^0077$' once --umask 0077 -- sh -c umask
prints "--workdir" '^/usr$' once --workdir /usr -- pwd
prints "--hostname" '^box7$' once --hostname box7 -- hostname
prints "--env" '^bar$' once --env FOO=bar -- sh -c 'echo $FOO'
prints "--entrypoint" '^entered$' once --entrypoint '["echo","entered"]' --
prints "--uidmap, --gidmap" '0 +100000 +1000' once --uidmap 0:100000:1000 --gidmap 0:100000:1000 -- cat /proc/self/uid_map
prints "--uidmap: root inside writes as root" '^0:0$' once --uidmap 0:100000:1000 --gidmap 0:100000:1000 -- sh -c 'touch /x; stat -c %u:%g /x'
prints "--userns host" '4294967295' once --userns host -- cat /proc/self/uid_map
prints "default capabilities" 'CapEff:.*0*00000000?800405fb|CapEff:.*a80425fb|CapEff' proc_status CapEff
prints "--cap-drop all" 'CapEff:[[:space:]]0{16}$' proc_status CapEff --cap-drop all
prints "--cap-drop all: the bounding set too" 'CapBnd:[[:space:]]0{16}$' proc_status CapBnd --cap-drop all
prints "--cap-add one to none" 'CapEff:[[:space:]]0{10}200000$' proc_status CapEff --cap-drop all --cap-add SYS_ADMIN
prints "a user has no effective capabilities" 'CapEff:[[:space:]]0{16}$' proc_status CapEff --user 1000
prints "a user's ambient capability by --cap-add" 'CapEff:[[:space:]]0{13}400$' proc_status CapEff --user 1000 --cap-drop all --cap-add NET_BIND_SERVICE
prints "no inheritable capabilities" 'CapInh:[[:space:]]0{16}$' proc_status CapInh
prints "no-new-privileges" 'NoNewPrivs:[[:space:]]1' proc_status NoNewPrivs --security-opt no-new-privileges
prints "without no-new-privileges" 'NoNewPrivs:[[:space:]]0' proc_status NoNewPrivs
prints "the default seccomp profile" 'Seccomp:[[:space:]]2' proc_status Seccomp
prints "seccomp=unconfined" 'Seccomp:[[:space:]]0' proc_status Seccomp --security-opt seccomp=unconfined
cat >"$PLACE/nomkdir.json" <<'END'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
END
expect "a seccomp profile of one's own" 1 'No space left' once --security-opt "seccomp=$PLACE/nomkdir.json" -- mkdir /x
prints "--privileged" 'CapEff:[[:space:]]000001ff[0-9a-f]{8}$' proc_status CapEff --privileged
prints "--privileged sees the devices" '' once --privileged -- test -c /dev/loop-control -o -c /dev/kmsg -o -b /dev/vda
prints "--privileged: /sys is writable" 'rw' once --privileged -- sh -c 'grep " /sys sysfs" /proc/mounts'

# Namespaces
prints "pid namespace" '^1$' once -- sh -c 'echo $$'
prints "--pid host" '^inside' once --pid host -- sh -c "tr '\0' ' ' </proc/1/cmdline | sed 's/.*inside.*/inside/'"
prints "--ipc host" '' bash -c 'a=$(once --ipc host -- readlink /proc/self/ns/ipc) && b=$(readlink /proc/self/ns/ipc) && [ "$a" = "$b" ]'
prints "--uts host" '' bash -c 'a=$(once --uts host -- readlink /proc/self/ns/uts) && b=$(readlink /proc/self/ns/uts) && [ "$a" = "$b" ]'
prints "--network host" '' bash -c 'a=$(once --network host -- readlink /proc/self/ns/net) && b=$(readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "--network none has lo alone" '^lo$' once -- sh -c 'ls /sys/class/net'
prints "--cgroupns private" '' bash -c 'a=$(once --cgroupns private -- readlink /proc/self/ns/cgroup) && b=$(readlink /proc/self/ns/cgroup) && [ "$a" != "$b" ]'
prints "--cgroupns host" '' bash -c 'a=$(once --cgroupns host -- readlink /proc/self/ns/cgroup) && b=$(readlink /proc/self/ns/cgroup) && [ "$a" = "$b" ]'
prints "--cgroupns private: its own cgroup is the root" '(:/$|:/'$'\n'')' once --cgroupns private -- grep -E 'pids|0::' /proc/self/cgroup
prepare stays peer --shm-size 1m --ipc shareable
prints "--pid container:" 'started' once --pid container:peer -- sh -c 'grep -ao "echo started" /proc/1/cmdline'
prints "--network container:" '' bash -c 'a=$(once --network container:peer -- readlink /proc/self/ns/net) && b=$(pod exec peer readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "--ipc container:" '' bash -c 'a=$(once --ipc container:peer -- readlink /proc/self/ns/ipc) && b=$(pod exec peer readlink /proc/self/ns/ipc) && [ "$a" = "$b" ]'
prints "--shm-size" '1024' pod exec peer df -k /dev/shm
prints "--sysctl" '^12345$' once --sysctl kernel.msgmax=12345 -- cat /proc/sys/kernel/msgmax
prints "--sysctl net" '^1$' once --sysctl net.ipv4.ip_forward=1 -- cat /proc/sys/net/ipv4/ip_forward

# Files
mkdir "$PLACE/shared"
echo content >"$PLACE/shared/file"
prints "--volume" '^content$' once -v "$PLACE/shared:/mnt" -- cat /mnt/file
prints "--volume: writes arrive" '^new$' bash -c 'once -v $PLACE/shared:/mnt -- sh -c "echo new >/mnt/written" && cat $PLACE/shared/written'
expect "--volume ro" 1 'Read-only file system' once -v "$PLACE/shared:/mnt:ro" -- touch /mnt/x
prints "--volume of a file" '^content$' once -v "$PLACE/shared/file:/etc/motd:ro" -- cat /etc/motd
prints "--volume at a new path" '^content$' once -v "$PLACE/shared:/a/b/c" -- cat /a/b/c/file
prints "--volume z" '^content$' once -v "$PLACE/shared:/mnt:z" -- cat /mnt/file
prints "--volume noexec" 'noexec' once -v "$PLACE/shared:/mnt:noexec" -- grep ' /mnt ' /proc/mounts
prints "a named volume keeps its content" '^kept$' bash -c 'pod volume create kept >/dev/null; once -v kept:/data -- sh -c "echo kept >/data/f" && once -v kept:/data -- cat /data/f'
prints "--mount bind with propagation" 'shared|master|propagate|/mnt' once --mount "type=bind,src=$PLACE/shared,dst=/mnt,bind-propagation=rslave" -- grep ' /mnt ' /proc/self/mountinfo
prints "--tmpfs" 'tmpfs.*size=1024k' once --tmpfs /scratch:size=1m,mode=1777 -- grep ' /scratch ' /proc/mounts
expect "--read-only" 1 'Read-only file system' once --read-only -- touch /x
prints "--read-only: /tmp and /dev/shm are writable" '' once --read-only -- touch /tmp/x /dev/shm/x
expect "--read-only-tmpfs=false" 1 'Read-only file system' once --read-only --read-only-tmpfs=false -- touch /tmp/x
prints "--device" '^.*c' once --device /dev/zero:/dev/nought -- sh -c 'ls -l /dev/nought'
prints "--device is readable" '^4$' once --device /dev/zero:/dev/nought:r -- sh -c 'head -c 4 /dev/nought | wc -c'
expect "--device without w" fail 'not permitted' once --device /dev/kmsg:/dev/nought:r -- sh -c ': >/dev/nought'
expect "an unlisted device" fail 'not permitted' once --cap-add MKNOD -- sh -c 'mknod /tmp/disk b 7 0 && head -c 1 /tmp/disk'
prints "the usual devices" '' once -- sh -c 'for d in null zero full random urandom tty; do test -c /dev/$d || exit; done; test -L /dev/fd -a -e /dev/ptmx'
prints "masked paths" '^0$' once -- sh -c 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c'
expect "read-only paths" fail 'Read-only' once -- sh -c 'echo 1 >/proc/sys/kernel/panic'
prints "unmasked" '' once --security-opt unmask=ALL -- sh -c 'head -c 1 /proc/timer_list | grep -q . || ! mountpoint -q /proc/keys'
prints "--rootfs" '^bare$' bash -c 'mkdir -p $PLACE/bare && tar -C $PLACE/bare -xf $PLACE/image/layer.tar && pod run --rm --rootfs $PLACE/bare echo bare'
prints "secrets" '^hush$' bash -c 'echo hush | pod secret create s - >/dev/null; once --secret s -- cat /run/secrets/s'

# Limits
prints "--ulimit" '^512$' once --ulimit nofile=512:1024 --ulimit nproc=1000:1000 -- sh -c 'ulimit -n'
prints "--ulimit core" '^0$' once --ulimit core=0:0 --ulimit nofile=4096:4096 --ulimit nproc=1000:1000 -- sh -c 'ulimit -c'
prints "--memory" '^67108864' once --memory 64m -- sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true'
expect "--memory: the OOM killer" 137 '' once --memory 32m --tmpfs /big -- dd if=/dev/zero of=/big/x bs=1M count=64
prints "--pids-limit" '^77' once --pids-limit 77 -- sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true'
lean=(--annotation io.minirun.lean-cgroup=true)
prints "a lean cgroup has its limit" '^9' once "${lean[@]}" --pids-limit 9 -- sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true'
expect "a lean container stays" 0 '' stays lean "${lean[@]}"
expect "a lean container is paused" 0 '' pod pause lean
expect "a lean container goes on" 0 '' pod unpause lean
prints "a lean container gets a limit" '' pod update --memory 64m lean
expect "a lean container goes" 0 '' pod rm -f -t 1 lean
expect "--pids-limit holds" fail "fork|unavailable" once --pids-limit 5 -- sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done'
prints "--cpus" '^50000' once --cpus 0.5 -- sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true'
prints "--cpu-shares" '^(512|[0-9]+)' once --cpu-shares 512 -- sh -c 'cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null; true'
prints "--cpuset-cpus" 'Cpus_allowed_list:[[:space:]]0$' proc_status Cpus_allowed_list --cpuset-cpus 0
prints "--oom-score-adj" '^500$' once --oom-score-adj 500 -- cat /proc/self/oom_score_adj
prepare stays limited --memory 64m
prints "update --memory, --cpus" '' pod update --memory 96m --cpus 0.25 limited
prints "update: what the container sees" '100663296.*25000' pod exec limited sh -c 'cd /sys/fs/cgroup; echo $(cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us memory.max cpu.max 2>/dev/null)'

# PID 1
prints "--init" 'catatonit|podman-init|init' once --init -- sh -c "tr '\0' ' ' </proc/1/cmdline"
expect "--init passes the status on" 6 '' once --init -- sh -c 'exit 6'

# Pods
prints "pod create" '' pod pod create --name group --network none --share ipc,net,uts
prints "two containers in a pod" '' bash -c 'for name in left right; do stays $name --pod group || exit; done'
prints "they share the pod's network namespace" '' bash -c 'a=$(pod exec left readlink /proc/self/ns/net) && b=$(pod exec right readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "they share the pod's IPC namespace" '' bash -c 'a=$(pod exec left readlink /proc/self/ns/ipc) && b=$(pod exec right readlink /proc/self/ns/ipc) && [ "$a" = "$b" ]'
prints "and no mount namespace" '' bash -c 'a=$(pod exec left readlink /proc/self/ns/mnt) && b=$(pod exec right readlink /proc/self/ns/mnt) && [ "$a" != "$b" ]'
prints "pod ps" 'group Running 3' pod pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'
prints "pod pause, unpause" '' bash -c 'pod pod pause group && pod pod unpause group'
prints "pod top" 'sh -c' pod pod top group
prints "pod stats" 'left' pod pod stats --no-stream group
prints "pod stop" '' pod pod stop -t 1 group
prints "pod start" '' pod pod start group
prints "pod rm -f" '' pod pod rm -f -t 0 group
prints "a shared pid namespace" '' bash -c 'pod pod create --name pids --network none --share pid,ipc && stays inpid --pod pids && pod exec inpid sh -c "tr \"\\0\" \" \" </proc/1/cmdline | grep -q -e catatonit -e pause" && pod pod rm -f -t 0 pids'
cat >"$PLACE/kube.yaml" <<END
apiVersion: v1
kind: Pod
metadata:
  name: kube
spec:
  restartPolicy: Never
  initContainers:
  - name: before
    image: $IMAGE
    command: ["sh", "-c", "echo made >/shared/by-init"]
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: main
    image: $IMAGE
    command: ["sh", "-c", "cat /shared/by-init; id -u; echo \$GREETING; sleep 60"]
    env: [{name: GREETING, value: hello}]
    securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: {drop: ["ALL"]}}
    resources: {limits: {memory: 64Mi}}
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
END
prints "kube play" '[0-9a-f]{64}' pod kube play --network none "$PLACE/kube.yaml"
await "kube play: init container, user, environment" '^made 1000 hello$' bash -c 'echo $(pod logs kube-main)'
prints "kube play: capabilities, memory" 'CapBnd:.*0{16}.*67108864' pod exec kube-main sh -c 'echo $(grep CapBnd /proc/self/status; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)'
prints "kube generate" 'kind: Pod' pod generate kube kube
prints "kube down" '' pod kube down "$PLACE/kube.yaml"

# minirun inside
if "$BINARY" --version | grep -q minirun; then
    again() { once -v "$BINARY:/minirun:ro" "$@"; }
    export -f again
    prints "minirun in a privileged container" '^hi$' again --privileged -- /minirun run / echo hi
    prints "a bundle there" '^hi$' again --privileged -- sh -c 'mkdir /b && /minirun spec --bundle /b / echo hi && /minirun run --bundle /b x'
    prints "with three capabilities" '^hi$' again --cap-add SYS_ADMIN,NET_ADMIN,MKNOD -- /minirun run / echo hi
    expect "with less it is said so" 125 'SYS_ADMIN, NET_ADMIN and MKNOD' again -- /minirun run / true
    prints "an ordinary user with a whole /proc" '^hi$' again --user 1000 --security-opt seccomp=unconfined --security-opt unmask=ALL -- /minirun run / echo hi
    expect "with a covered one it is said so" 125 'unmask=ALL' again --user 1000 --security-opt seccomp=unconfined -- /minirun run / true
fi

# What stays
prints "rm of everything" '' bash -c 'pod pod rm -f -a -t 0; pod rm -f -a -t 0'
holds "no process stays" nothing_runs conmon catatonit
prints "no cgroup of a container stays" '^$' bash -c "cgroups_left | grep -E '/libpod-[0-9a-f]{64}'; true"
prints "no mount stays" '^$' bash -c "grep -E ' /tmp/minirun-clients.*/(merged|vfs)' /proc/self/mountinfo; true"
total
