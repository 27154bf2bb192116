//! `mounts` and `root`.

use serde_json::json;

use super::{Row, gone};

pub fn rows() -> Vec<Row> {
    let bind = |options: &[&str]| json!({ "destination": "/x", "type": "bind", "source": "/etc", "options": options });
    vec![
        ("/root", json!("rootfs"), "root"),
        ("/root", gone(), "root"),
        ("/root", json!({}), "root.path"),
        ("/root/path", json!(""), "root.path"),
        ("/root/path", json!(7), "root.path"),
        ("/root/path", json!("a\u{0}b"), "root.path"),
        ("/root/readonly", json!("ro"), "root.readonly"),
        ("/mounts", json!({}), "mounts"),
        ("/mounts", json!("proc"), "mounts"),
        ("/mounts/1", json!("/dev"), "mounts[1]"),
        ("/mounts/1", json!({}), "mounts[1]"),
        ("/mounts/1", json!(null), "mounts[1]"),
        ("/mounts/1/destination", gone(), "mounts[1]"),
        ("/mounts/1/destination", json!(1), "mounts[1].destination"),
        ("/mounts/1/destination", json!(""), "mounts[1]…"),
        ("/mounts/1/destination", json!("/"), "mounts[1]…"),
        ("/mounts/1/destination", json!("//"), "mounts[1]…"),
        ("/mounts/1/destination", json!("/."), "mounts[1]…"),
        ("/mounts/1/destination", json!("/.."), "mounts[1]…"),
        ("/mounts/1/destination", json!("/a\u{0}b"), "mounts[1]…"),
        ("/mounts/1/type", json!(3), "mounts[1].type"),
        ("/mounts/1/type", json!("tm\u{0}pfs"), "mounts[1]…"),
        ("/mounts/1/source", json!([]), "mounts[1].source"),
        ("/mounts/1/source", json!("a\u{0}"), "mounts[1]…"),
        ("/mounts/1/options", json!("ro"), "mounts[1].options"),
        ("/mounts/1/options", json!([7]), "mounts[1].options[0]"),
        ("/mounts/1/options", json!(["mode=\u{0}"]), "mounts[1]…"),
        ("/mounts/2/source", gone(), "mounts[2]…"),
        ("/mounts/2", json!({ "destination": "/x", "options": ["bind"] }), "mounts[2]…"),
        ("/mounts/2/uidMappings", json!("0:0:1"), "mounts[2].uidMappings"),
        ("/mounts/2/uidMappings", json!([{ "containerID": 0 }]), "mounts[2]…"),
        (
            "/mounts/2/uidMappings",
            json!([{ "containerID": 0, "hostID": 0, "size": 1 }]),
            "mounts[2]…",
        ),
        (
            "/mounts/1",
            json!({ "destination": "/x", "type": "tmpfs", "uidMappings": [{ "containerID": 0, "hostID": 0, "size": 0 }] }),
            "mounts[1]…",
        ),
        ("/mounts/2", bind(&["rbind", "idmap"]), "mounts[2]…"),
        ("/mounts/2", bind(&["tmpcopyup"]), "mounts[2]…"),
        (
            "/mounts/0",
            json!({ "destination": "/proc", "type": "proc", "options": ["tmpcopyup"] }),
            "mounts[0]…",
        ),
    ]
}
