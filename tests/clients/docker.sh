# The Docker engine, its default runtime being the one under test.
PATH=/usr/sbin:/usr/bin:/sbin:/bin # the engine's own client before any other
needs dockerd docker containerd containerd-shim-runc-v2 runc script
make_image

mkdir "$PLACE/docker"
cat >"$PLACE/docker/daemon.json" <<END
{
  "runtimes": {"candidate": {"path": "$BINARY"}},
  "default-runtime": "candidate",
  "data-root": "$PLACE/docker/data", "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
  "hosts": ["unix:///run/docker.sock"], "storage-driver": "vfs",
  "iptables": false, "ip6tables": false, "bridge": "none"
}
END
# Two runtimes of one engine: the other is named on the command line.
dockerd --config-file "$PLACE/docker/daemon.json" --add-runtime "other=$BINARY" >"$PLACE/docker/log" 2>&1 &
export IMAGE DOCKER_HOST=unix:///run/docker.sock
wait_for docker version || { tail -n 5 "$PLACE/docker/log"; not_ok "dockerd starts" "it doesn't answer"; total; exit 1; }

once() { # OPTIONS… -- COMMAND…: a container for one command
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    docker run --rm "${options[@]}" "$IMAGE" "$@"
}
# A container NAME that stays, says so, and ends with 9 at SIGTERM.
stays() { # NAME OPTIONS…
    docker run -d --name "$1" "${@:2}" "$IMAGE" \
        sh -c 'trap "exit 9" TERM; trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done'
}
inspect() { docker inspect --format "$2" "$1"; }
status_of() { inspect "$1" '{{.State.Status}} {{.State.ExitCode}}'; }
# As prints, where root has what Docker gives to a privileged process.
privileged() {
    if all_capabilities; then
        prints "$@"
    else
        skip "$1" "Docker asks for capabilities that root doesn't have here"
    fi
}
proc_status() { once "${@:2}" -- grep "^$1:" /proc/self/status; }
export -f once stays inspect status_of proc_status

prints "load an image" 'box:1' docker load -i "$PLACE/image.tar"
prints "import an image" 'sha256' docker import "$PLACE/image/layer.tar" imported
prints "info: the runtimes" 'candidate.*other|other.*candidate' docker info --format '{{.Runtimes}} {{.DefaultRuntime}}'

# Exit statuses, output, terminals
prints "run prints" '^hi$' once -- echo hi
prints "run --runtime" '^hi$' once --runtime other -- echo hi
expect "run: status 0" 0 '^$' once -- true
expect "run: status 1" 1 '^$' once -- false
expect "run: status 42" 42 '' once -- sh -c 'exit 42'
expect "run: killed by a signal" 137 '' once --pid host -- sh -c 'kill -9 $$'
prints "run: stderr arrives" '^oops$' once -- sh -c 'echo oops >&2'
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
expect "run -it: a terminal, its size, its status" 7 '/dev/.*40 100' \
    at_terminal docker run -it --rm "$IMAGE" sh -c 'tty; until stty size | grep "40 100"; do sleep 0.1; done; sleep 0.5; exit 7'
expect "run -it: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' docker run -it --rm "$IMAGE" sh
expect "run -it: ^C reaches the process" 33 '' types '\003' docker run -it --rm "$IMAGE" \
    sh -c 'trap "exit 33" INT; echo "$ "; sleep 20 & wait'

