//! What the agent says about itself, made fit for the wire.
//!
//! A number that the protocol refuses must never cost a heartbeat, so everything that an agent
//! may hand in at run time is clipped here, silently: an agent with a NaN is still alive.

use std::collections::VecDeque;

use pulsegate_wire::{CommandAck, Heartbeat, Metrics, Progress, Status, limits};

/// What the next heartbeat will say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) status: Status,
    pub(crate) metrics: Metrics,
    pub(crate) progress: Option<Progress>,
    /// Acknowledgements that no answered heartbeat has carried yet, oldest first.
    pub(super) acks: VecDeque<CommandAck>,
}

impl Report {
    /// Queues an acknowledgement; the newest of a command counts, the oldest gives way.
    pub(super) fn acknowledge(&mut self, mut ack: CommandAck) {
        clip_text(&mut ack.detail, limits::ACK_DETAIL_BYTES);
        self.acks.retain(|known| known.id != ack.id);
        if self.acks.len() == limits::COMMAND_ACKS {
            self.acks.pop_front();
        }
        self.acks.push_back(ack);
    }

    /// Forgets the acknowledgements that an answered heartbeat carried.
    pub(super) fn forget_acks(&mut self, carried: &[CommandAck]) {
        self.acks.retain(|ack| !carried.contains(ack));
    }

    /// Writes everything into a heartbeat.
    pub(super) fn fill(&self, heartbeat: &mut Heartbeat) {
        heartbeat.status = self.status as i32;
        heartbeat.metrics = Some(fit_metrics(self.metrics.clone()));
        heartbeat.progress = self.progress.clone().map(fit_progress);
        heartbeat.command_acks = self.acks.iter().cloned().collect();
    }
}

fn fit_metrics(mut metrics: Metrics) -> Metrics {
    let integers = [
        &mut metrics.queue_depth,
        &mut metrics.active_tasks,
        &mut metrics.memory_bytes,
        &mut metrics.error_count,
    ];
    for value in integers {
        *value = value.map(|value| value.min(limits::INTEGER));
    }
    metrics.cpu_percent = fit_percent(metrics.cpu_percent);
    metrics.latency_ms =
        metrics.latency_ms.filter(|value| value.is_finite()).map(|value| value.max(0.0));
    let name_fits = |name: &str| {
        (1..=limits::NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
    };
    metrics.custom.retain(|name, value| value.is_finite() && name_fits(name));
    while metrics.custom.len() > limits::CUSTOM_METRICS {
        metrics.custom.pop_last();
    }
    metrics
}

fn fit_progress(mut progress: Progress) -> Progress {
    progress.watermark = progress.watermark.min(limits::INTEGER);
    progress.percent = fit_percent(progress.percent);
    progress.stall_after_ms = progress
        .stall_after_ms
        .map(|stall| stall.clamp(limits::STALL_AFTER_MIN_MS, limits::INTEGER));
    clip_text(&mut progress.task, limits::TASK_BYTES);
    progress
}

fn fit_percent(percent: Option<f64>) -> Option<f64> {
    percent.filter(|value| !value.is_nan()).map(|value| value.clamp(0.0, 100.0))
}

/// Cuts a text at its limit, between characters, and blanks control characters.
fn clip_text(text: &mut String, limit: usize) {
    if text.chars().any(char::is_control) {
        *text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_agent_hands_in_passes_the_gateways_validation() {
        let mut report = Report {
            metrics: Metrics {
                queue_depth: Some(u64::MAX),
                active_tasks: Some(u64::MAX),
                cpu_percent: Some(f64::INFINITY),
                memory_bytes: Some(u64::MAX),
                error_count: Some(u64::MAX),
                latency_ms: Some(f64::NAN),
                custom: (0..40)
                    .map(|n| (format!("m{n}"), f64::from(n)))
                    .chain([("bad name".to_owned(), 1.0), ("nan".to_owned(), f64::NAN)])
                    .collect(),
            },
            progress: Some(Progress {
                watermark: u64::MAX,
                task: "ü\n".repeat(200),
                percent: Some(-4.0),
                stall_after_ms: Some(1),
            }),
            ..Report::default()
        };
        for n in 0..100 {
            report.acknowledge(CommandAck {
                id: format!("c{n}"),
                detail: "é\u{7}".repeat(300),
                ..CommandAck::default()
            });
        }
        let mut heartbeat = Heartbeat { agent_id: "a".into(), ..Heartbeat::default() };
        report.fill(&mut heartbeat);
        assert_eq!(heartbeat.validate(), Ok(()));
        assert_eq!(heartbeat.metrics.as_ref().map(|metrics| metrics.custom.len()), Some(16));
        assert_eq!(heartbeat.command_acks.last().map(|ack| ack.id.as_str()), Some("c99"));
    }

    #[test]
    fn a_command_acknowledged_twice_is_reported_once() {
        let mut report = Report::default();
        report.acknowledge(CommandAck { id: "c".into(), ..CommandAck::default() });
        report.acknowledge(CommandAck { id: "c".into(), outcome: 1, ..CommandAck::default() });
        assert_eq!(report.acks.len(), 1);
        assert_eq!(report.acks[0].outcome, 1);
    }
}
