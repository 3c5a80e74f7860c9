//! The names and labels of the metrics are a contract, so they are tested literally.

use super::*;

#[test]
fn the_promised_names_are_exposed() {
    let metrics = Metrics::default();
    metrics.start_at_zero(["acme"]);
    metrics.received("acme", "new").inc();
    metrics.signature_failed("no-match").inc();
    metrics.signing_key("acme", "2").inc();
    metrics.recording_asked("acme", "played").inc();
    metrics.attempts("acme", "accepted").inc();
    metrics.delivery().observe(0.003);
    metrics.late_recordings("acme").inc();
    metrics.breaker_open("acme").set(1);
    for evidence in [Evidence::StatusCallback, Evidence::Weaker] {
        metrics.recorded(
            "acme",
            Recorded::New,
            evidence,
            Duration::from_millis(1),
            Millis(0),
        );
        metrics.recorded(
            "acme",
            Recorded::Repeated,
            evidence,
            Duration::from_millis(1),
            Millis(2_000),
        );
    }
    let text = metrics.exposition(
        Some(&Counts::default()),
        Millis(0),
        MetricsFormat::OpenMetrics,
    );
    for line in [
        r#"bridge_callbacks_received_total{account="acme",verdict="new"} 2"#,
        r#"bridge_callbacks_received_total{account="acme",verdict="repeated"} 2"#,
        r#"bridge_callbacks_received_total{account="acme",verdict="weaker"} 1"#,
        "bridge_ack_duration_seconds_count 4",
        r#"bridge_last_callback_timestamp_seconds{account="acme"} 2.0"#,
        "bridge_config_last_reload_successful 1",
        "bridge_backup_last_success_timestamp_seconds NaN",
        r#"bridge_signature_failures_total{reason="no-match"} 1"#,
        r#"bridge_signing_key_used_total{account="acme",key="2"} 1"#,
        r#"bridge_calls{state="pending"} 0"#,
        "bridge_oldest_pending_age_seconds 0.0",
        r#"bridge_delivery_attempts_total{account="acme",outcome="accepted"} 1"#,
        "bridge_delivery_duration_seconds_count 1",
        "bridge_delivery_lag_seconds_count 0",
        r#"bridge_late_recordings_total{account="acme"} 1"#,
        r#"bridge_breaker_open{account="acme"} 1"#,
        "bridge_sync_duration_seconds 0.0",
        "bridge_store_up 1",
        "bridge_spooled_callbacks 0",
        r#"bridge_clock_events_total{kind="jump-forward"} 0"#,
        r#"bridge_clock_events_total{kind="jump-back"} 0"#,
        r#"bridge_clock_events_total{kind="time-corrected"} 0"#,
        r#"bridge_clock_events_total{kind="purge-held"} 0"#,
        r#"bridge_clock_events_total{kind="removal-deferred"} 0"#,
        r#"bridge_calls_expired_total{state="parked"} 0"#,
        "bridge_store_wal_bytes 0",
        "bridge_store_free_bytes 0",
        "bridge_consistency_errors 0",
        "bridge_consistency_checked_timestamp_seconds 0.0",
        "bridge_certificate_expiry_timestamp_seconds NaN",
        r#"bridge_recordings_requested_total{account="acme",outcome="played"} 1"#,
        r#"bridge_build_info{version=""#,
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
}
