//! Extensions: their lists (RFC 6455 section 9.1) and the negotiation of permessage-deflate (RFC 7692 section 7.1).
//!
//! # What is agreed on
//!
//! Each direction has a compressor on one side and a window on the other. Three things decide what we ask the peer's
//! compressor for: the switches and caps of [`DeflateConfig`], and its [`Codec`], because the window that the peer uses
//! between messages is memory that *we* hold for every connection.
//!
//! - [`Codec::Dedicated`] holds up to 32 KiB anyway: only the caps count.
//! - [`Codec::Pooled`] with a window of 0 holds nothing: the peer is told to forget its context after each message.
//! - [`Codec::Pooled`] with a window asks for the smallest power of two, from 256 bytes, that covers it (1,024 bytes: 10
//!   bits). A peer that cannot be asked so (a client that does not offer `client_max_window_bits`, a server that
//!   declines `server_max_window_bits`) is told to forget its context instead, which bounds the memory as well.
//!
//! A side that forgets its context keeps the full window inside a message: then only the caps count.
//!
//! Caps outside 8 to 15 are taken as the nearest of the two.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, header};
use thiserror::Error;

use crate::{
    config::{Codec, DeflateConfig, DeflateParams},
    grammar::Lexer,
};

/// Most extensions in one list, ours and the peer's. Beyond it the handshake fails.
pub const MAX_EXTENSIONS: usize = 8;

/// Most parameters of one extension. Beyond it the handshake fails.
pub const MAX_PARAMETERS: usize = 16;

/// The registered name of the extension (RFC 7692 section 9).
pub const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// 32 KiB, the window of deflate where nothing else was agreed on.
const FULL_WINDOW_BITS: u8 = 15;

/// Why a list of extensions is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ListError {
    /// The field does not follow the grammar of RFC 6455 section 9.1.
    #[error("the list of extensions does not follow the grammar")]
    Malformed,
    /// More than [`MAX_EXTENSIONS`] extensions or [`MAX_PARAMETERS`] parameters of one.
    #[error("the list of extensions is too long")]
    TooLong,
}

/// One element of `Sec-WebSocket-Extensions`: a name and its parameters, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The name, as it was sent.
    pub name: &'a str,
    /// Names and values; quotes and escapes are gone.
    pub parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// All elements of `Sec-WebSocket-Extensions`, which may stand on several lines.
///
/// # Errors
///
/// [`ListError`], when the field breaks the grammar or is too long.
pub fn parse(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, ListError> {
    let mut extensions = Vec::new();
    for line in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        parse_line(line.as_bytes(), &mut extensions)?;
    }
    Ok(extensions)
}

/// The parameters of permessage-deflate as they stand in an offer or in an answer.
///
/// `Display` writes them behind the extension's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParameters {
    /// `server_no_context_takeover` is there (RFC 7692 section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// `client_no_context_takeover` is there (RFC 7692 section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// `server_max_window_bits` and its value (RFC 7692 section 7.1.2.1).
    pub server_max_window_bits: Option<u8>,
    /// `client_max_window_bits` and its value, which an offer may leave out (RFC 7692 section 7.1.2.2).
    pub client_max_window_bits: Option<Option<u8>>,
}

/// Why the parameters of permessage-deflate are not legal (RFC 7692 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// A parameter that RFC 7692 does not define.
    #[error("permessage-deflate has an unknown parameter")]
    Unknown,
    /// A parameter twice.
    #[error("permessage-deflate has a parameter twice")]
    Repeated,
    /// A value where none may be, none where one must be, or no decimal number from 8 to 15.
    #[error("permessage-deflate has a parameter with an illegal value")]
    Value,
}

impl DeflateParameters {
    /// Reads the parameters of one extension.
    ///
    /// # Errors
    ///
    /// [`ParameterError`]: a server declines such an offer, a client fails the connection.
    pub fn read(extension: &Extension<'_>) -> Result<Self, ParameterError> {
        let mut read = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let repeated = match *name {
                SERVER_NO_CONTEXT_TAKEOVER => flag(&mut read.server_no_context_takeover, value)?,
                CLIENT_NO_CONTEXT_TAKEOVER => flag(&mut read.client_no_context_takeover, value)?,
                SERVER_MAX_WINDOW_BITS => {
                    let bits = window_bits(value.ok_or(ParameterError::Value)?)?;
                    read.server_max_window_bits.replace(bits).is_some()
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = value.map(window_bits).transpose()?;
                    read.client_max_window_bits.replace(bits).is_some()
                }
                _ => return Err(ParameterError::Unknown),
            };
            if repeated {
                return Err(ParameterError::Repeated);
            }
        }
        Ok(read)
    }
}

