//! A machine as `docker container inspect` shows a container, and what is a machine's own.

use anyhow::Result;
use serde_json::{Value, json};

use crate::home::Home;
use crate::machine::{MachineSummary, Machines};

/// Finds a machine by its name, or its ID or the beginning of it.
pub fn find(home: &Home, wanted: &str) -> Result<Option<Value>> {
    let machines = Machines::open(home);
    if !machines.has(wanted)? {
        return Ok(None);
    }
    let MachineSummary { directory, name, config, state } = MachineSummary::read(machines.find(wanted)?)?;
    let path = config.args.first();
    Ok(Some(json!({
        "Id": config.id,
        "Name": name,
        "Created": config.created,
        "Image": config.image_id,
        "Kernel": config.kernel,
        "Path": path,
        "Args": config.args.get(1..).unwrap_or_default(),
        "State": {
            "Status": state.status,
            "Running": state.status.is_attended(),
            "Paused": state.status.as_str() == "paused",
            "Restarting": state.status.as_str() == "restarting",
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started_at,
            "FinishedAt": state.finished_at,
            "Pid": state.monitor,
            "SupervisorPid": state.supervisor,
        },
        "RestartCount": state.restarts,
        "LogPath": directory.output_log(),
        "KernelLog": directory.kernel_log(),
        "RuntimeDirectory": state.runtime,
        "Disk": { "Upper": directory.upper(), "Bytes": directory.upper_size(), "Kind": config.upper },
        "Rootfs": {
            "Device": state.rootfs_device,
            "Reason": state.rootfs_reason,
            "Private": state.rootfs_private,
            "Format": state.rootfs_format,
            "ReadOnly": config.read_only,
        },
        "HostConfig": {
            "Memory": config.memory,
            "Cpus": config.cpus,
            "AutoRemove": config.remove,
            "RestartPolicy": config.restart,
            "ReadonlyRootfs": config.read_only,
            "Resources": config.resources,
        },
        "Config": {
            "Hostname": config.hostname,
            "User": config.user,
            "Env": config.env,
            "Cmd": config.args,
            "Image": config.image,
            "WorkingDir": config.workdir,
            "Labels": config.labels,
            "Tty": config.tty,
            "OpenStdin": config.open_stdin,
            "StopSignal": config.stop_signal,
            "StopTimeout": config.stop_timeout,
            "Init": config.init,
        },
    })))
}
