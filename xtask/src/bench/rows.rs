//! What is measured: one row for each promise, with its work, its goal and the peers that can do it.

/// The work of a row, as the generator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Messages that come back.
    Echo {
        /// Connections at a time.
        connections: u32,
        /// Bytes of a message.
        size: u32,
        /// Messages of a connection that are on their way.
        depth: u32,
        /// Compressed or not.
        deflate: Deflate,
    },
    /// One publisher, many subscribers.
    Fanout {
        /// Connections that hear everything.
        subscribers: u32,
        /// Bytes of a message.
        size: u32,
        /// Messages that are on their way.
        in_flight: u32,
        /// Compressed or not.
        deflate: Deflate,
    },
    /// Connections that open and close.
    Handshake {
        /// Over TLS 1.3, resumed.
        tls: bool,
    },
    /// Connections that do nothing.
    Idle {
        /// How many are open.
        connections: u32,
        /// If not off, each has echoed a compressed message before.
        deflate: Deflate,
    },
}

/// permessage-deflate in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deflate {
    /// Not at all.
    Off,
    /// Without context takeover.
    Fresh,
    /// With context takeover.
    Takeover,
}

impl Deflate {
    /// The word on a peer's command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Fresh => "fresh",
            Self::Takeover => "takeover",
        }
    }
}

/// What ours must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// This share of the raw TCP echo.
    OfLimit(f64),
    /// So many times the best peer.
    OfBest(f64),
    /// So many times these peers.
    OfPeers(f64, &'static [&'static str]),
    /// So many times another row of ours.
    OfRow(f64, &'static str),
    /// So many times these whole servers, within that share of their 99th percentile.
    OfServers(f64, f64, &'static [&'static str]),
    /// At most so many KiB for each connection.
    AtMost(f64),
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its name for `--only`, in the tables and in the raw figures.
    pub(super) name: &'static str,
    /// What it is, in words.
    pub(super) title: &'static str,
    /// The work.
    pub(super) work: Work,
    /// Ours, each with its goal. The first stands for the row.
    pub(super) ours: &'static [(&'static str, Goal)],
    /// The limits and the peers.
    pub(super) others: &'static [&'static str],
    /// It is part of the quick form.
    pub(super) quick: bool,
}

/// The raw TCP echoes, and the raw fan-out.
pub(super) const LIMITS: [&str; 3] = ["raw-epoll", "raw-tokio", "raw-fanout"];

/// What the quick form measures besides the limits and ours.
pub(super) const QUICK: [&str; 3] = ["fastwebsockets", "bun", "tokio-tungstenite"];

const ECHO: &[&str] = &[
    "raw-epoll",
    "raw-tokio",
    "fastwebsockets",
    "yawc",
    "sockudo-ws",
    "tokio-websockets",
    "tokio-tungstenite",
    "axum",
    "actix-ws",
    "bun",
    "ws",
    "gorilla",
    "gws",
    "coder",
];

const HANDSHAKE: &[&str] = &[
    "fastwebsockets",
    "yawc",
    "sockudo-ws",
    "tokio-websockets",
    "tokio-tungstenite",
    "axum",
    "actix-ws",
    "bun",
    "ws",
    "gorilla",
    "gws",
    "coder",
];

const TLS: &[&str] = &[
    "axum",
    "fastwebsockets",
    "tokio-tungstenite",
    "yawc",
    "bun",
    "ws",
    "gorilla",
];

const DEFLATE: &[&str] = &[
    "raw-epoll",
    "yawc",
    "sockudo-ws",
    "bun",
    "ws",
    "gws",
    "coder",
];
const DEFLATE_FRESH: &[&str] = &[
    "raw-epoll",
    "yawc",
    "sockudo-ws",
    "bun",
    "ws",
    "gorilla",
    "gws",
    "coder",
];
const DEFLATE_IDLE: &[&str] = &["yawc", "sockudo-ws", "bun", "ws", "gws", "coder"];
const FANOUT: &[&str] = &[
    "raw-fanout",
    "bun",
    "axum",
    "ws",
    "gorilla",
    "gws",
    "nats",
    "centrifugo",
    "centrifuge",
];
const SERVERS: &[&str] = &["nats", "centrifugo", "centrifuge"];