impl fmt::Display for DeflateParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PERMESSAGE_DEFLATE)?;
        if self.server_no_context_takeover {
            write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_context_takeover {
            write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
            Some(None) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            None => Ok(()),
        }
    }
}

/// The server's part: the answer to the first offer of permessage-deflate that is legal, and what it means.
///
/// `None` declines them all. An offer with an unknown, repeated or illegal parameter is declined alone; the next is
/// judged (RFC 7692 section 5.1). Every legal offer can be met, because any window from 8 bits can be.
#[must_use]
pub fn accept(
    offers: &[Extension<'_>],
    config: &DeflateConfig,
) -> Option<(DeflateParameters, DeflateParams)> {
    let offer = offers
        .iter()
        .filter(|extension| extension.name == PERMESSAGE_DEFLATE)
        .find_map(|extension| DeflateParameters::read(extension).ok())?;
    Some(answer(&offer, config))
}

/// The client's part, first half: what to offer, best first.
///
/// The second offer, where there is one, is for a server that cannot limit its window: it asks it to forget its context
/// instead. `client_max_window_bits` is always offered, as browsers do: it costs nothing and lets a server save memory.
#[must_use]
pub fn offers(config: &DeflateConfig) -> Vec<DeflateParameters> {
    let forget = config.server_no_context_takeover || pooled_bits(config.codec).is_none();
    let bits = wanted_bits(config.server_max_window_bits, config.codec, forget);
    let client_bits = clamp(config.client_max_window_bits);
    let plain = DeflateParameters {
        server_no_context_takeover: forget,
        client_no_context_takeover: config.client_no_context_takeover
            || pooled_bits(config.codec).is_none(),
        server_max_window_bits: None,
        client_max_window_bits: Some((client_bits < FULL_WINDOW_BITS).then_some(client_bits)),
    };
    if bits == FULL_WINDOW_BITS {
        return vec![plain];
    }
    vec![
        DeflateParameters {
            server_max_window_bits: Some(bits),
            ..plain
        },
        DeflateParameters {
            server_no_context_takeover: true,
            ..plain
        },
    ]
}

/// Why an answer to our offers cannot be taken, although it is legal by itself (RFC 7692 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The answer lacks `server_no_context_takeover`, which was asked for.
    #[error("the server keeps its compression context although it was asked not to")]
    ServerKeepsContext,
    /// The answer's `server_max_window_bits` is missing or larger than what was asked for.
    #[error("the server does not limit its compression window as asked")]
    ServerWindow,
    /// The answer has `client_max_window_bits`, which was not offered.
    #[error("the server limits the client's compression window, which was not offered")]
    ClientWindowUnasked,
    /// The answer's `client_max_window_bits` has no value or a larger one than what was offered.
    #[error("the server answers the client's compression window with an illegal value")]
    ClientWindow,
}

