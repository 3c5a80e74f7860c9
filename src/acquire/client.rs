//! The outward door.
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ClientError;
pub struct Client;
impl Client {
    pub fn new(_: &crate::config::Acquire, _: &crate::config::Delivery) -> Result<Self, ClientError> { Err(ClientError) }
    pub async fn send(&self, _: &crate::config::Account, _: super::Kind, _: String) -> super::Answer { todo!() }
}
