//! What a policy may have beyond the observation: custom metrics and memory.

/// Custom metrics and memory of the agent that an observation is about.
#[derive(Debug)]
pub struct Context<'a> {
    names: &'a [&'a str],
    metrics: &'a [f64],
    memory: &'a mut [f64],
}

impl<'a> Context<'a> {
    /// A context, for the host's calls and for tests: names and values of custom metrics, in the
    /// same order, NaN for one that was not reported; and the memory columns.
    #[must_use]
    pub fn new(names: &'a [&'a str], metrics: &'a [f64], memory: &'a mut [f64]) -> Self {
        Self { names, metrics, memory }
    }

    /// A custom metric of this heartbeat; `None` if it was not reported, or is not among the
    /// `metrics` that the policy named.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let index = self.names.iter().position(|&known| known == name)?;
        self.metrics.get(index).copied().filter(|value| !value.is_nan())
    }

    /// What this policy kept with the agent: as many numbers as `memory_columns`, 0 at first.
    #[must_use]
    pub fn memory(&self) -> &[f64] {
        self.memory
    }

    /// The same, to change what is kept.
    pub fn memory_mut(&mut self) -> &mut [f64] {
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_name_only_where_reported() {
        let context = Context::new(&["a", "b"], &[1.0, f64::NAN], &mut []);
        assert_eq!(context.metric("a"), Some(1.0));
        assert_eq!(context.metric("b"), None);
        assert_eq!(context.metric("c"), None);
    }
}
