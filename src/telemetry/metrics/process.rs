//! The metrics of this process, with the names that all Prometheus client libraries use.

use std::fmt;
use std::time::Duration;

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads `/proc` at each scrape. A value that cannot be read has no series.
#[derive(Debug)]
pub struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(process) = Process::myself() else {
            return Ok(());
        };
        let mut gauge = |name, help, unit: Option<Unit>, value: u64| {
            let of = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            ConstGauge::new(value).encode(of)
        };
        if let Ok(open) = process.fd_count() {
            gauge("open_fds", "Open file descriptors", None, open as u64)?;
        }
        if let Ok(limits) = process.limits()
            && let LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            gauge("max_fds", "Limit on open file descriptors", None, most)?;
        }
        let Ok(stat) = process.stat() else {
            return Ok(());
        };
        let resident = stat.rss * procfs::page_size();
        let bytes = Some(Unit::Bytes);
        gauge(
            "resident_memory",
            "Resident memory size",
            bytes.clone(),
            resident,
        )?;
        gauge("virtual_memory", "Virtual memory size", bytes, stat.vsize)?;
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot + ticks(stat.starttime).as_secs();
            let help = "Start of the process since 1970-01-01 UTC";
            gauge("start_time", help, Some(Unit::Seconds), started)?;
        }
        let (help, kind) = ("User and system CPU time", MetricType::Counter);
        let of = encoder.encode_descriptor("cpu", help, Some(&Unit::Seconds), kind)?;
        ConstCounter::new(ticks(stat.utime + stat.stime).as_secs_f64()).encode(of)
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1_000 / procfs::ticks_per_second().max(1))
}
