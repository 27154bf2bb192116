# just (https://just.systems): what is run by hand. CI is .ci/run.

# All tests, as README.md says.
test:
    rootfs/build.sh && cargo test

# Everything of benches/start, in less than ten minutes: target/bench/start.md and start.svg.
# `just bench exec` runs the parts whose names begin so.
bench *parts:
    cargo bench --quiet --bench start -- {{parts}}
