//! The top level, and hooks.

use serde_json::json;

use super::{Row, gone};

pub fn rows() -> Vec<Row> {
    vec![
        ("/ociVersion", gone(), "ociVersion"),
        ("/ociVersion", json!(""), "ociVersion"),
        ("/ociVersion", json!("one"), "ociVersion"),
        ("/ociVersion", json!("1.0"), "ociVersion"),
        ("/ociVersion", json!("0.9.0"), "ociVersion"),
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", json!("1.99.0"), "ociVersion"),
        ("/ociVersion", json!(1), "ociVersion"),
        ("/annotations", json!(["a"]), "annotations"),
        ("/annotations", json!({ "a": 1 }), "annotations.a"),
        ("/vm", json!({ "kernel": { "path": "/k" } }), "vm"),
        ("/hooks", json!(7), "hooks"),
        ("/hooks/prestart", json!({}), "hooks.prestart"),
        ("/hooks/prestart", json!([{}]), "hooks.prestart[0]"),
        ("/hooks/prestart", json!([{ "path": "bin/true" }]), "hooks.prestart[0].path"),
        ("/hooks/createRuntime", json!([{ "path": "" }]), "hooks.createRuntime[0].path"),
        ("/hooks/createRuntime", json!([{ "path": "/a\u{0}" }]), "hooks.createRuntime[0].path"),
        (
            "/hooks/createRuntime",
            json!([{ "path": "/a", "args": "x" }]),
            "hooks.createRuntime[0].args",
        ),
        (
            "/hooks/createRuntime",
            json!([{ "path": "/a", "args": ["\u{0}"] }]),
            "hooks.createRuntime[0].args",
        ),
        (
            "/hooks/createContainer",
            json!([{ "path": "/a", "env": ["\u{0}"] }]),
            "hooks.createContainer[0].env",
        ),
        (
            "/hooks/createContainer",
            json!([{ "path": "/a", "timeout": 0 }]),
            "hooks.createContainer[0].timeout",
        ),
        (
            "/hooks/startContainer",
            json!([{ "path": "/a", "timeout": -3 }]),
            "hooks.startContainer[0].timeout",
        ),
        ("/hooks/poststart", json!([{ "path": "a" }]), "hooks.poststart[0].path"),
        ("/hooks/poststop", json!([{ "path": "/a" }, { "path": "b" }]), "hooks.poststop[1].path"),
        (
            "/hooks/poststop",
            json!([{ "path": "/a", "timeout": "1s" }]),
            "hooks.poststop[0].timeout",
        ),
    ]
}
