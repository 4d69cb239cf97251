//! Listeners that share one address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for us until they are accepted. Larger: a fleet that comes
/// back at once is not refused; the kernel caps it at `net.core.somaxconn`. Source: chosen, the
/// kernel's own default cap.
const BACKLOG: i32 = 4_096;

/// Listeners on one address, one for each worker.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that the kernel gave where none was asked for.
    pub address: SocketAddr,
    /// The listeners.
    pub listeners: Vec<TcpListener>,
}

/// Binds `count` listeners to one address.
///
/// # Errors
/// The address is not ours, or is taken.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Bound> {
    refuse_taken(address)?;
    let first = listen(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(listen(address)?);
    }
    Ok(Bound { address, listeners })
}

/// Our listeners share their port, and would as well share it with another gateway of the same
/// user, which then gets half of the agents: so ask for it alone first.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    socket(address)?.bind(&address.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections that linger.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
