//! One TLS provider for the whole process.

/// Makes ring the provider of all TLS connections; without an effect after the first time.
pub fn install() {
    // An error says that a provider is installed already, and this program knows no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
