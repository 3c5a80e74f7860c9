//! The labels of the metrics. Each field is one label; its name is part of the contract.
//!
//! The metrics themselves are in `telemetry/metrics.rs`.

use prometheus_client::encoding::EncodeLabelSet;

/// Declares label sets, each with a constructor.
macro_rules! label_sets {
    ($($name:ident { $($label:ident: $kind:ty),* })*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub struct $name {
                $(pub $label: $kind,)*
            }

            impl $name {
                pub fn of($($label: impl Into<$kind>),*) -> Self {
                    Self { $($label: $label.into()),* }
                }
            }
        )*
    };
}

label_sets! {
    AccountLabels { account: String }
    ClassLabels { account: String, class: &'static str }
    CallbackLabels { account: String, verdict: &'static str }
    CauseLabels { account: String, cause: &'static str }
    EvidenceLabels { account: String, evidence: &'static str }
    KeyLabels { account: String, key: String }
    KindLabels { kind: &'static str }
    OperationLabels { kind: &'static str, state: &'static str }
    OutcomeLabels { account: String, outcome: &'static str }
    ReasonLabels { reason: &'static str }
    StateLabels { state: &'static str }
}
