//! A network that loses, repeats and delays packets, in an order that a seed decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;

/// Of the packets that are not lost, one in fifty comes twice, and one in twenty comes later than
/// those behind it.
const TWICE_PERCENT: u64 = 2;
const LATE_PERCENT: u64 = 5;
/// How late: some round trips of a loopback, so that others overtake it.
const LATE: Duration = Duration::from_millis(8);

/// Numbers that look random, and are the same for the same seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether something happens that happens in so many of a hundred cases.
    fn happens(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// One direction: how many packets of a hundred it loses, and what became of them.
#[derive(Debug, Default)]
pub struct Way {
    lost_percent: AtomicU64,
    lost: AtomicU64,
    twice: AtomicU64,
    late: AtomicU64,
}

/// A network between one client and a gateway. It works, until it is told to lose packets.
pub struct Network {
    /// Where the client finds the gateway.
    pub address: SocketAddr,
    pub to_gateway: Arc<Way>,
    pub to_client: Arc<Way>,
}

impl Way {
    /// From now on so many packets of a hundred get lost; without loss the other faults end too.
    pub fn lose(&self, percent: u64) {
        self.lost_percent.store(percent, SeqCst);
    }

    /// Packets that got lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(SeqCst)
    }

    /// Packets that came twice.
    pub fn twice(&self) -> u64 {
        self.twice.load(SeqCst)
    }

    /// Packets that came late.
    pub fn late(&self) -> u64 {
        self.late.load(SeqCst)
    }

    /// Carries a packet: now and perhaps again, later, or not at all. What a socket does not take
    /// is lost as well, as in any network.
    async fn carry<F>(&self, random: &mut Random, send: impl Fn() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let percent = self.lost_percent.load(SeqCst);
        // All are drawn for each packet, so that one kind of fault does not move the others.
        let is_lost = random.happens(percent);
        let is_twice = random.happens(TWICE_PERCENT) && percent > 0;
        let is_late = random.happens(LATE_PERCENT) && percent > 0;
        if is_lost {
            self.lost.fetch_add(1, SeqCst);
            return;
        }
        if is_twice {
            self.twice.fetch_add(1, SeqCst);
            send().await;
        }
        let sending = send();
        if is_late {
            self.late.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                sending.await;
            });
        } else {
            sending.await;
        }
    }
}

impl Network {
    pub async fn before(gateway: SocketAddr, seed: u64) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        back.connect(gateway).await.unwrap();
        let network = Self {
            address: front.local_addr().unwrap(),
            to_gateway: Arc::default(),
            to_client: Arc::default(),
        };
        let (seen, client) = watch::channel(None);
        let (way, random) = (network.to_gateway.clone(), Random::new(seed));
        tokio::spawn(there(way, random, front.clone(), back.clone(), seen));
        let (way, random) = (network.to_client.clone(), Random::new(!seed));
        tokio::spawn(back_again(way, random, front, back, client));
        network
    }

    /// From now on each way loses so many packets of a hundred.
    pub fn lose(&self, percent: u64) {
        self.to_gateway.lose(percent);
        self.to_client.lose(percent);
    }
}

async fn there(
    way: Arc<Way>,
    mut random: Random,
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    seen: watch::Sender<Option<SocketAddr>>,
) {
    let mut buffer = [0; 2_048];
    while let Ok((length, client)) = front.recv_from(&mut buffer).await {
        seen.send_replace(Some(client));
        let packet: Arc<[u8]> = buffer[..length].into();
        let send = || {
            let (back, packet) = (back.clone(), packet.clone());
            async move { drop(back.send(&packet).await) }
        };
        way.carry(&mut random, send).await;
    }
}

async fn back_again(
    way: Arc<Way>,
    mut random: Random,
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    client: watch::Receiver<Option<SocketAddr>>,
) {
    let mut buffer = [0; 2_048];
    while let Ok(length) = back.recv(&mut buffer).await {
        let client = client.borrow().expect("whoever is answered has sent something");
        let packet: Arc<[u8]> = buffer[..length].into();
        let send = || {
            let (front, packet) = (front.clone(), packet.clone());
            async move { drop(front.send_to(&packet, client).await) }
        };
        way.carry(&mut random, send).await;
    }
}