# A container's life
prints "run -d" '^[0-9a-f]{64}$' stays one --label probe=1
await "logs" '^started$' docker logs one
prints "ps shows it" 'one Up' docker ps --format '{{.Names}} {{.Status}}'
prints "inspect: running" '^running 0$' status_of one
prints "inspect: the runtime" '^candidate$' inspect one '{{.HostConfig.Runtime}}'
prints "inspect: a pid that is the container's" '^sh' bash -c 'tr "\0" " " </proc/$(inspect one "{{.State.Pid}}")/cmdline'
prints "top" 'sh -c' docker top one
prints "top: ps options" 'PID +COMMAND' docker top one -o pid,comm
prints "stats --no-stream" '^one [0-9.]+% [1-9]' docker stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.PIDs}}' one
prints "exec" '^hi$' docker exec one echo hi
expect "exec: status" 42 '' docker exec one sh -c 'exit 42'
expect "exec: no such program" "126|127" '(executable file .*not found|[Nn]o such file)' docker exec one nonesuch
expect "exec: not executable" 126 '[Pp]ermission denied' docker exec one /etc/passwd
expect "exec -it: a terminal and its status" 5 '/dev/' at_terminal docker exec -it one sh -c 'tty; sleep 0.5; exit 5'
expect "exec -it: an interactive shell" 3 'a42' types 'echo a$((40+2)); sleep 0.5\nexit 3\n' docker exec -it one sh
prints "exec -u" '^1000 1000$' docker exec -u 1000:1000 one sh -c 'echo $(id -u) $(id -g)'
prints "exec -w" '^/tmp$' docker exec -w /tmp one pwd
expect "exec -w: no such directory" fail '[Nn]o such file|not exist|not found' docker exec -w /nonesuch one pwd
prints "exec -e" '^bar box$' docker exec -e FOO=bar one sh -c 'echo $FOO $IMAGE'
exec_stdin() { echo through | docker exec -i one cat; }
export -f exec_stdin
prints "exec -i passes stdin" '^through$' exec_stdin
prints "exec -d" '' docker exec -d one sh -c 'echo done >/tmp/detached'
await "exec -d has run" '^done$' docker exec one cat /tmp/detached
privileged "exec --privileged" 'CapEff:[[:space:]]000001ff' docker exec --privileged one grep CapEff /proc/self/status
prints "cp" 'default-runtime' bash -c 'docker cp -q $PLACE/docker/daemon.json one:/tmp/c 2>/dev/null || docker cp $PLACE/docker/daemon.json one:/tmp/c; docker exec one cat /tmp/c'
prints "diff" 'A /tmp/c' docker diff one
prints "pause" '' docker pause one
prints "paused" '^paused' status_of one
expect "exec in a paused container" fail 'paused' docker exec one true
prints "unpause" '' docker unpause one
prints "running again" '^running' status_of one
prints "kill -s USR1" '' docker kill -s USR1 one
await "the signal has arrived" 'usr1' docker logs one
prints "update" '' docker update --memory 96m --memory-swap -1 --cpus 0.25 --pids-limit 33 --cpuset-cpus 0 one
prints "update: what the container sees" '100663296 25000 33 0' docker exec one sh -c \
    'cd /sys/fs/cgroup; echo $(cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max cpuset/cpuset.cpus 2>/dev/null || { cat memory.max; cut -d" " -f1 cpu.max; cat pids.max cpuset.cpus; })'
prints "rename" '^/two' bash -c 'docker rename one two && inspect two "{{.Name}}"'
prints "stop: SIGTERM first" '' docker stop -t 5 two
prints "stopped with the trap's status" '^exited 9$' status_of two
expect "exec in a stopped container" fail 'not running' docker exec two true
prints "start again" '' docker start two
prints "restart" '' docker restart -t 1 two
prints "running after restart" '^running' status_of two
prints "kill" '' docker kill two
prints "wait after kill" '^137$' docker wait two
prints "start after kill" '' docker start two
expect "rm of a running container" fail 'cannot remove|running' docker rm two
prints "rm -f" '' docker rm -f two
prints "stop kills what ignores SIGTERM" '^exited 137$' bash -c 'docker run -d --name deaf $IMAGE sh -c "trap : TERM; while :; do sleep 0.1; done" >/dev/null && docker stop -t 1 deaf >/dev/null; status_of deaf'
prints "create, start --attach" 'attached' bash -c 'docker create --name made $IMAGE echo attached; docker start -a made'
prints "attach" 'late' bash -c 'docker run -d --name late $IMAGE sh -c "sleep 1; echo late" >/dev/null; docker attach late'
prints "restart policy on-failure" '2$' bash -c 'docker run -d --name again --restart on-failure:2 $IMAGE false; for i in 1 2 3 4 5 6 7 8 9; do [ "$(inspect again "{{.RestartCount}}")" -ge 2 ] && break; sleep 0.5; done; inspect again "{{.RestartCount}}"'
prints "restart policy always: comes back after a kill" '^running' bash -c 'stays back --restart always >/dev/null; docker exec back kill -9 1; kill -9 $(inspect back "{{.State.Pid}}"); sleep 1.5; status_of back; docker rm -f back >/dev/null'
await "healthcheck" '^healthy' bash -c 'docker inspect well >/dev/null 2>&1 || docker run -d --name well --health-cmd "test -d /tmp" --health-interval 0.5s $IMAGE sleep 20 >/dev/null; inspect well "{{.State.Health.Status}}"'
prints "events" 'create.*start.*die' bash -c 'docker events --since 1h --until 0s --filter container=deaf --format "{{.Action}}" | tr "\n" " "'
prints "commit" '' bash -c 'docker commit deaf committed && docker run --rm committed true'
prints "--rm leaves no container" '' bash -c 'once --name passing -- true && ! docker inspect passing >/dev/null 2>&1'
prints "ten at once" '^10$' bash -c 'for i in 0 1 2 3 4 5 6 7 8 9; do once -- echo hi & done | grep -c hi'
prints "rm -f of all" '' bash -c 'docker rm -f $(docker ps -aq)'