const fn echo(connections: u32, size: u32, depth: u32) -> Work {
    Work::Echo {
        connections,
        size,
        depth,
        deflate: Deflate::Off,
    }
}

const fn json(size: u32, deflate: Deflate) -> Work {
    Work::Echo {
        connections: 100,
        size,
        depth: 1,
        deflate,
    }
}

const fn fanout(subscribers: u32, size: u32, in_flight: u32, deflate: Deflate) -> Work {
    Work::Fanout {
        subscribers,
        size,
        in_flight,
        deflate,
    }
}

/// The work in which two cores are compared with one: of all of it the generator does the least.
pub(super) const SCALED_WORK: Work = json(16 * 1024, Deflate::Fresh);

/// The same in words.
pub(super) const SCALED_TITLE: &str = "echo, compressed, JSON of 16 KiB, on two cores";

/// Every row, in the order of the table.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "echo-125",
        title: "echo, 100 connections, 125 B",
        work: echo(100, 125, 1),
        ours: &[
            ("antiphon-each", Goal::OfLimit(0.99)),
            ("antiphon", Goal::OfLimit(0.99)),
            ("antiphon-axum", Goal::OfLimit(0.99)),
        ],
        others: ECHO,
        quick: true,
    },
    Row {
        name: "echo-125-depth-16",
        title: "echo, 100 connections, 125 B, 16 on their way",
        work: echo(100, 125, 16),
        ours: &[
            ("antiphon-each", Goal::OfLimit(0.92)),
            ("antiphon", Goal::OfLimit(0.92)),
            ("antiphon-axum", Goal::OfLimit(0.92)),
        ],
        others: ECHO,
        quick: true,
    },
    Row {
        name: "echo-16k",
        title: "echo, 100 connections, 16 KiB",
        work: echo(100, 16 * 1024, 1),
        ours: &[
            ("antiphon-each", Goal::OfLimit(0.96)),
            ("antiphon", Goal::OfLimit(0.96)),
            ("antiphon-axum", Goal::OfLimit(0.96)),
        ],
        others: ECHO,
        quick: true,
    },
    Row {
        name: "echo-1000",
        title: "echo, 1,000 connections, 64 B",
        work: echo(1000, 64, 1),
        ours: &[
            ("antiphon-each", Goal::OfLimit(0.95)),
            ("antiphon", Goal::OfLimit(0.95)),
            ("antiphon-axum", Goal::OfLimit(0.95)),
        ],
        others: ECHO,
        quick: true,
    },
    Row {
        name: "echo-1m",
        title: "echo, one connection, 1 MiB",
        work: echo(1, 1024 * 1024, 1),
        ours: &[
            ("antiphon-each", Goal::OfBest(1.1)),
            ("antiphon", Goal::OfBest(1.1)),
            ("antiphon-axum", Goal::OfBest(1.1)),
        ],
        others: ECHO,
        quick: true,
    },
    Row {
        name: "deflate-1k",
        title: "echo, compressed, JSON of 1 KiB, no takeover",
        work: json(1024, Deflate::Fresh),
        ours: &[
            ("antiphon-each", Goal::OfBest(2.0)),
            ("antiphon", Goal::OfBest(2.0)),
        ],
        others: DEFLATE_FRESH,
        quick: false,
    },
    Row {
        name: "deflate-1k-takeover",
        title: "echo, compressed, JSON of 1 KiB, takeover",
        work: json(1024, Deflate::Takeover),
        ours: &[
            ("antiphon-each", Goal::OfBest(2.0)),
            ("antiphon", Goal::OfBest(2.0)),
        ],
        others: DEFLATE,
        quick: false,
    },
    Row {
        name: "deflate-240",
        title: "echo, compressed, JSON of 240 B, no takeover",
        work: json(240, Deflate::Fresh),
        ours: &[
            ("antiphon-each", Goal::OfBest(2.0)),
            ("antiphon", Goal::OfBest(2.0)),
        ],
        others: DEFLATE_FRESH,
        quick: false,
    },
    Row {
        name: "deflate-240-takeover",
        title: "echo, compressed, JSON of 240 B, takeover",
        work: json(240, Deflate::Takeover),
        ours: &[
            ("antiphon-each", Goal::OfBest(2.0)),
            ("antiphon", Goal::OfBest(2.0)),
        ],
        others: DEFLATE,
        quick: false,
    },
    Row {
        name: "fanout",
        title: "one to 1,000 through the whole server, 125 B, one in flight",
        work: fanout(1000, 125, 1, Deflate::Off),
        ours: &[("antiphon-serve", Goal::OfPeers(1.1, &["bun"]))],
        others: FANOUT,
        quick: true,
    },
    Row {
        name: "fanout-16",
        title: "one to 1,000 through the whole server, 125 B, 16 in flight",
        work: fanout(1000, 125, 16, Deflate::Off),
        ours: &[("antiphon-serve", Goal::OfPeers(1.15, &["bun"]))],
        others: FANOUT,
        quick: true,
    },
    Row {
        name: "server",
        title: "the whole server beside NATS and Centrifugo, one to 1,000, 16 in flight",
        work: fanout(1000, 125, 16, Deflate::Off),
        ours: &[("antiphon-serve", Goal::OfServers(3.0, 1.0 / 3.0, SERVERS))],
        others: SERVERS,
        quick: false,
    },
    Row {
        name: "fanout-10000",
        title: "one to 10,000 through the whole server, 1 KiB, one in flight",
        work: fanout(10_000, 1024, 1, Deflate::Off),
        ours: &[("antiphon-serve", Goal::OfPeers(1.1, &["bun"]))],
        others: &["raw-fanout", "bun", "nats"],
        quick: false,
    },
    Row {
        name: "fanout-10000-deflate",
        title: "the same, compressed",
        work: fanout(10_000, 1024, 1, Deflate::Takeover),
        ours: &[("antiphon-serve-deflate", Goal::OfRow(0.7, "fanout-10000"))],
        others: &["bun"],
        quick: false,
    },
    Row {
        name: "handshake",
        title: "opening handshakes",
        work: Work::Handshake { tls: false },
        ours: &[
            ("antiphon", Goal::OfBest(1.0)),
            ("antiphon-axum", Goal::OfBest(1.0)),
        ],
        others: HANDSHAKE,
        quick: true,
    },
    Row {
        name: "handshake-tls",
        title: "opening handshakes over TLS 1.3, resumed",
        work: Work::Handshake { tls: true },
        ours: &[("antiphon", Goal::OfPeers(1.5, &["axum"]))],
        others: TLS,
        quick: false,
    },
    Row {
        name: "idle",
        title: "memory of an idle connection, 10,000 open",
        work: Work::Idle {
            connections: 10_000,
            deflate: Deflate::Off,
        },
        ours: &[
            ("antiphon", Goal::AtMost(1.0)),
            ("antiphon-axum", Goal::AtMost(2.0)),
            ("antiphon-serve", Goal::AtMost(3.0)),
        ],
        others: &[
            "fastwebsockets",
            "yawc",
            "sockudo-ws",
            "tokio-websockets",
            "tokio-tungstenite",
            "axum",
            "actix-ws",
            "bun",
            "ws",
            "gorilla",
            "gws",
            "coder",
            "nats",
            "centrifugo",
            "centrifuge",
        ],
        quick: true,
    },
    Row {
        name: "idle-deflate",
        title: "memory of a connection that has compressed a message, takeover, 10,000 open",
        work: Work::Idle {
            connections: 10_000,
            deflate: Deflate::Takeover,
        },
        ours: &[("antiphon", Goal::AtMost(3.0))],
        others: DEFLATE_IDLE,
        quick: false,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::peers::PEERS;

    #[test]
    fn every_row_has_a_name_of_its_own_and_peers_that_exist() {
        let names: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        let peers: BTreeSet<_> = PEERS.iter().map(|peer| peer.name).collect();
        assert_eq!(peers.len(), PEERS.len());
        for row in ROWS {
            for name in row
                .others
                .iter()
                .chain(row.ours.iter().map(|(name, _)| name))
            {
                assert!(peers.contains(name), "{}: {name}", row.name);
            }
            if let Goal::OfRow(_, other) = row.ours[0].1 {
                assert!(names.contains(other), "{}: {other}", row.name);
            }
        }
        for name in QUICK.iter().chain(&LIMITS) {
            assert!(peers.contains(name), "{name}");
        }
    }
}
