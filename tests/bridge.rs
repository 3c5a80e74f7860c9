//! The whole bridge over real sockets: Twilio on one side, Acquire's stand-in on the other.

#[path = "common/certified.rs"]
mod certified;
#[path = "bridge/harness.rs"]
mod harness;
#[path = "bridge/http.rs"]
mod http;
#[path = "common/port.rs"]
mod port;
#[path = "bridge/serve.rs"]
mod serve;
#[path = "bridge/twilio.rs"]
mod twilio;

#[path = "bridge/admin.rs"]
mod admin;
#[path = "bridge/audit.rs"]
mod audit;
#[path = "bridge/balancers.rs"]
mod balancers;
#[path = "bridge/commands.rs"]
mod commands;
#[path = "bridge/debugging.rs"]
mod debugging;
#[path = "bridge/delivery.rs"]
mod delivery;
#[path = "bridge/desk.rs"]
mod desk;
#[path = "bridge/draining.rs"]
mod draining;
#[path = "bridge/faults.rs"]
mod faults;
#[path = "bridge/https.rs"]
mod https;
#[path = "bridge/intake.rs"]
mod intake;
#[path = "bridge/outage.rs"]
mod outage;
#[path = "bridge/people.rs"]
mod people;
#[path = "bridge/places.rs"]
mod places;
#[path = "bridge/process.rs"]
mod process;
#[path = "bridge/proxies.rs"]
mod proxies;
#[path = "bridge/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "bridge/recordings.rs"]
mod recordings;
#[path = "bridge/refused.rs"]
mod refused;
#[path = "bridge/reload.rs"]
mod reload;
#[path = "bridge/requeue.rs"]
mod requeue;
#[path = "bridge/story.rs"]
mod story;
