//! The two text formats of the metrics. Some collectors read only the older one.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The formats of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4
    PrometheusText,
}

impl MetricsFormat {
    /// The format for a request with this `Accept` header.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::PrometheusText
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::PrometheusText => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Metrics in `OpenMetrics`, in this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::PrometheusText => prometheus_text(&open_metrics),
        }
    }
}

/// The names of counters end in `_total` in their comments too, infos are gauges, and there are neither
/// units nor an end mark.
fn prometheus_text(open_metrics: &str) -> String {
    let kinds = open_metrics.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name, kind))
    });
    let kinds: HashMap<&str, &str> = kinds.collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let comment = line.strip_prefix("# ").and_then(|comment| {
            let mut words = comment.splitn(3, ' ');
            Some((words.next()?, words.next()?, words.next()?))
        });
        match comment {
            None if line.starts_with('#') => {}
            None => {
                text += line;
                text.push('\n');
            }
            Some(("UNIT", ..)) => {}
            Some((keyword, name, rest)) => {
                let (end, rest) = match (kinds.get(name).copied(), keyword) {
                    (Some("counter"), _) => ("_total", rest),
                    (Some("info"), "TYPE") => ("_info", "gauge"),
                    (Some("info"), _) => ("_info", rest),
                    _ => ("", rest),
                };
                let _ = writeln!(text, "# {keyword} {name}{end} {rest}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_format_names_counters_and_infos_as_their_samples() {
        let open = "# HELP a_b How often.\n# TYPE a_b counter\na_b_total{x=\"# y\"} 1\n\
                    # HELP c Size.\n# TYPE c gauge\n# UNIT c bytes\nc 2\n\
                    # HELP d Version.\n# TYPE d info\nd_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_b_total How often.\n# TYPE a_b_total counter\na_b_total{x=\"# y\"} 1\n\
                    # HELP c Size.\n# TYPE c gauge\nc 2\n\
                    # HELP d_info Version.\n# TYPE d_info gauge\nd_info{v=\"1\"} 1\n";
        assert_eq!(prometheus_text(open), text);
    }
}