/// The client's part, second half: what an answer to these offers means. It is taken if it meets any of them.
///
/// # Errors
///
/// [`AnswerError`], what is wrong with the answer in the light of the first offer.
pub fn confirm(
    offers: &[DeflateParameters],
    answer: &DeflateParameters,
) -> Result<DeflateParams, AnswerError> {
    let mut first_error = None;
    for offer in offers {
        match confirm_one(offer, answer) {
            Ok(params) => return Ok(params),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    // Without any offer an answer is unasked whatever it says.
    Err(first_error.unwrap_or(AnswerError::ClientWindowUnasked))
}

fn answer(offer: &DeflateParameters, config: &DeflateConfig) -> (DeflateParameters, DeflateParams) {
    let no_window = pooled_bits(config.codec).is_none();
    let mut client_forgets =
        config.client_no_context_takeover || offer.client_no_context_takeover || no_window;
    let client_bits = wanted_bits(config.client_max_window_bits, config.codec, client_forgets);
    let client_bits = match offer.client_max_window_bits {
        Some(offered) => client_bits.min(offered.unwrap_or(FULL_WINDOW_BITS)),
        None => {
            client_forgets |= client_bits < FULL_WINDOW_BITS;
            FULL_WINDOW_BITS
        }
    };
    let cap = clamp(config.server_max_window_bits);
    let server_bits = cap.min(offer.server_max_window_bits.unwrap_or(FULL_WINDOW_BITS));
    let server_forgets =
        config.server_no_context_takeover || offer.server_no_context_takeover || no_window;
    let answer = DeflateParameters {
        server_no_context_takeover: server_forgets,
        client_no_context_takeover: client_forgets,
        server_max_window_bits: (offer.server_max_window_bits.is_some()
            || server_bits < FULL_WINDOW_BITS)
            .then_some(server_bits),
        client_max_window_bits: (client_bits < FULL_WINDOW_BITS).then_some(Some(client_bits)),
    };
    let params = DeflateParams {
        server_no_context_takeover: server_forgets,
        client_no_context_takeover: client_forgets,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    };
    (answer, params)
}

fn confirm_one(
    offer: &DeflateParameters,
    answer: &DeflateParameters,
) -> Result<DeflateParams, AnswerError> {
    if offer.server_no_context_takeover && !answer.server_no_context_takeover {
        return Err(AnswerError::ServerKeepsContext);
    }
    let server_bits = answer.server_max_window_bits.unwrap_or(FULL_WINDOW_BITS);
    if offer
        .server_max_window_bits
        .is_some_and(|asked| server_bits > asked)
    {
        return Err(AnswerError::ServerWindow);
    }
    let offered = offer
        .client_max_window_bits
        .map(|bits| bits.unwrap_or(FULL_WINDOW_BITS));
    let client_bits = match (offered, answer.client_max_window_bits) {
        (None, Some(_)) => return Err(AnswerError::ClientWindowUnasked),
        (Some(offered), Some(bits)) => bits
            .filter(|bits| *bits <= offered)
            .ok_or(AnswerError::ClientWindow)?,
        // The offer's value binds the client whether it is answered or not.
        (offered, None) => offered.unwrap_or(FULL_WINDOW_BITS),
    };
    Ok(DeflateParams {
        server_no_context_takeover: answer.server_no_context_takeover,
        // So does the offer's promise to forget.
        client_no_context_takeover: offer.client_no_context_takeover
            || answer.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    })
}

/// The window to ask the peer's compressor for.
fn wanted_bits(cap: u8, codec: Codec, forgets: bool) -> u8 {
    let pooled = if forgets { None } else { pooled_bits(codec) };
    clamp(cap).min(pooled.unwrap_or(FULL_WINDOW_BITS))
}

/// The smallest window that covers what the codec keeps between messages. `None`: it keeps nothing.
fn pooled_bits(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Pooled { window: 0 } => None,
        Codec::Pooled { window } => Some(
            (8..FULL_WINDOW_BITS)
                .find(|bits| 1 << bits >= window)
                .unwrap_or(FULL_WINDOW_BITS),
        ),
        Codec::Dedicated => Some(FULL_WINDOW_BITS),
    }
}

fn clamp(bits: u8) -> u8 {
    bits.clamp(8, FULL_WINDOW_BITS)
}

/// Sets a parameter that has no value; true if it was set before.
fn flag(slot: &mut bool, value: Option<&str>) -> Result<bool, ParameterError> {
    if value.is_some() {
        return Err(ParameterError::Value);
    }
    Ok(std::mem::replace(slot, true))
}

/// "A decimal integer value without leading zeroes between 8 to 15" (RFC 7692 section 7.1.2).
fn window_bits(value: &str) -> Result<u8, ParameterError> {
    match value {
        "8" => Ok(8),
        "9" => Ok(9),
        "10" => Ok(10),
        "11" => Ok(11),
        "12" => Ok(12),
        "13" => Ok(13),
        "14" => Ok(14),
        "15" => Ok(15),
        _ => Err(ParameterError::Value),
    }
}

/// Empty elements are stepped over, as RFC 9110 section 5.6.1.2 wants; a line without any element is an error.
fn parse_line<'a>(line: &'a [u8], extensions: &mut Vec<Extension<'a>>) -> Result<(), ListError> {
    let mut lexer = Lexer::new(line);
    let before = extensions.len();
    loop {
        while lexer.eat(b',') {}
        if lexer.at_end() {
            break;
        }
        if extensions.len() == MAX_EXTENSIONS {
            return Err(ListError::TooLong);
        }
        extensions.push(parse_extension(&mut lexer)?);
        if !lexer.at_end() && !lexer.eat(b',') {
            return Err(ListError::Malformed);
        }
    }
    if extensions.len() == before {
        Err(ListError::Malformed)
    } else {
        Ok(())
    }
}

fn parse_extension<'a>(lexer: &mut Lexer<'a>) -> Result<Extension<'a>, ListError> {
    lexer.skip_space();
    let name = lexer.token().ok_or(ListError::Malformed)?;
    let mut parameters = Vec::new();
    while lexer.eat(b';') {
        if parameters.len() == MAX_PARAMETERS {
            return Err(ListError::TooLong);
        }
        let name = lexer.token().ok_or(ListError::Malformed)?;
        let value = if lexer.eat(b'=') {
            Some(lexer.value().ok_or(ListError::Malformed)?)
        } else {
            None
        };
        parameters.push((name, value));
    }
    Ok(Extension { name, parameters })
}

#[cfg(test)]
mod tests;
