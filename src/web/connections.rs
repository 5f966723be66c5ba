//! Connections: how many there may be, how long a client may take, and how they end. A client that is slow or says nothing
//! loses its connection, so that it costs a place for a known time; HTTP/1.1 only, so that no other protocol has bounds of its own.
//!
//! When every place is taken, a few more are let into the hall: each may put one question there and leave. Probes and the scrape
//! are answered in the hall, everything else is told to come again; whoever finds the hall full waits in the system's queue.

use std::{
    future::Future as _,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::Sleep,
};
use tokio_util::sync::CancellationToken;

use super::WebLimits;

/// Connections in the hall.
const HALL: usize = 16;

/// In the hall a question is put at once.
const HALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Where no connection can be taken, as without a file descriptor, the next one is looked at after this.
const REST: Duration = Duration::from_millis(200);

/// What is answered, and within which bounds.
pub(super) struct Reception {
    /// To everybody who has a place.
    pub(super) routes: Router,
    /// In the hall.
    pub(super) hall: Router,
    /// The bounds.
    pub(super) limits: WebLimits,
}

/// Takes connections until `shutdown` is cancelled, then waits for the requests in flight. Whoever drops it cuts them off.
///
/// # Errors
/// The process's own semaphore is gone; it never is.
pub(super) async fn receive(
    listener: TcpListener,
    reception: Reception,
    shutdown: CancellationToken,
) -> Result<(), io::Error> {
    let places = Arc::new(Semaphore::new(reception.limits.max_connections));
    let hall = Arc::new(Semaphore::new(HALL));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = open.join_next() => said(ended),
            arrived = arrive(&listener, &hall) => {
                let (stream, waiting) = arrived?;
                let manners = if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    drop(waiting);
                    Manners::guest(&reception, place)
                } else {
                    Manners::hall(&reception, waiting)
                };
                open.spawn(attend(stream, manners, shutdown.clone()));
            }
        }
    }
    // Nobody is to queue for a process that ends.
    drop(listener);
    while let Some(ended) = open.join_next().await {
        said(ended);
    }
    Ok(())
}

/// The next connection, and a place in the hall should there be no other.
async fn arrive(listener: &TcpListener, hall: &Arc<Semaphore>) -> Result<(TcpStream, OwnedSemaphorePermit), io::Error> {
    let waiting = Arc::clone(hall).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, waiting)),
            Err(error) if is_the_clients(&error) => tracing::debug!(%error, "a client went before it was let in"),
            Err(error) => {
                tracing::error!(%error, "no connection can be taken; raise the limit of open files, or lower [server] max_connections");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn said(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request's handler failed; its connection is closed");
    }
}

/// How one connection is served.
struct Manners {
    routes: Router,
    head_timeout: Duration,
    stall_timeout: Duration,
    /// Longest life; `None`: as long as it is used.
    life: Option<Duration>,
    _place: OwnedSemaphorePermit,
}

impl Manners {
    fn guest(reception: &Reception, place: OwnedSemaphorePermit) -> Self {
        let Reception { routes, limits, .. } = reception;
        Self {
            routes: routes.clone(),
            head_timeout: limits.header_timeout,
            stall_timeout: limits.request_timeout,
            life: None,
            _place: place,
        }
    }

    fn hall(reception: &Reception, place: OwnedSemaphorePermit) -> Self {
        let Reception { hall, limits, .. } = reception;
        let head_timeout = limits.header_timeout.min(HALL_TIMEOUT);
        Self {
            routes: hall.clone(),
            head_timeout,
            stall_timeout: head_timeout,
            life: Some(head_timeout.saturating_add(limits.request_timeout)),
            _place: place,
        }
    }
}

async fn attend(stream: TcpStream, manners: Manners, shutdown: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    let keeps = manners.life.is_none();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(manners.head_timeout).keep_alive(keeps);
    let io = TokioIo::new(Impatient::new(stream, manners.stall_timeout));
    let connection = builder.serve_connection(io, TowerToHyperService::new(manners.routes));
    let mut connection = pin!(connection);
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let ended = match manners.life {
        Some(life) => tokio::time::timeout(life, served).await.unwrap_or(Ok(())),
        None => served.await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection was broken off");
    }
}

/// A stream whose writing fails when the other side takes nothing for so long. hyper has bounds for reading only.
struct Impatient {
    stream: TcpStream,
    stall_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, stall_timeout: Duration) -> Self {
        Self { stream, stall_timeout, stalled: None }
    }

    /// What came of a write, or the end of patience.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
