//! A container's unit: asked of systemd, changed, and stopped.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::connection::{Address, Connection, Failure, Object};
use super::value::Value;
use crate::error::{Error, Result};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: Object<'_> =
    Object { destination: SYSTEMD, path: PATH, interface: "org.freedesktop.systemd1.Manager" };
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const JOB_REMOVED: &str = "JobRemoved";
/// How long systemd may take to see that a unit has no processes any more.
const BRIEFLY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A unit, and whether the machine's systemd has it or the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) user: bool,
}

/// A connection to systemd.
#[derive(Debug)]
pub(crate) struct Systemd {
    connection: Connection,
}

impl Systemd {
    /// Connects to the machine's systemd, or to the user's.
    ///
    /// # Errors
    /// When there is none, or it can't be reached; one sentence says what to do.
    pub(crate) fn connect(user: bool) -> Result<Systemd> {
        let step = "connect to systemd";
        let driver = "have the engine manage cgroups by cgroupfs instead";
        if !Path::new("/run/systemd/system").exists() {
            let reason = "this machine wasn't started by systemd";
            return Err(Error::said(step, reason).hint(driver));
        }
        match Connection::open(&addresses(user, |name| std::env::var(name).ok())) {
            Ok(connection) => Ok(Systemd { connection }),
            Err(failure) => Err(Error::said(step, words(&failure)).hint(match user {
                true => {
                    "a user's systemd runs from login on (loginctl enable-linger without one); \
                     DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR say where"
                }
                false => driver,
            })),
        }
    }

    /// What systemd is: the number of its version, and the cgroup below which its units are.
    ///
    /// # Errors
    /// When systemd doesn't say.
    pub(crate) fn facts(&mut self) -> Result<(u32, String)> {
        let version = self.property(MANAGER, "Version")?;
        let number: String = version.chars().take_while(char::is_ascii_digit).collect();
        let cgroup = self.property(MANAGER, "ControlGroup")?;
        Ok((number.parse().unwrap_or(0), cgroup.trim_end_matches('/').to_owned()))
    }

    /// Makes sure that a unit can be made; one that has failed before is forgotten.
    ///
    /// # Errors
    /// When there is such a unit.
    pub(crate) fn check_vacant(&mut self, unit: &str) -> Result<()> {
        let step = format!("make sure that systemd has no unit {unit} yet");
        let path = match self.call("GetUnit", vec![Value::text(unit)]) {
            Err(failure) if failure.is(NO_SUCH_UNIT) => return Ok(()),
            answer => text(&answer.map_err(|f| failed(&step, "GetUnit", &f))?),
        };
        let interface = "org.freedesktop.systemd1.Unit";
        let found = Object { destination: SYSTEMD, path: &path, interface };
        let start = Instant::now();
        let mut state = self.property(found, "ActiveState")?;
        // One whose last process has just ended is about to go.
        while !matches!(state.as_str(), "inactive" | "failed") && start.elapsed() < BRIEFLY {
            std::thread::sleep(PAUSE);
            state = self.property(found, "ActiveState")?;
        }
        match state.as_str() {
            "inactive" => Ok(()),
            "failed" => self.forget(unit).map_err(|f| failed(&step, "ResetFailedUnit", &f)),
            state => {
                Err(Error::said(step, format!("there is one, and it is {state}")).hint(format!(
                    "another container has this linux.cgroupsPath; see systemctl status {unit}"
                )))
            }
        }
    }

