//! How many: connections, connections of one address, handshakes under way.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{peer::counted, stats::OpenConnection};

/// Connections of one address, unless the server says otherwise. A client on the same machine is a proxy or a tool, and
/// not counted then.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 256;

/// The caps of a server. A permit counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Limits {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

impl Limits {
    pub(crate) fn new(connections: usize, per_address: Option<usize>, handshakes: usize) -> Self {
        let semaphore =
            |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self {
            connections: semaphore(connections),
            handshakes: semaphore(handshakes),
            addresses: Arc::new(Addresses {
                limit: per_address.unwrap_or(CONNECTIONS_PER_ADDRESS),
                loopback: per_address.is_some(),
                counts: Mutex::default(),
            }),
        }
    }

    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    pub(crate) fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        self.handshakes.clone().try_acquire_owned().ok()
    }

    pub(crate) fn address(&self, address: IpAddr) -> Option<AddressPermit> {
        let local = address.to_canonical().is_loopback();
        let exempt = local && !self.addresses.loopback;
        let address = counted(address);
        let mut counts = self
            .addresses
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if !exempt && *count >= self.addresses.limit {
            if *count == 0 {
                counts.remove(&address);
            }
            return None;
        }
        *count += 1;
        drop(counts);
        Some(AddressPermit {
            addresses: self.addresses.clone(),
            address,
        })
    }
}

#[derive(Debug)]
struct Addresses {
    limit: usize,
    /// Whether the limit holds for clients on the same machine.
    loopback: bool,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// What a connection occupies until it, and every socket on it, is gone.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) _connection: OwnedSemaphorePermit,
    pub(crate) _address: Option<AddressPermit>,
    pub(crate) _open: OpenConnection,
}

/// One connection of an address.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = self
            .addresses
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
                // A wave of addresses must not leave its memory behind.
                if counts.capacity() > 64 && counts.len() < counts.capacity() / 4 {
                    counts.shrink_to_fit();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_count_until_they_are_dropped() {
        let limits = Limits::new(2, Some(1), 1);
        let first = limits.connection().expect("the first");
        let _second = limits.connection().expect("the second");
        assert!(limits.connection().is_none());
        drop(first);
        assert!(limits.connection().is_some());

        let handshake = limits.handshake();
        assert!(handshake.is_some() && limits.handshake().is_none());
        drop(handshake);
        assert!(limits.handshake().is_some());
    }

    #[test]
    fn addresses_count_by_network_and_are_forgotten() {
        let limits = Limits::new(9, Some(1), 9);
        let at = |text: &str| limits.address(text.parse().expect(text));
        let first = at("2001:db8::1").expect("the first of the network");
        assert!(at("2001:db8::ffff").is_none(), "the same /64");
        let other = at("2001:db8:0:1::1").expect("another /64");
        let v4 = at("203.0.113.1").expect("another family");
        assert!(
            at("::ffff:203.0.113.1").is_none(),
            "the same address, mapped"
        );
        drop(first);
        let again = at("2001:db8::2").expect("free again");
        drop((again, other, v4));
        assert!(limits.addresses.counts.lock().expect("no panic").is_empty());
        assert!(
            Limits::new(9, Some(0), 9)
                .address("::1".parse().expect("an address"))
                .is_none()
        );
    }

    #[test]
    fn by_default_the_same_machine_is_not_counted() {
        let limits = Limits::new(9, None, 9);
        for (address, most) in [
            ("127.0.0.1", None),
            ("::1", None),
            ("203.0.113.1", Some(256)),
        ] {
            let address = address.parse().expect("an address");
            let permits: Vec<_> = (0..300).map_while(|_| limits.address(address)).collect();
            assert_eq!(permits.len(), most.unwrap_or(300), "{address}");
        }
    }
}