# Identity
prints "--user UID:GID" '^1000 1001$' once --user 1000:1001 -- sh -c 'echo $(id -u) $(id -g)'
prints "--user NAME" '^1000$' once --user user -- id -u
prints "--group-add" '2000' once --group-add 2000 -- id -G
prints "--workdir" '^/made/here$' once --workdir /made/here -- pwd
prints "--hostname, --domainname" '^box7 example$' once --hostname box7 --domainname example -- sh -c 'echo $(hostname) $(cat /proc/sys/kernel/domainname)'
prints "--env" '^bar$' once --env FOO=bar -- sh -c 'echo $FOO'
prints "--entrypoint" '^entered$' once --entrypoint echo -- entered
prints "--cap-drop ALL" 'CapBnd:[[:space:]]0{16}$' proc_status CapBnd --cap-drop ALL
prints "--cap-add to none" 'CapEff:[[:space:]]0{10}200000$' proc_status CapEff --cap-drop ALL --cap-add SYS_ADMIN
prints "no inheritable capabilities" 'CapInh:[[:space:]]0{16}$' proc_status CapInh
prints "no-new-privileges" 'NoNewPrivs:[[:space:]]1' proc_status NoNewPrivs --security-opt no-new-privileges
prints "the default seccomp profile" 'Seccomp:[[:space:]]2' proc_status Seccomp
expect "the default seccomp profile refuses unshare" fail 'not permitted' once -- unshare -U true
prints "seccomp=unconfined" 'Seccomp:[[:space:]]0' proc_status Seccomp --security-opt seccomp=unconfined
cat >"$PLACE/nomkdir.json" <<'END'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
END
expect "a seccomp profile of one's own" 1 'No space left' once --security-opt "seccomp=$PLACE/nomkdir.json" -- mkdir /x
privileged "--privileged" 'CapEff:[[:space:]]000001ff' proc_status CapEff --privileged
privileged "--privileged: /sys is writable" 'rw' once --privileged -- grep ' /sys sysfs rw' /proc/mounts

# Namespaces
prints "--pid host" '^inside' once --pid host -- sh -c "tr '\0' ' ' </proc/1/cmdline | sed 's/.*inside.*/inside/'"
prints "--ipc host" '' bash -c 'a=$(once --ipc host -- readlink /proc/self/ns/ipc) && b=$(readlink /proc/self/ns/ipc) && [ "$a" = "$b" ]'
prints "--uts host" '' bash -c 'a=$(once --uts host -- readlink /proc/self/ns/uts) && b=$(readlink /proc/self/ns/uts) && [ "$a" = "$b" ]'
prints "--network host" '' bash -c 'a=$(once --network host -- readlink /proc/self/ns/net) && b=$(readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "--network none has lo alone" '^lo$' once --network none -- ls /sys/class/net
prints "--cgroupns private" '' bash -c 'a=$(once --cgroupns private -- readlink /proc/self/ns/cgroup) && b=$(readlink /proc/self/ns/cgroup) && [ "$a" != "$b" ]'
prints "--cgroupns host" '' bash -c 'a=$(once --cgroupns host -- readlink /proc/self/ns/cgroup) && b=$(readlink /proc/self/ns/cgroup) && [ "$a" = "$b" ]'
prepare stays peer --ipc shareable --shm-size 1m
prints "--pid container:" 'started' once --pid container:peer -- sh -c 'grep -ao "echo started" /proc/1/cmdline'
prints "--network container:" '' bash -c 'a=$(once --network container:peer -- readlink /proc/self/ns/net) && b=$(docker exec peer readlink /proc/self/ns/net) && [ "$a" = "$b" ]'
prints "--ipc container:" '' bash -c 'a=$(once --ipc container:peer -- readlink /proc/self/ns/ipc) && b=$(docker exec peer readlink /proc/self/ns/ipc) && [ "$a" = "$b" ]'
prints "--shm-size" '1024' docker exec peer df -k /dev/shm
prints "--sysctl" '^12345$' once --sysctl kernel.msgmax=12345 -- cat /proc/sys/kernel/msgmax

