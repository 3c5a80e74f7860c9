//! One request to a URL of the configuration, apart from Acquire's and Twilio's: canaries, notifications,
//! heartbeats. It has a connection of its own, so that it takes nothing from a delivery.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use actix_tls::connect::Resolver;
use awc::http::{Method, header};
use tokio::time::timeout;

use crate::acquire::DeliveryFault;
use crate::delivery::acquire_client::errors::{self, NetworkError};
use crate::net::tls::{self, PrivateCa};
use crate::net::{self, OutboundConnector, OutboundUrl, USER_AGENT};

/// A request. Its URL may have a secret, and is in no error.
pub struct Request<'a> {
    pub method: Method,
    pub url: &'a str,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub timeout: Duration,
    /// `acquire.ca_file`, to trust in addition to the system's authorities.
    pub ca_file: Option<&'a Path>,
}

/// What an answer says in its head.
pub struct Answer {
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<String>,
}

impl Request<'_> {
    /// The head of the answer.
    pub async fn send(self) -> Result<Answer, NetworkError> {
        let failed = |fault, words| NetworkError { fault, words };
        let target = OutboundUrl::of(self.url)
            .ok_or_else(|| failed(DeliveryFault::Configuration, "it is not a URL".to_owned()))?;
        let tls = if self.url.starts_with("https://") {
            let private = self.ca_file.map(|file| PrivateCa {
                setting: "acquire.ca_file",
                file,
            });
            let trust = tls::client_config(private, None);
            Some(trust.map_err(|why| failed(DeliveryFault::Tls, why.to_string()))?)
        } else {
            None
        };
        let client = net::http_client(Rc::new(OutboundConnector {
            tls,
            proxy: None,
            names: Resolver::default(),
            timeout: self.timeout,
        }));
        let mut request = client
            .request(self.method, target.uri)
            .insert_header((header::HOST, target.authority.clone()))
            .insert_header((header::USER_AGENT, USER_AGENT));
        for header in self.headers {
            request = request.insert_header(header);
        }
        match timeout(self.timeout, request.send_body(self.body)).await {
            Ok(Ok(answer)) => {
                let retry_after = answer.headers().get(header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok());
                Ok(Answer {
                    status: answer.status().as_u16(),
                    retry_after: retry_after.map(str::to_owned),
                })
            }
            Ok(Err(error)) => Err(errors::explain(&error, &target.authority)),
            Err(_) => {
                let why = format!("no answer within {:?}", self.timeout);
                Err(failed(DeliveryFault::TimeOut, why))
            }
        }
    }
}
