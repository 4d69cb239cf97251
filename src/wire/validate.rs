//! The rules that a well-formed message must keep before anything acts on it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use crate::enums::ProbeKind;
use crate::{
    AgentId, Code, CommandAck, Heartbeat, Metrics, Probe, Problem, Progress, Registration, SCHEMA,
    limits,
};

pub(crate) type Checked = Result<(), Box<Problem>>;

impl Heartbeat {
    /// Checks every rule of a heartbeat.
    ///
    /// # Errors
    /// A [`Problem`] that names the first field that breaks a rule, and the limit.
    pub fn validate(&self) -> Checked {
        if self.schema > SCHEMA {
            return Err(Box::new(Problem {
                field: Some("schema".into()),
                ..Problem::new(Code::SchemaUnsupported, "this gateway speaks schema 1")
                    .with_limit(f64::from(SCHEMA))
            }));
        }
        agent_id("agent_id", &self.agent_id)?;
        integer("incarnation", self.incarnation)?;
        integer("sequence", self.sequence)?;
        integer("sent_at_ms", self.sent_at_ms)?;
        integer("directive_seen", self.directive_seen)?;
        self.metrics.as_ref().map_or(Ok(()), Metrics::validate)?;
        self.progress.as_ref().map_or(Ok(()), Progress::validate)?;
        count("command_acks", self.command_acks.len(), limits::COMMAND_ACKS)?;
        self.command_acks.iter().try_for_each(CommandAck::validate)?;
        let Self { class, labels, endpoint, capabilities, probe, .. } = self;
        registration(class, labels, endpoint, capabilities, probe)
    }
}

impl Registration {
    /// Checks every rule of a registration.
    ///
    /// # Errors
    /// A [`Problem`] that names the first field that breaks a rule, and the limit.
    pub fn validate(&self) -> Checked {
        let Self { class, labels, endpoint, capabilities, probe } = self;
        registration(class, labels, endpoint, capabilities, probe)
    }
}

impl Metrics {
    fn validate(&self) -> Checked {
        let integers = [
            ("metrics.queue_depth", self.queue_depth),
            ("metrics.active_tasks", self.active_tasks),
            ("metrics.memory_bytes", self.memory_bytes),
            ("metrics.error_count", self.error_count),
        ];
        for (field, value) in integers {
            value.map_or(Ok(()), |value| integer(field, value))?;
        }
        percent("metrics.cpu_percent", self.cpu_percent)?;
        if let Some(latency) = self.latency_ms
            && (!latency.is_finite() || latency < 0.0)
        {
            return refuse("metrics.latency_ms", "must be a number from 0");
        }
        count("metrics.custom", self.custom.len(), limits::CUSTOM_METRICS)?;
        for (key, value) in &self.custom {
            name("metrics.custom", key)?;
            if !value.is_finite() {
                let field = format!("metrics.custom.{key}");
                return refuse(&field, "must be a finite number");
            }
        }
        Ok(())
    }
}

impl Progress {
    fn validate(&self) -> Checked {
        integer("progress.watermark", self.watermark)?;
        text("progress.task", &self.task, limits::TASK_BYTES)?;
        percent("progress.percent", self.percent)?;
        match self.stall_after_ms {
            Some(stall) if stall < limits::STALL_AFTER_MIN_MS => over(
                "progress.stall_after_ms",
                "must be at least a second",
                limits::STALL_AFTER_MIN_MS as f64,
            ),
            Some(stall) => integer("progress.stall_after_ms", stall),
            None => Ok(()),
        }
    }
}

impl CommandAck {
    fn validate(&self) -> Checked {
        if self.id.is_empty() {
            return refuse("command_acks.id", "must not be empty");
        }
        text("command_acks.id", &self.id, limits::COMMAND_ID_BYTES)?;
        text("command_acks.detail", &self.detail, limits::ACK_DETAIL_BYTES)
    }
}

impl Probe {
    fn validate(&self) -> Checked {
        if !(1..=65_535).contains(&self.port) {
            return over("probe.port", "must be from 1 to 65535", 65_535.0);
        }
        text("probe.path", &self.path, limits::PROBE_PATH_BYTES)?;
        let path_fits = match ProbeKind::from_number(self.kind) {
            ProbeKind::Tcp => self.path.is_empty(),
            ProbeKind::Http => {
                self.path.starts_with('/')
                    && !self.path.starts_with("//")
                    && self.path.bytes().all(|byte| byte.is_ascii_graphic())
            }
        };
        if path_fits {
            Ok(())
        } else {
            refuse("probe.path", "must be a path from / for http, and empty for tcp")
        }
    }
}

fn registration(
    class: &Option<String>,
    labels: &BTreeMap<String, String>,
    endpoint: &Option<String>,
    capabilities: &[String],
    probe: &Option<Probe>,
) -> Checked {
    class.as_ref().map_or(Ok(()), |class| name("class", class))?;
    count("labels", labels.len(), limits::LABELS)?;
    for (key, value) in labels {
        name("labels", key)?;
        text(key, value, limits::LABEL_VALUE_BYTES).map_err(|problem| {
            Box::new(Problem { field: Some(format!("labels.{key}")), ..*problem })
        })?;
    }
    endpoint
        .as_ref()
        .map_or(Ok(()), |endpoint| text("endpoint", endpoint, limits::ENDPOINT_BYTES))?;
    count("capabilities", capabilities.len(), limits::CAPABILITIES)?;
    capabilities.iter().try_for_each(|capability| name("capabilities", capability))?;
    probe.as_ref().map_or(Ok(()), Probe::validate)
}

pub(crate) fn agent_id(field: &str, text: &str) -> Checked {
    AgentId::check(text)
        .or_else(|error| over(field, &format!("{error}"), limits::AGENT_ID_BYTES as f64))
}

fn refuse(field: &str, detail: &str) -> Checked {
    Err(Box::new(Problem::on_field(field, detail)))
}

pub(crate) fn over(field: &str, detail: &str, limit: f64) -> Checked {
    Err(Box::new(Problem::on_field(field, detail).with_limit(limit)))
}

pub(crate) fn integer(field: &str, value: u64) -> Checked {
    if value <= limits::INTEGER {
        return Ok(());
    }
    over(field, "must be at most 2^53 - 1", limits::INTEGER as f64)
}

fn percent(field: &str, value: Option<f64>) -> Checked {
    match value {
        Some(value) if !(0.0..=100.0).contains(&value) => {
            over(field, "must be from 0 to 100", 100.0)
        }
        _ => Ok(()),
    }
}

fn count(field: &str, len: usize, limit: usize) -> Checked {
    if len <= limit {
        return Ok(());
    }
    over(field, "has too many entries", limit as f64)
}

/// A text for people: bounded, and without control characters, which could forge log lines.
fn text(field: &str, value: &str, limit: usize) -> Checked {
    if value.len() > limit {
        return over(field, "is too long", limit as f64);
    }
    if value.chars().any(char::is_control) {
        return refuse(field, "must not hold control characters");
    }
    Ok(())
}

/// A word for machines: 1 to 63 of letters, digits and `. _ : / -`.
fn name(field: &str, value: &str) -> Checked {
    if value.is_empty() || value.len() > limits::NAME_BYTES {
        return over(field, "a name must be 1 to 63 bytes long", limits::NAME_BYTES as f64);
    }
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte)) {
        return Ok(());
    }
    refuse(field, "a name may hold only letters, digits and . _ : / -")
}
