//! The command line that every peer has: `NAME [--port N] [--mode M] [--deflate D] [--cert FILE --key FILE]`.

use std::{env, path::PathBuf, process::exit};

/// What the server does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It goes back.
    Echo,
    /// It goes to everybody.
    Broadcast,
}

/// permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deflate {
    /// Never agreed on.
    Off,
    /// Every message is compressed by itself.
    Fresh,
    /// Messages refer to those before them.
    Takeover,
}

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// What the server does.
    pub mode: Mode,
    /// Whether it compresses.
    pub deflate: Deflate,
    /// Files of a certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// Reads the command line of this process; ends it with code 2 if that is wrong, or says what the peer has not.
    pub fn read(broadcast: bool, deflate: bool) -> Self {
        let read = Self::parse(env::args().skip(1)).and_then(|options| {
            if options.mode == Mode::Broadcast && !broadcast {
                return Err("this peer has no broadcast".to_owned());
            }
            if options.deflate != Deflate::Off && !deflate {
                return Err("this peer has no permessage-deflate".to_owned());
            }
            Ok(options)
        });
        read.unwrap_or_else(|error| {
            eprintln!("error: {error}");
            exit(2)
        })
    }

    /// Reads options.
    ///
    /// # Errors
    ///
    /// The sentence that tells what is wrong.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            port: 0,
            mode: Mode::Echo,
            deflate: Deflate::Off,
            tls: None,
        };
        let (mut certificate, mut key) = (None, None);
        while let Some(name) = words.next() {
            let value = words.next().ok_or(format!("{name} wants a value"))?;
            match (name.as_str(), value.as_str()) {
                ("--port", port) => {
                    options.port = port.parse().map_err(|_| format!("{port} is no port"))?;
                }
                ("--mode", "echo") => options.mode = Mode::Echo,
                ("--mode", "broadcast") => options.mode = Mode::Broadcast,
                ("--deflate", "off") => options.deflate = Deflate::Off,
                ("--deflate", "fresh") => options.deflate = Deflate::Fresh,
                ("--deflate", "takeover") => options.deflate = Deflate::Takeover,
                ("--cert", file) => certificate = Some(PathBuf::from(file)),
                ("--key", file) => key = Some(PathBuf::from(file)),
                _ => return Err(format!("{name} {value} is no option of a peer")),
            }
        }
        options.tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("--cert and --key belong together".to_owned()),
        };
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_reads_the_same_command_line() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
        let plain = parse("--port 0").unwrap();
        assert_eq!(
            (plain.mode, plain.deflate, plain.tls),
            (Mode::Echo, Deflate::Off, None)
        );
        let full = parse("--mode broadcast --deflate takeover --cert a --key b").unwrap();
        assert_eq!(
            (full.mode, full.deflate),
            (Mode::Broadcast, Deflate::Takeover)
        );
        assert!(full.tls.is_some());
        for wrong in [
            "--port",
            "--port x",
            "--mode chat",
            "--cert a",
            "--colour red",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
