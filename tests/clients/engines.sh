# The engines as docs/engines.md configures them: they start with the very files of
# docs/engines, in which only the path of the binary is replaced.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
documented=$(readlink -f "$here/../../docs/engines")
make_image

# configured FILE: a copy of it that names the binary under test.
configured() {
    local copy=$PLACE/configured/$1
    mkdir -p "$(dirname "$copy")"
    sed "s|/usr/local/bin/minirun|$BINARY|" "$documented/$1" >"$copy"
    cmp -s "$documented/$1" "$copy" && not_ok "$1 names the binary" "/usr/local/bin/minirun isn't in it" >&2
    echo "$copy"
}
installed() { # CLIENT PROGRAM…
    local program
    for program in "${@:2}"; do
        command -v "$program" >/dev/null || { skip "$1" "not installed here: $program"; return 1; }
    done
}
export IMAGE

if installed podman podman conmon; then
    CONTAINERS_CONF=$(configured podman/containers.conf)
    export CONTAINERS_CONF
    pod() { podman --root "$PLACE/podman" --runroot /run/podman --tmpdir /run/podman-tmp --storage-driver vfs "$@"; }
    # What a root without CAP_SYS_RESOURCE may have.
    once() { pod run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 "$IMAGE" "$@"; }
    export -f pod once
    prints "podman: the runtime is minirun" "^minirun $BINARY\$" pod info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}'
    prints "podman: load" '' pod load -i "$PLACE/image.tar"
    prints "podman: run" '^hi$' once echo hi
    expect "podman: no such program" 127 '(executable file .*not found|[Nn]o such file)' once nonesuch
    expect "podman: not executable" 126 '[Pp]ermission denied' once /etc/passwd
    expect "podman: a status" 42 '' once sh -c 'exit 42'
    prints "podman: run -d, exec, rm" 'hi' bash -c 'pod run -d --name one --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 $IMAGE sleep 30 && pod exec one echo hi && pod rm -f -t 0 one'
    sed "s|busybox:latest|$IMAGE|" "$documented/kubernetes/pod.yaml" >"$PLACE/pod.yaml"
    prints "podman: the documented pod" '[0-9a-f]{64}' bash -c \
        'printf "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=1000:1000\"]\n" >>$CONTAINERS_CONF; pod kube play --network none $PLACE/pod.yaml'
    await "podman: it has run" '^hello from on-minirun$' pod logs on-minirun-main
    prints "podman: its runtime" '^minirun$' pod inspect --format '{{.OCIRuntime}}' on-minirun-main
    prepare pod kube down "$PLACE/pod.yaml"
    unset CONTAINERS_CONF
fi

if installed Docker dockerd docker containerd runc; then
    dockerd --config-file "$(configured docker/daemon.json)" --data-root "$PLACE/docker" --exec-root /run/docker \
        --pidfile /run/docker.pid --host unix:///run/docker.sock --storage-driver vfs \
        --iptables=false --ip6tables=false --bridge=none >"$PLACE/docker.log" 2>&1 &
    engine=$!
    export DOCKER_HOST=unix:///run/docker.sock
    if wait_for docker version; then
        ok "Docker: starts"
        prints "Docker: the default runtime is minirun" '^minirun cgroupfs$' docker info --format '{{.DefaultRuntime}} {{.CgroupDriver}}'
        prints "Docker: load" '' docker load -i "$PLACE/image.tar"
        prints "Docker: run" '^hi$' docker run --rm "$IMAGE" echo hi
        prints "Docker: run --runtime minirun" '^hi$' docker run --rm --runtime minirun "$IMAGE" echo hi
        prints "Docker: run --runtime runc, side by side" '^hi$' docker run --rm --runtime runc "$IMAGE" echo hi
        expect "Docker: no such program" 127 '' docker run --rm "$IMAGE" nonesuch
        prints "Docker: a container's runtime" 'minirun' bash -c 'docker run -d --name one $IMAGE sleep 30 && docker inspect --format "{{.HostConfig.Runtime}}" one && docker rm -f one'
    else
        not_ok "Docker: starts" "$(tail -n 1 "$PLACE/docker.log")"
    fi
    kill $engine
    wait $engine
