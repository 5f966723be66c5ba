//! TCP connections that can be cut from inside a handler: closed or reset, before or in the middle of an answer.
//! HTTP itself is axum's; this only wraps its socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const OPEN: u8 = 0;
const CLOSE: u8 = 1;
const RESET: u8 = 2;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// An orderly FIN without an answer.
    Close,
    /// An RST: the peer loses even what it had not read yet.
    Reset,
}

/// A handler's grip on the connection that its request came through.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    fate: Arc<AtomicU8>,
}

impl Connection {
    /// Nothing more is written to this connection: the next write ends it.
    pub(super) fn cut(&self, cut: Cut) {
        let fate = match cut {
            Cut::Close => CLOSE,
            Cut::Reset => RESET,
        };
        self.fate.store(fate, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        Self { fate: Arc::clone(&stream.io().fate) }
    }
}

/// A listener whose connections can be cut.
#[derive(Debug)]
pub(super) struct CuttableListener {
    inner: TcpListener,
}

impl CuttableListener {
    /// Binds `address`; port 0 takes a free one.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { inner: TcpListener::bind(address).await? })
    }
}

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.inner.accept().await {
                Ok((inner, address)) => {
                    if let Err(error) = inner.set_nodelay(true) {
                        tracing::debug!(%error, "the simulator could not set TCP_NODELAY");
                    }
                    return (CuttableStream { inner, fate: Arc::default() }, address);
                }
                // Out of descriptors, or a peer that left at once: the next accept may do.
                Err(error) => {
                    tracing::warn!(%error, "the simulator could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A TCP stream that obeys its [`Connection`].
#[derive(Debug)]
pub(super) struct CuttableStream {
    inner: TcpStream,
    fate: Arc<AtomicU8>,
}

impl CuttableStream {
    fn refuse_when_cut(&self) -> io::Result<()> {
        if self.fate.load(Ordering::Acquire) == OPEN {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::ConnectionAborted))
        }
    }
}

impl Drop for CuttableStream {
    fn drop(&mut self) {
        // With a zero linger the close that follows is an RST.
        if self.fate.load(Ordering::Acquire) == RESET
            && let Err(error) = self.inner.set_zero_linger()
        {
            tracing::debug!(%error, "the simulator closes a connection that it meant to reset");
        }
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.refuse_when_cut()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.refuse_when_cut()?;
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refuse_when_cut()?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
