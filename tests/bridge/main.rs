//! The whole bridge over real sockets: Twilio on one side, the fake Acquire on the other.

mod accounts;
mod admin;
mod admin_safety;
mod audit;
mod balancers;
mod callbacks;
mod clock;
mod commands;
mod consistency_check;
mod debugging;
mod delivery;
mod desk;
mod directory;
mod doctor;
mod draining;
mod erasure;
mod failing;
mod faults;
mod finding;
mod https;
mod notify;
mod openapi;
mod operations;
mod operator;
mod operators_proxy;
mod other_programs;
mod outage;
mod pages;
mod pod;
mod process;
mod proxies;
mod proxy_protocol;
mod raw_servers;
mod reconcile;
mod recordings;
mod refusal_log;
mod refused;
mod reload;
mod report;
mod requeue;
mod slow_clients;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod watching;
mod whole_call;