    /// Starts a transient unit, and waits until it stands.
    ///
    /// # Errors
    /// What systemd says against it.
    pub(crate) fn start(
        &mut self,
        unit: &str,
        properties: &[(String, String)],
        process: Option<i32>,
    ) -> Result<()> {
        let step = format!("start unit {unit}");
        let mut properties = parsed(&step, properties)?;
        if let Some(pid) = process {
            let pids = Value::Array("u".to_owned(), vec![Value::uint32(pid.cast_unsigned())]);
            properties.push(property("PIDs", pids));
        }
        let body = vec![
            Value::text(unit),
            Value::text("fail"),
            Value::Array("(sv)".to_owned(), properties),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let result = self.job("StartTransientUnit", body);
        match result.map_err(|failure| failed(&step, "StartTransientUnit", &failure))?.as_str() {
            "done" => Ok(()),
            result => Err(Error::said(step, format!("systemd's job ended as {result:?}"))
                .hint(format!("its reason is in the journal: journalctl -u {unit}"))),
        }
    }

    /// Moves a process into a unit, or into a cgroup below its own.
    ///
    /// # Errors
    /// What systemd says against it.
    pub(crate) fn attach(&mut self, unit: &str, below: &str, pid: i32) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![Value::uint32(pid.cast_unsigned())]);
        let body = vec![Value::text(unit), Value::text(below), pids];
        self.call("AttachProcessesToUnit", body).map(drop).map_err(|failure| {
            failed(&format!("move a process into {unit}"), "AttachProcessesToUnit", &failure)
        })
    }

    /// Changes properties of a unit, until it ends.
    ///
    /// # Errors
    /// What systemd says against it.
    pub(crate) fn set(&mut self, unit: &str, properties: &[(String, String)]) -> Result<()> {
        let step = format!("change unit {unit}");
        let properties = Value::Array("(sv)".to_owned(), parsed(&step, properties)?);
        let body = vec![Value::text(unit), Value::Bool(true), properties];
        let result = self.call("SetUnitProperties", body);
        result.map(drop).map_err(|failure| failed(&step, "SetUnitProperties", &failure))
    }

    /// Ends a unit and has it forgotten. That it is gone is as good.
    ///
    /// # Errors
    /// What systemd says against it.
    pub(crate) fn stop(&mut self, unit: &str) -> Result<()> {
        let step = format!("stop unit {unit}");
        let body = vec![Value::text(unit), Value::text("replace")];
        match self.job("StopUnit", body) {
            Err(failure) if failure.is(NO_SUCH_UNIT) => return Ok(()),
            result => result.map_err(|failure| failed(&step, "StopUnit", &failure))?,
        };
        self.forget(unit).map_err(|failure| failed(&step, "ResetFailedUnit", &failure))
    }

    fn forget(&mut self, unit: &str) -> std::result::Result<(), Failure> {
        match self.call("ResetFailedUnit", vec![Value::text(unit)]) {
            Err(failure) if !failure.is(NO_SUCH_UNIT) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Calls a method that starts a job, and waits for the job's result.
    fn job(&mut self, method: &str, body: Vec<Value>) -> std::result::Result<String, Failure> {
        // Before the job is there: a short one ends before its number is known here.
        self.connection.listen(MANAGER, JOB_REMOVED)?;
        self.call("Subscribe", Vec::new())?;
        let job = text(&self.call(method, body)?);
        self.connection.await_signal(JOB_REMOVED, |arguments| match arguments {
            [_, Value::Text(_, path), _, Value::Text(_, result)] if *path == job => {
                Some(result.clone())
            }
            _ => None,
        })
    }

    fn call(&mut self, method: &str, body: Vec<Value>) -> std::result::Result<Vec<Value>, Failure> {
        self.connection.call(MANAGER, method, body)
    }

    fn property(&mut self, object: Object<'_>, name: &str) -> Result<String> {
        let properties = Object { interface: "org.freedesktop.DBus.Properties", ..object };
        let body = vec![Value::text(object.interface), Value::text(name)];
        let answer = self.connection.call(properties, "Get", body);
        answer
            .map(|answer| text(&answer))
            .map_err(|failure| failed(&format!("read systemd's property {name}"), "Get", &failure))
    }
}

/// The first value as text, out of its variant.
fn text(values: &[Value]) -> String {
    match values.first() {
        Some(Value::Text(_, text)) => text.clone(),
        Some(Value::Variant(value)) => text(std::slice::from_ref(value)),
        _ => String::new(),
    }
}

fn property(name: &str, value: Value) -> Value {
    Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value))])
}

fn parsed(step: &str, properties: &[(String, String)]) -> Result<Vec<Value>> {
    let parsed = properties.iter().map(|(name, value)| match Value::parse(value) {
        Ok(value) => Ok(property(name, value)),
        Err(reason) => Err(Error::said(step, format!("{name}={value}: {reason}"))),
    });
    parsed.collect()
}

/// The places at which systemd may be found, best first.
fn addresses(user: bool, variable: impl Fn(&str) -> Option<String>) -> Vec<Address> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let bus = |path: &str| Address::Bus(format!("unix:path={path}"));
    if !user {
        let given = set("DBUS_SYSTEM_BUS_ADDRESS").map(Address::Bus);
        return vec![
            given.unwrap_or_else(|| bus("/run/dbus/system_bus_socket")),
            Address::Private("/run/systemd/private".to_owned()),
        ];
    }
    let dir = set("XDG_RUNTIME_DIR");
    let own = dir.iter().flat_map(|dir| {
        [bus(&format!("{dir}/bus")), Address::Private(format!("{dir}/systemd/private"))]
    });
    set("DBUS_SESSION_BUS_ADDRESS").map(Address::Bus).into_iter().chain(own).collect()
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Broken(words) => words.clone(),
        Failure::Refused(name, words) if words.is_empty() => name.clone(),
        Failure::Refused(name, words) => format!("{} ({name})", words.trim_end_matches('.')),
    }
}

fn failed(step: &str, method: &str, failure: &Failure) -> Error {
    let error = Error::said(step, format!("{method} of systemd: {}", words(failure)));
    let denied = [
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
    ];
    match failure {
        Failure::Refused(name, _) if denied.contains(&name.as_str()) => {
            error.hint("only root may ask the machine's systemd for this")
        }
        Failure::Refused(name, _) if name == "org.freedesktop.DBus.Error.PropertyReadOnly" => {
            error.hint("this systemd doesn't know the property, or can't set it on such a unit")
        }
        _ => error,
    }
}