# Files
mkdir "$PLACE/shared"
echo content >"$PLACE/shared/file"
prints "--volume" '^content$' once -v "$PLACE/shared:/mnt" -- cat /mnt/file
expect "--volume ro" 1 'Read-only file system' once -v "$PLACE/shared:/mnt:ro" -- touch /mnt/x
prints "--volume of a file" '^content$' once -v "$PLACE/shared/file:/etc/motd:ro" -- cat /etc/motd
prints "--volume at a new path" '^content$' once -v "$PLACE/shared:/a/b/c" -- cat /a/b/c/file
prints "--volume z" '^content$' once -v "$PLACE/shared:/mnt:z" -- cat /mnt/file
prints "--volume rslave" 'master' once -v "$PLACE/shared:/mnt:rslave" -- grep ' /mnt ' /proc/self/mountinfo
prints "--volume rshared" 'shared' once -v "$PLACE/shared:/mnt:rshared" -- grep ' /mnt ' /proc/self/mountinfo
prints "a named volume keeps its content" '^kept$' bash -c 'once -v kept:/data -- sh -c "echo kept >/data/f" && once -v kept:/data -- cat /data/f'
prints "--tmpfs" 'tmpfs.*size=1024k' once --tmpfs /scratch:size=1m,mode=1777 -- grep ' /scratch ' /proc/mounts
expect "--read-only" 1 'Read-only file system' once --read-only -- touch /x
prints "--device" '^4$' once --device /dev/zero:/dev/nought:r -- sh -c 'head -c 4 /dev/nought | wc -c'
expect "--device without w" fail 'not permitted' once --device /dev/kmsg:/dev/nought:r -- sh -c ': >/dev/nought'
expect "an unlisted device" fail 'not permitted' once --cap-add MKNOD -- sh -c 'mknod /tmp/disk b 7 0 && head -c 1 /tmp/disk'
prints "--device-cgroup-rule" 'No such device|ok' once --device-cgroup-rule 'b 7:200 rmw' -- sh -c 'mknod /tmp/disk b 7 200 && head -c 1 /tmp/disk; echo ok'
prints "the usual devices" '' once -- sh -c 'for d in null zero full random urandom tty; do test -c /dev/$d || exit; done; test -L /dev/fd -a -e /dev/ptmx'
prints "masked paths" '^0$' once -- sh -c 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c'
expect "read-only paths" fail 'Read-only' once -- sh -c 'echo 1 >/proc/sys/kernel/panic'

# Limits
prints "--ulimit" '^512$' once --ulimit nofile=512:1024 -- sh -c 'ulimit -n'
prints "--memory" '^67108864' once --memory 64m -- sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true'
prints "--memory-reservation" '^33554432' once --memory-reservation 32m -- sh -c 'cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/memory.low 2>/dev/null; true'
expect "--memory: the OOM killer" 137 '' once --memory 32m --tmpfs /big -- dd if=/dev/zero of=/big/x bs=1M count=64
prints "inspect tells of the OOM kill" 'true$' bash -c 'docker run --name hungry --memory 32m --tmpfs /big $IMAGE sh -c "dd if=/dev/zero of=/big/x bs=1M count=64; sleep 1"; inspect hungry "{{.State.OOMKilled}}"'
prints "--pids-limit" '^77' once --pids-limit 77 -- sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true'
prints "--cpus" '^50000' once --cpus 0.5 -- sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true'
prints "--cpu-shares" '^(512|20|59)' once --cpu-shares 512 -- sh -c 'cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null; true'
prints "--cpuset-cpus" 'Cpus_allowed_list:[[:space:]]0$' proc_status Cpus_allowed_list --cpuset-cpus 0
prints "--cgroup-parent" 'parent7/' once --cgroupns host --cgroup-parent /parent7 -- cat /proc/self/cgroup
prints "--oom-score-adj" '^500$' once --oom-score-adj 500 -- cat /proc/self/oom_score_adj
prints "--init" 'docker-init|tini' once --init -- sh -c "tr '\0' ' ' </proc/1/cmdline"
expect "--init passes the status on" 6 '' once --init -- sh -c 'exit 6'

# What stays
prints "rm of everything" '' bash -c 'docker rm -f $(docker ps -aq)'
holds "no shim stays" nothing_runs containerd-shim containerd-shim-runc-v2 "${BINARY##*/}"
prints "no state of the runtime stays" '^$' bash -c 'ls -A /run/docker/runtime-*/moby 2>/dev/null; true'
prints "no cgroup of a container stays" '^$' bash -c "cgroups_left | grep -E '/[0-9a-f]{64}'; true"
kill %1
wait
total
