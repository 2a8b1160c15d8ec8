//! The page and its server, over sockets in memory.