fi

# Kubernetes' side of containerd, spoken as the kubelet speaks it: gRPC over HTTP/2.
LC_ALL=C
varint() {
    local n=$1
    while ((n > 127)); do
        printf "\\x$(printf %x $((n & 127 | 128)))"
        n=$((n >> 7))
    done
    printf "\\x$(printf %x $n)"
}
number() { varint $(($1 << 3)) && varint "$2"; } # FIELD VALUE
text() { varint $(($1 << 3 | 2)) && varint ${#2} && printf %s "$2"; } # FIELD TEXT-OR-MESSAGE
# cri METHOD MESSAGE: the answer's bytes; fails as the call failed, with its message.
cri() {
    local length=${#2} answer=$PLACE/answer
    {
        printf '\0'
        printf "\\x$(printf %x $((length >> 24 & 255)))\\x$(printf %x $((length >> 16 & 255)))"
        printf "\\x$(printf %x $((length >> 8 & 255)))\\x$(printf %x $((length & 255)))"
        printf %s "$2"
    } | curl --silent --show-error --max-time 15 --http2-prior-knowledge --unix-socket /run/containerd/containerd.sock \
        --header 'content-type: application/grpc' --header 'te: trailers' --data-binary @- \
        --output "$answer" --dump-header "$answer.head" "http://localhost/runtime.v1.RuntimeService/$1" || return
    if grep -qi '^grpc-status: 0' "$answer.head"; then
        tr -d '\0' <"$answer" | tr -c '[:print:]\n' ' '
    else
        grep -i '^grpc-message' "$answer.head"
        return 1
    fi
}
export -f varint number text cri
export LC_ALL

if installed containerd containerd ctr containerd-shim-runc-v2 curl; then
    config=$(configured containerd/config.toml)
    # A root without CAP_SYS_RESOURCE can't give a pod the score that containerd asks for.
    all_capabilities || printf '[plugins."io.containerd.grpc.v1.cri"]\nrestrict_oom_score_adj = true\n' >>"$config"
    containerd --config "$config" --root "$PLACE/containerd" --state /run/containerd \
        --address /run/containerd/containerd.sock >"$PLACE/containerd.log" 2>&1 &
    engine=$!
    if wait_for ctr version; then
        ok "containerd: starts"
        prints "containerd: the entry is read" "runtimes.minirun.options.*BinaryName = \"$BINARY\"" \
            bash -c 'containerd --config $PLACE/configured/containerd/config.toml config dump | tr "\n" " "'
        prints "containerd: the CRI plugin is up" 'cri .* ok' bash -c 'ctr plugins ls | grep "io.containerd.grpc.v1 *cri"'
        # Pods need an image that does nothing, under the name that containerd asks for.
        prepare ctr -n k8s.io image import "$PLACE/image.tar"
        sandbox=$(containerd config default | sed -n 's/ *sandbox_image = "\(.*\)"/\1/p')
        sed -i 's|"Cmd": \["/bin/sh"\]|"Cmd": ["/bin/sleep", "3600"]|' "$PLACE/image/config.json"
        sed -i "s|$IMAGE|$sandbox|" "$PLACE/image/manifest.json"
        tar -C "$PLACE/image" -cf "$PLACE/sandbox.tar" manifest.json config.json layer.tar
        prepare ctr -n k8s.io image import "$PLACE/sandbox.tar"

        node_network=$(text 2 "$(text 1 "$(number 1 2)")") # security_context.namespace_options.network
        pod=$(text 1 "$(text 1 pod; text 2 uid-1; text 3 default)"; text 3 "$PLACE"; text 8 "$node_network")
        handler=$(sed -n 's/^handler: //p' "$documented/kubernetes/runtimeclass.yaml")
        expect "Kubernetes: a pod of an unknown class" fail 'nonesuch' cri RunPodSandbox "$(text 1 "$pod"; text 2 nonesuch)"
        await "Kubernetes: a pod of the class, by its handler" '[0-9a-f]{64}' cri RunPodSandbox "$(text 1 "$pod"; text 2 "$handler")"
        pod_id=$(grep -o '[0-9a-f]\{64\}' <<<"$output" | head -n 1)
        if [ -n "$pod_id" ]; then
            memory=$(text 15 "$(text 1 "$(number 4 67108864)")")
            container=$(text 1 "$(text 1 main)"; text 2 "$(text 1 "$IMAGE")"
                text 3 sh; text 3 -c; text 3 'echo started; sleep 60'
                text 6 "$(text 1 GREETING; text 2 hello)"; text 11 main.log; printf %s "$memory")
            prints "Kubernetes: create a container" '[0-9a-f]{64}' cri CreateContainer "$(text 1 "$pod_id"; text 2 "$container"; text 3 "$pod")"
            id=$(grep -o '[0-9a-f]\{64\}' <<<"$output" | head -n 1)
            prints "Kubernetes: start it" '' cri StartContainer "$(text 1 "$id")"
            await "Kubernetes: its log" 'stdout F started' cat "$PLACE/main.log"
            prints "Kubernetes: its runtime is the binary under test" "$BINARY" bash -c \
                'ctr -n k8s.io container info '"$id"' | sed -n "s/.*\"value\": \"\(CiE\|[A-Za-z0-9+/=]*\)\".*/\1/p" | head -n 1 | base64 -d | tr -cd "[:print:]"'
            prints "Kubernetes: exec" 'hello' cri ExecSync "$(text 1 "$id"; text 2 sh; text 2 -c; text 2 'echo $GREETING')"
            prints "Kubernetes: exec of a program that fails" '' cri ExecSync "$(text 1 "$id"; text 2 false)"
            expect "Kubernetes: exec of no such program" fail '[Nn]o such file|not found' cri ExecSync "$(text 1 "$id"; text 2 nonesuch)"
            prints "Kubernetes: status" "$id" cri ContainerStatus "$(text 1 "$id")"
            prints "Kubernetes: stats" "$id" cri ContainerStats "$(text 1 "$id")"
            prints "Kubernetes: update its memory" '' cri UpdateContainerResources "$(text 1 "$id"; text 2 "$(number 4 100663296)")"
            prints "Kubernetes: the new limit" '100663296' bash -c 'cat $(find /sys/fs/cgroup -path "*'"$id"'*" \( -name memory.limit_in_bytes -o -name memory.max \))'
            prints "Kubernetes: stop it" '' cri StopContainer "$(text 1 "$id"; number 2 1)"
            prints "Kubernetes: remove it" '' cri RemoveContainer "$(text 1 "$id")"
            prints "Kubernetes: stop the pod" '' cri StopPodSandbox "$(text 1 "$pod_id")"
            prints "Kubernetes: remove the pod" '' cri RemovePodSandbox "$(text 1 "$pod_id")"
        else
            tail -n 3 "$PLACE/containerd.log"
        fi
        holds "containerd: no shim stays" nothing_runs containerd-shim containerd-shim-runc-v2
    else
        not_ok "containerd: starts" "$(tail -n 1 "$PLACE/containerd.log")"
    fi
    kill $engine
    wait $engine
fi

crio=$(configured cri-o/minirun.conf)
if command -v crio >/dev/null; then
    prints "CRI-O: it reads the entry" "runtime_path = \"$BINARY\"" crio --config "$crio" config
else
    skip "CRI-O starts" "not installed here: crio"
    if python3 -c 'import tomllib' 2>/dev/null; then
        prints "CRI-O: the entry is TOML and names the binary" "^$BINARY\$" \
            python3 -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1], "rb"))["crio"]["runtime"]["runtimes"]["minirun"]["runtime_path"])' "$crio"
    else
        skip "CRI-O: the entry is TOML" "no Python with tomllib"
    fi
fi
total
