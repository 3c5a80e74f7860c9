//! The HTTP server on which the fakes of Acquire and Twilio run.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, ServiceConfig};
use actix_web::{App, HttpResponse, HttpResponseBuilder, HttpServer};
use futures_util::stream;

/// A server on its own threads, so that the caller may run any runtime, or none; it stops when this is
/// dropped.
#[derive(Debug)]
pub(super) struct FakeServer {
    pub addr: SocketAddr,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Binds `listen`; port 0 uses a free port.
    pub fn start(
        listen: SocketAddr,
        workers: usize,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let addr = listener.local_addr()?;
        let (started, handle) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let served = actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || App::new().configure(routes.clone()))
                    .workers(workers)
                    .keep_alive(Duration::from_secs(75))
                    .disable_signals()
                    .shutdown_timeout(0)
                    .listen(listener)?
                    .run();
                // The caller waits for the handle, so sending cannot fail.
                let _ = started.send(server.handle());
                server.await
            });
            if let Err(error) = served {
                tracing::error!(%error, "a fake server ended");
            }
        });
        let server = handle
            .recv()
            .map_err(|_| io::Error::other("a fake server did not start"))?;
        Ok(Self {
            addr,
            server,
            thread: Some(thread),
        })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        // The call requests the stop; the future only waits for it, as joining the thread does.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// A response whose body has only `sent` of `length` bytes; without any, actix closes the connection
/// before the head is sent.
pub(super) fn cut_short(
    mut response: HttpResponseBuilder,
    length: u64,
    sent: Option<String>,
) -> HttpResponse {
    let sent = sent.map(|part| Ok(Bytes::from(part)));
    let parts = sent.into_iter().chain([Err(io::Error::other("cut short"))]);
    response.body(SizedStream::new(length, stream::iter(parts)))
}
