//! A bad network: a proxy for UDP that stands in front of one replica and drops, delays or cuts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::random_range;
use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};

/// More than any datagram of QUIC has.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// What happens to datagrams; it may change at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// So many of a hundred are lost.
    pub loss_percent: u32,
    /// Each is late by up to so much, so that they overtake each other.
    pub delay_ms_max: u64,
    /// Nothing goes to the replica.
    pub cut_towards: bool,
    /// Nothing comes from the replica.
    pub cut_back: bool,
}

impl Weather {
    /// Nothing passes at all.
    pub const CUT: Self = Self {
        loss_percent: 0,
        delay_ms_max: 0,
        cut_towards: true,
        cut_back: true,
    };
}

/// The proxy; it ends with its handle.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: Shared,
    task: JoinHandle<()>,
}

type Shared = Arc<Mutex<Weather>>;

impl Proxy {
    /// A proxy before this address, in fair weather.
    pub async fn before(replica: SocketAddr) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let weather = Shared::default();
        let task = tokio::spawn(serve(Arc::new(socket), replica, weather.clone()));
        Self {
            address,
            weather,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it is like this.
    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every address that sends something gets a socket of its own towards the replica.
async fn serve(socket: Arc<UdpSocket>, replica: SocketAddr, weather: Shared) {
    let mut tasks = JoinSet::new();
    let mut towards = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error is the echo of a datagram that somebody does not take any more.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let own = match towards.get(&from) {
            Some(own) => own.clone(),
            None => {
                let Ok(own) = UdpSocket::bind(("127.0.0.1", 0)).await.map(Arc::new) else {
                    continue;
                };
                tasks.spawn(answer(own.clone(), socket.clone(), from, weather.clone()));
                towards.insert(from, own.clone());
                own
            }
        };
        let now = *weather.lock().unwrap_or_else(PoisonError::into_inner);
        if !now.cut_towards {
            pass(now, &own, replica, buffer[..length].to_vec());
        }
    }
}

async fn answer(own: Arc<UdpSocket>, socket: Arc<UdpSocket>, to: SocketAddr, weather: Shared) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, _)) = own.recv_from(&mut buffer).await else {
            continue;
        };
        let now = *weather.lock().unwrap_or_else(PoisonError::into_inner);
        if !now.cut_back {
            pass(now, &socket, to, buffer[..length].to_vec());
        }
    }
}

fn pass(weather: Weather, socket: &Arc<UdpSocket>, to: SocketAddr, datagram: Vec<u8>) {
    if random_range(0..100) < weather.loss_percent {
        return;
    }
    let (socket, delay) = (socket.clone(), random_range(0..=weather.delay_ms_max));
    tokio::spawn(async move {
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        // Networks lose what they cannot pass on.
        let _ = socket.send_to(&datagram, to).await;
    });
}
