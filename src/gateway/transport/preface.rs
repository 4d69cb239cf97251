//! Which version of HTTP a connection speaks, told by its first bytes.
//!
//! What was read to find out comes again, together with whatever has come behind it: after a
//! first read that brings only a few bytes, hyper doubles its buffer and keeps it that large
//! (`proto/h1/io.rs`, `poll_read_from_io`), 8 KiB for each idle connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What a client of HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether a connection speaks HTTP/2.
///
/// # Errors
/// The connection broke.
pub(super) async fn is_http2<IO>(mut io: IO) -> io::Result<(bool, Rewound<IO>)>
where
    IO: AsyncRead + Unpin,
{
    let mut bytes = [0; PREFACE.len()];
    let mut len = 0;
    let is_http2 = loop {
        let more = io.read(&mut bytes[len..]).await?;
        len += more;
        if more == 0 || bytes[..len] != PREFACE[..len] {
            break false;
        }
        if len == PREFACE.len() {
            break true;
        }
    };
    Ok((is_http2, Rewound { read: Bytes::copy_from_slice(&bytes[..len]), io }))
}

/// A connection that is read from its beginning again.
pub(super) struct Rewound<IO> {
    read: Bytes,
    io: IO,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewound<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let fits = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(fits));
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            // Something was read all the same.
            Poll::Pending => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewound<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Whether it is HTTP/2, what the first read brings, and all that is read, of a stream that
    /// comes in these pieces.
    async fn read(pieces: &[&[u8]]) -> (bool, Vec<u8>, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(1_024);
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                // The other side reads what is there before more comes.
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let reading = async {
            let (is_http2, mut rewound) = is_http2(server).await.unwrap();
            let mut all = vec![0; 512];
            let first = rewound.read(&mut all).await.unwrap();
            all.truncate(first);
            let first = all.clone();
            rewound.read_to_end(&mut all).await.unwrap();
            (is_http2, first, all)
        };
        tokio::join!(reading, sending).0
    }

    #[tokio::test]
    async fn a_version_is_told_however_its_beginning_is_cut_and_nothing_is_lost() {
        let http2 = [&PREFACE[..], b"settings"].concat();
        let post = b"POST /v1/heartbeats HTTP/1.1\r\n\r\n".as_slice();
        let almost = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX and more".as_slice();
        let cases: [(&[u8], bool); 6] = [
            (&http2, true),
            (&PREFACE[..], true),
            (post, false),
            (almost, false),
            (b"PR", false),
            (b"", false),
        ];
        for (stream, expected) in cases {
            for cut in 0..=stream.len().min(30) {
                let (is_http2, _, all) = read(&[&stream[..cut], &stream[cut..]]).await;
                assert_eq!((is_http2, &all[..]), (expected, stream), "cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn what_came_behind_the_beginning_comes_in_the_same_read() {
        let post = b"POST /v1/heartbeats HTTP/1.1\r\n\r\n".as_slice();
        assert_eq!(read(&[post]).await.1, post);
    }
}
