# The README's commands work without just; this is for those who like it short.

target := arch() + "-unknown-linux-musl"

# list the recipes
default:
    @just --list

# build the static release binaries
build:
    rustup target add {{target}}
    MINIRUN_COMMIT=$(git rev-parse HEAD 2>/dev/null || echo unknown) cargo build --release --target {{target}}

# fill ./rootfs with a busybox userland
rootfs:
    rootfs/build.sh

# run a command in ./rootfs: just run /bin/sh
run *ARGS: rootfs
    cargo run --release --quiet -- run ./rootfs {{ARGS}}

# all tests (as root more of them run than as an ordinary user)
test: rootfs
    cargo test

# every lab, each proves what it claims
examples: rootfs
    .ci/examples

# list the labs, or run one: just lab zombie
lab *WORDS: rootfs
    cargo run --quiet --bin minirun-lab -- {{WORDS}}

# the tests in emulated machines: Debian's kernel with cgroup v2, and systemd as PID 1 (as root)
test-vm: build rootfs
    tests/vm/run target/{{target}}/release/minirun
    tests/vm/systemd target/{{target}}/release/minirun

# podman, containerd and Docker on minirun, as root
clients: build rootfs
    tests/clients/run target/{{target}}/release/minirun

# pair minirun with its peers and the floor, in target/bench/: just bench exec counts
bench *PARTS:
    cargo bench --quiet --bench start -- {{PARTS}}

# make layout.ld anew, which orders the functions of the release (as root)
layout: rootfs
    mkdir -p target/layout/plain target/layout/engine-default
    ln -sfn "$PWD/rootfs" target/layout/plain/rootfs
    ln -sfn "$PWD/rootfs" target/layout/engine-default/rootfs
    # in one line, as engines write them
    tr -d '\n\t' <benches/bundles/plain/config.json >target/layout/plain/config.json
    tr -d '\n\t' <benches/bundles/engine-default/config.json >target/layout/engine-default/config.json
    CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --target {{target}} \
        --target-dir target/layout --bin minirun
    cargo run --quiet --example layout -- target/layout/{{target}}/release/minirun \
        --root target/layout/state run --bundle target/layout/plain layout \
        -- --root target/layout/state run --bundle target/layout/engine-default layout \
        -- run ./rootfs /bin/true >target/layout/layout.ld
    mv target/layout/layout.ld .
    # cargo doesn't look at what the linker is told to read
    touch src/main.rs

# what CI holds against a change
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# format the code
fmt:
    cargo fmt

# build and open the documentation
doc:
    cargo doc --no-deps --open

# everything that CI runs
ci:
    .ci/run

# write the manual pages and the completions of shells to target/manual/share
manual:
    cargo run --quiet --example manual -- target/manual

# install the static binaries, the manual pages and the completions to PREFIX
install prefix="/usr/local": build manual
    install -Dm755 target/{{target}}/release/minirun {{prefix}}/bin/minirun
    install -Dm755 target/{{target}}/release/minirun-lab {{prefix}}/bin/minirun-lab
    cp -r target/manual/share {{prefix}}/

# make a Debian package of the same in target/debian (cargo install cargo-deb)
deb: build manual
    cargo deb --no-build --target {{target}} --output target/debian/
